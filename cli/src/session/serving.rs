//! Serving services until a signal comes.

use std::time::Duration;

use polybus::log::{Level, LineForm};
use polybus::{Bus, DrainReport, Error, Kind, Needs, Operation, Phase, Server, Service, Shutdown, exit};
use tokio::task::JoinSet;

use super::door;
use super::dump::{Dump, Dumped};
use super::health::Heartbeat;
use super::link::Logging;
use super::signals::runtime;
use super::watch::Watch;
use super::{BuiltIn, Link, Patience, Place, wrong};
use crate::console::{Failure, Notices, Outcome};
use crate::options::{Compat, ServerOptions, Serving, Shared};
use crate::program::Called;

/// Serves the services with these names until SIGTERM or SIGINT, and tells how the drain went.
///
/// # Errors
/// Exit 2 for an unknown name, 78 for a bus inside this process, 143 if jobs were given back unfinished, and those
/// of the bus.
pub(crate) fn serve(called: &Called, names: &[String], serving: &Serving, notices: &Notices) -> Outcome {
    let services: Vec<_> = names.iter().map(|name| BuiltIn::named(name)).collect::<Outcome<_>>()?;
    let place = Place::find(called, serving, notices)?;
    let bus = place.open()?;
    refuse_local(&bus, called)?;
    if serving.server.nats_door {
        door::require_door(&bus)?;
    }
    let runtime = runtime()?;
    let served = runtime.block_on(async {
        let shutdown = Shutdown::on_signals().map_err(|error| Failure::internal(error.to_string()))?;
        let watch = Watch::open(&called.word(), serving.server.http, &shutdown, notices).await?;
        let Some(link) = arrived(&place, serving, notices, &shutdown).await? else {
            return Ok((DrainReport::default(), shutdown.phase()));
        };
        link.bus
            .require(&Needs::of(serving.server.require.iter().copied()))
            .map_err(|error| wrong(&error))?;
        let report = serve_all(&link, &place, &services, &serving.server, &watch, &shutdown).await;
        link.close(place.settings.service.drain.min(Duration::from_secs(5))).await;
        report.map_err(|error| wrong(&error)).map(|report| (report, shutdown.phase()))
    });
    runtime.shutdown_background();
    let (report, phase) = served?;
    ended(&report, phase, notices)
}

/// Tells how the drain went. Exit 143 if jobs were given back unfinished.
pub(super) fn ended(report: &DrainReport, phase: Phase, notices: &Notices) -> Outcome {
    notices.log(Level::Notice, &format!("stopped: {report}"));
    if report.is_clean() && phase != Phase::Aborting { Ok(()) } else { Err(Failure::Ended(exit::TERMINATED)) }
}

/// The bus, as soon as it is there; none if a signal comes first.
async fn arrived(
    place: &Place,
    serving: &Serving,
    notices: &Notices,
    shutdown: &Shutdown,
) -> Outcome<Option<Link>> {
    tokio::select! {
        biased;
        () = shutdown.draining() => Ok(None),
        link = Link::open(place, logging(serving), Patience::Forever, notices) => link.map(Some),
    }
}

fn logging(serving: &Serving) -> Logging {
    let old_form = serving.server.frames.compat.contains(&Compat::ServerLines);
    let form = if old_form { LineForm::Server } else { LineForm::Full };
    Logging { to_stderr: serving.general().to_stderr(Some(Level::Warning)), form }
}

/// Nobody outside this process can call a server on such a bus.
fn refuse_local(bus: &Bus, called: &Called) -> Outcome {
    if !bus.is_local() {
        return Ok(());
    }
    Err(Failure::configuration(format!(
        "the bus {bus} is inside this process, so nobody could call {}: name a bus that is shared with --bus; clients on \
         such a bus start the service they need themselves",
        called.name
    )))
}

/// Serves all until the shutdown, or until one of them fails: the others are then given up.
///
/// # Errors
/// That of the first server that fails.
pub(super) async fn serve_all(
    link: &Link,
    place: &Place,
    services: &[&BuiltIn],
    options: &ServerOptions,
    watch: &Watch,
    shutdown: &Shutdown,
) -> Result<DrainReport, Error> {
    let (mut running, mut beats, mut doors) = (JoinSet::new(), JoinSet::new(), JoinSet::new());
    let mut queues = Vec::new();
    for built_in in services {
        let service = built_in.make(&place.settings, &options.frames.compat);
        let service = dumped(link, place, service, options);
        let server = server(link, place, service, &options.frames.compat);
        let mut observers: Vec<_> = watch.observers().collect();
        if options.nats_door {
            let service = door::service(place, built_in, server.queue()?);
            observers.push(door::observer(&service));
            doors.spawn(door::keep(link.bus.clone(), service, shutdown.clone()));
        }
        let server = server.with_observers(observers);
        queues.push(server.queue()?);
        if options.health {
            beats.spawn(Heartbeat::new(link, place, built_in.name, server.queue()?).beat());
        }
        running.spawn(server.run(shutdown.clone()));
    }
    watch.serving(&link.bus, queues);
    let mut report = DrainReport::default();
    while let Some(ended) = running.join_next().await {
        report = report.plus(ended.map_err(|error| crashed(&error))??);
    }
    Ok(report)
}

fn crashed(error: &tokio::task::JoinError) -> Error {
    Error::new(Kind::Internal, Operation::Handle).with_detail(error.to_string())
}

/// A server by the settings.
pub(super) fn server(link: &Link, place: &Place, service: Box<dyn Service>, compat: &[Compat]) -> Server {
    configured(&link.bus, place, service, compat).with_log(link.log.clone())
}

/// A server by the settings that logs nothing.
pub(super) fn configured(bus: &Bus, place: &Place, service: Box<dyn Service>, compat: &[Compat]) -> Server {
    let settings = &place.settings;
    let base = settings.service.queue_base.clone().unwrap_or_else(|| service.name().to_owned());
    Server::new(bus, place.identity.clone(), service)
        .with_queue_base(base)
        .with_protocol(settings.protocol_version.clone())
        .with_durability(place.durability())
        .with_jobs(settings.service.jobs)
        .with_max_attempts(settings.service.max_attempts)
        .with_max_bytes(settings.max_bytes)
        .with_time_limit(settings.service.job_limit)
        .with_drain(settings.service.drain)
        .with_generation0(compat.contains(&Compat::Gen0))
        .with_dead_letters(settings.service.dead_letter)
}

fn dumped(
    link: &Link,
    place: &Place,
    service: Box<dyn Service>,
    options: &ServerOptions,
) -> Box<dyn Service> {
    let Some(folder) = &options.frames.dump else { return service };
    let identity = link.identity.clone();
    let dump = Dump::new(folder, &identity.program, options.frames.dump_full);
    let protocol = place.settings.protocol_version.clone();
    Box::new(Dumped { service, identity, protocol, dump, log: link.log.clone() })
}

#[cfg(test)]
mod tests {
    use polybus::frame::{Appdata, Identity};
    use polybus::{Call, CallError, Client, connect};

    use super::*;
    use crate::commands::serve::Options;
    use crate::console::{Parsed, parse};

    fn options(words: &[&str]) -> Options {
        match parse::<Options>("serve", words.iter().map(Into::into).collect()).unwrap() {
            Parsed::Run(options) => options,
            Parsed::Told => panic!("told something"),
        }
    }

    /// Calls until the service has begun.
    async fn called(client: &Client, service: &str) -> polybus::frame::Reply {
        let appdata =
            Appdata::new().bytes("data", "192.0.2.1 198.51.100.1\n").bytes("netmap", "192.0.2.0/24|A|A\n");
        loop {
            match client
                .call(Call::new(service, appdata.clone()).with_queue_base(format!("{service}_x")))
                .await
            {
                Ok(called) => return called.reply,
                Err(CallError::Bus(error)) if error.kind() == Kind::Unroutable => {
                    tokio::task::yield_now().await;
                }
                Err(error) => panic!("{error}"),
            }
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn several_services_serve_until_the_drain_and_dump_their_frames() {
        let folder = tempfile::tempdir().unwrap();
        let url = "embedded:serving-test";
        let dump = folder.path().to_str().unwrap();
        let options = options(&["anon", "--bus", url, "-q", "anon_x", "--jobs", "2", "--dump", dump]);
        let notices = Notices::new("serve", false);
        let caller = Called { name: "polybus serve".to_owned(), by_old_name: false };
        let place = Place::find(&caller, options.serving(), &notices).unwrap();
        let link = Link::open(&place, logging(options.serving()), Patience::Once, &notices).await.unwrap();
        let (trigger, shutdown) = Shutdown::manual();
        let services = [BuiltIn::named("anon").unwrap()];
        let client = Client::new(&connect(url).await.unwrap(), Identity::new("test", "example.org"));
        let watch = Watch::open("serve", None, &shutdown, &notices).await.unwrap();
        let serving = serve_all(&link, &place, &services, &options.serving().server, &watch, &shutdown);
        let calling = async {
            let reply = called(&client, "anon").await;
            trigger.drain();
            reply
        };
        let (report, reply) = tokio::join!(serving, calling);
        assert!(report.unwrap().is_clean());
        assert_eq!((reply.retcode, &*reply.stdout), (0, &b"[___A___] 198.51.100.1\n"[..]));
        for name in ["lastrequest", "lastresponse"] {
            let text =
                std::fs::read_to_string(folder.path().join(format!("polybus-serve-{name}.txt"))).unwrap();
            assert!(text.contains("SHA1: ") && !text.contains("MTkyLjAuMi"), "{text}");
        }
    }

    #[test]
    fn a_bus_inside_this_process_and_unknown_services_are_refused() {
        let caller = Called { name: "polybus serve".to_owned(), by_old_name: false };
        let notices = Notices::new("serve", false);
        let exit_of = |words: &[&str], names: &[&str]| {
            let options = options(words);
            let names: Vec<_> = names.iter().map(ToString::to_string).collect();
            match serve(&caller, &names, options.serving(), &notices) {
                Err(Failure::Told { exit, .. }) => exit,
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(exit_of(&["anon", "--bus", "embedded:"], &["anon"]), exit::CONFIGURATION);
        assert_eq!(exit_of(&["nope", "--bus", "embedded:"], &["nope"]), exit::USAGE);
        assert_eq!(exit_of(&["anon", "--bus", "embedded:", "--jobs", "0"], &["anon"]), exit::USAGE);
    }
}
