//! A bus, its services and its log file in one process.

use std::sync::Arc;
use std::time::Duration;

use polybus::log::{Level, LineForm, LogMonitor};
use polybus::{Bus, DrainReport, Phase, Shutdown, SubscribeOptions, Transport};
use tokio::task::JoinSet;

use super::link::Logging;
use super::listening::Listening;
use super::log_file::LogFile;
use super::serving::{ended, serve_all};
use super::signals::runtime;
use super::watch::Watch;
use super::{BuiltIn, Link, Patience, Place, wrong};
use crate::console::{Failure, Notices, Outcome};
use crate::options::{Shared, Standing};
use crate::program::Called;

/// How long leaving the bus takes at most, and then the last lines of the log file.
const LAST: Duration = Duration::from_secs(5);

/// Runs all until SIGTERM or SIGINT, and tells how the drain went.
///
/// # Errors
/// Exit 2 for an unknown name, 78 for a bus of others or a log file that cannot be opened, 143 if jobs were given back
/// unfinished, and those of the bus.
pub(crate) fn up(called: &Called, names: &[String], standing: &Standing, notices: &Notices) -> Outcome {
    let place = Place::inside(called, standing)?;
    let services = match names {
        [] => BuiltIn::configured(&place.settings)?,
        names => names.iter().map(|name| BuiltIn::named(name)).collect::<Outcome<Vec<_>>>()?,
    };
    let runtime = runtime()?;
    let stood = runtime.block_on(async {
        let shutdown = Shutdown::on_signals().map_err(|error| Failure::internal(error.to_string()))?;
        stand(called, &place, &services, standing, &shutdown, notices).await
    });
    runtime.shutdown_background();
    let (report, phase) = stood?;
    ended(&report, phase, notices)
}

/// Everything stands until the shutdown, or until a service fails. The log file is the first that begins and the last that
/// ends, so that it has all lines.
async fn stand(
    called: &Called,
    place: &Place,
    services: &[&BuiltIn],
    standing: &Standing,
    shutdown: &Shutdown,
    notices: &Notices,
) -> Outcome<(DrainReport, Phase)> {
    let watch = Watch::open(&called.word(), standing.http, shutdown, notices).await?;
    let arrival = place.connect(Patience::Once, notices).await?;
    let mut beside = beside(arrival.bus.transport().clone(), place, notices).await?;
    let listening = Listening::begin(place, arrival.bus.url(), notices).await?;
    tell(&arrival.bus, services, notices);
    let to_stderr = standing.general().to_stderr(Some(Level::Warning));
    let link = Link::on(arrival, place, Logging { to_stderr, form: LineForm::Full }, notices)?;
    let served = serve_all(&link, place, services, &standing.server(), &watch, shutdown).await;
    if services.is_empty() {
        shutdown.draining().await;
    }
    let others = listening.end(LAST).await;
    link.close(place.settings.service.drain.min(LAST)).await;
    // What is still there after this time is cut off.
    let _late = tokio::time::timeout(LAST, async { while beside.join_next().await.is_some() {} }).await;
    let report = served.map_err(|error| wrong(&error))?;
    Ok((others.map_or(report, |others| report.plus(others)), shutdown.phase()))
}

/// Begins what stands on the bus beside the services; each of the tasks ends with the bus.
///
/// # Errors
/// Exit 78 if the log file cannot be opened, and those of the bus.
async fn beside(bus: Arc<dyn Transport>, place: &Place, notices: &Notices) -> Outcome<JoinSet<()>> {
    let mut tasks = JoinSet::new();
    if let Some(path) = &place.settings.up.log {
        let file = LogFile::open(path, place.settings.log.zone(), notices)?;
        let topic = place.log_topic()?;
        let monitor = LogMonitor::subscribe(&*bus, &topic, SubscribeOptions::default()).await;
        tasks.spawn(file.follow(monitor.map_err(|error| wrong(&error))?));
    }
    Ok(tasks)
}

fn tell(bus: &Bus, services: &[&BuiltIn], notices: &Notices) {
    if bus.directory().is_none() {
        notices.warning(&format!(
            "the bus {bus} is in memory: what waits is lost with this process, unless up.bus is embedded:///DIR"
        ));
    }
    let names: Vec<_> = services.iter().map(|service| service.name).collect();
    let names = if names.is_empty() { "no service".to_owned() } else { names.join(", ") };
    notices.log(Level::Notice, &format!("up on {bus}: {names}"));
}

#[cfg(test)]
mod tests {
    use polybus::frame::Appdata;
    use polybus::{Call, CallError, Client, Kind, connect};

    use super::*;
    use crate::commands::up::Options;
    use crate::console::{Parsed, parse};

    fn options(words: &[&str]) -> Options {
        match parse::<Options>("up", words.iter().map(Into::into).collect()).unwrap() {
            Parsed::Run(options) => options,
            Parsed::Told => panic!("told something"),
        }
    }

    fn caller() -> Called {
        Called { name: "polybus up".to_owned(), by_old_name: false }
    }

    /// Calls until the service has begun.
    async fn called(client: &Client) {
        loop {
            let appdata = Appdata::new().bytes("data", "192.0.2.1\n").bytes("netmap", "192.0.2.0/24|A|A\n");
            match client.call(Call::new("anon", appdata)).await {
                Ok(_) => return,
                Err(CallError::Bus(error)) if error.kind() == Kind::Unroutable => {
                    tokio::task::yield_now().await;
                }
                Err(error) => panic!("{error}"),
            }
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn bus_services_and_log_file_stand_until_the_drain() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("polybus.log");
        let url = "embedded:up-test";
        let options = options(&["anon", "--bus", url, "--log", log.to_str().unwrap()]);
        let (caller, notices) = (caller(), Notices::new("up", false));
        let place = Place::inside(&caller, options.standing()).unwrap();
        let services = [BuiltIn::named("anon").unwrap()];
        let (trigger, shutdown) = Shutdown::manual();
        let calling = async {
            let bus = connect(url).await.unwrap();
            let client = Client::new(&bus, place.identity.clone());
            called(&client).await;
            trigger.drain();
        };
        let standing = stand(&caller, &place, &services, options.standing(), &shutdown, &notices);
        let (stood, ()) = tokio::join!(standing, calling);
        let (report, phase) = stood.unwrap();
        assert!(report.is_clean() && phase == Phase::Draining, "{report}");
        let lines = std::fs::read_to_string(log).unwrap();
        assert!(lines.contains("side=server"), "{lines}");
    }

    #[tokio::test]
    async fn without_services_it_stands_all_the_same() {
        let options = options(&["--bus", "embedded:"]);
        let (caller, notices) = (caller(), Notices::new("up", false));
        let place = Place::inside(&caller, options.standing()).unwrap();
        let (trigger, shutdown) = Shutdown::manual();
        let mut standing =
            std::pin::pin!(stand(&caller, &place, &[], options.standing(), &shutdown, &notices));
        tokio::select! {
            biased;
            _ = &mut standing => panic!("it has ended by itself"),
            () = tokio::task::yield_now() => trigger.drain(),
        }
        assert!(standing.await.unwrap().0.is_clean());
    }

    #[test]
    fn a_bus_of_others_and_unknown_services_are_refused() {
        let notices = Notices::new("up", false);
        for (words, exit) in [
            (&["--bus", "nats://nats.example.org"][..], 78),
            (&["--bus", "warp:x"], 78),
            (&["anno", "--bus", "embedded:"], 2),
            (&["anon", "--bus", "embedded:", "--log", "/nonexistent/polybus.log"], 78),
        ] {
            let options = options(words);
            let names: Vec<_> = words
                .iter()
                .take_while(|word| !word.starts_with('-'))
                .map(|word| (*word).to_owned())
                .collect();
            match up(&caller(), &names, options.standing(), &notices) {
                Err(Failure::Told { exit: code, text, .. }) => assert_eq!(code, exit, "{text}"),
                other => panic!("{words:?}: {other:?}"),
            }
        }
    }
}
