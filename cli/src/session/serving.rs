//! Serving services until a signal comes.

use std::time::Duration;

use polybus::config::Settings;
use polybus::log::{Level, LineForm};
use polybus::{Bus, DrainReport, Error, Kind, Needs, Operation, Phase, Server, Service, Shutdown, exit};
use tokio::task::JoinSet;

use super::dump::{Dump, Dumped};
use super::link::Logging;
use super::signals::runtime;
use super::{BuiltIn, Link, Place, wrong};
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
    refuse_local(&place.open()?, called)?;
    let runtime = runtime()?;
    let served = runtime.block_on(async {
        let shutdown = Shutdown::on_signals().map_err(|error| Failure::internal(error.to_string()))?;
        let link = Link::open(&place, logging(serving), notices).await?;
        link.bus
            .require(&Needs::of(serving.server.require.iter().copied()))
            .map_err(|error| wrong(&error))?;
        let report = serve_all(&link, &place.settings, &services, &serving.server, &shutdown).await;
        link.close(place.settings.service.drain.min(Duration::from_secs(5))).await;
        report.map_err(|error| wrong(&error)).map(|report| (report, shutdown.phase()))
    });
    runtime.shutdown_background();
    let (report, phase) = served?;
    notices.log(Level::Notice, &format!("stopped: {report}"));
    if report.is_clean() && phase != Phase::Aborting { Ok(()) } else { Err(Failure::Ended(exit::TERMINATED)) }
}

fn logging(serving: &Serving) -> Logging {
    let old_form = serving.server.compat.contains(&Compat::ServerLines);
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
    settings: &Settings,
    services: &[&BuiltIn],
    options: &ServerOptions,
    shutdown: &Shutdown,
) -> Result<DrainReport, Error> {
    let mut running = JoinSet::new();
    for built_in in services {
        let service = built_in.make(settings, &options.compat);
        let server = server(link, settings, dumped(link, service, options), &options.compat);
        running.spawn(server.run(shutdown.clone()));
    }
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
pub(super) fn server(
    link: &Link,
    settings: &Settings,
    service: Box<dyn Service>,
    compat: &[Compat],
) -> Server {
    let base = settings.service.queue_base.clone().unwrap_or_else(|| service.name().to_owned());
    Server::new(&link.bus, link.identity.clone(), service)
        .with_queue_base(base)
        .with_protocol(settings.protocol_version.clone())
        .with_jobs(settings.service.jobs)
        .with_max_attempts(settings.service.max_attempts)
        .with_max_bytes(settings.max_bytes)
        .with_time_limit(settings.service.job_limit)
        .with_drain(settings.service.drain)
        .with_generation0(compat.contains(&Compat::Gen0))
        .with_dead_letters(settings.service.dead_letter)
        .with_log(link.log.clone())
}

fn dumped(link: &Link, service: Box<dyn Service>, options: &ServerOptions) -> Box<dyn Service> {
    let Some(folder) = &options.dump else { return service };
    let identity = link.identity.clone();
    let dump = Dump::new(folder, &identity.program, options.dump_full);
    Box::new(Dumped { service, identity, dump, log: link.log.clone() })
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
        let link = Link::open(&place, logging(options.serving()), &notices).await.unwrap();
        let (trigger, shutdown) = Shutdown::manual();
        let services = [BuiltIn::named("anon").unwrap()];
        let client = Client::new(&connect(url).await.unwrap(), Identity::new("test", "example.org"));
        let serving = serve_all(&link, &place.settings, &services, &options.serving().server, &shutdown);
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
