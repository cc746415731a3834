//! One call of a service, from the command line to the exit code (PRISEM services specification, 5.1).

use std::io::{self, Write};
use std::time::{Duration, Instant};

use polybus::frame::{Appdata, Frame, Json};
use polybus::log::LineForm;
use polybus::{
    Call, Called as Reply, Client, Deadline, DrainReport, Error, Nobody, Queue, Server, Shutdown,
    ShutdownTrigger, Topology, exit,
};
use tokio::task::JoinHandle;

use super::dump::{Dump, Way};
use super::link::Logging;
use super::outcome::uncalled;
use super::serving::server;
use super::{BuiltIn, Link, Place, until_signal, wrong};
use crate::console::{Failure, Notices, Outcome, write_result};
use crate::options::{Calling, ClientOptions, Shared};
use crate::program::Called;

/// How long a client takes to leave its bus.
const LEAVE_WITHIN: Duration = Duration::from_secs(5);

/// One call of a service.
pub(crate) struct Errand {
    place: Place,
    options: ClientOptions,
    logging: Logging,
    notices: Notices,
    raw: bool,
    verbatim: bool,
}

impl Errand {
    /// Reads the settings of a client.
    ///
    /// # Errors
    /// As [`Place::find`].
    pub(crate) fn new(called: &Called, calling: &Calling, notices: &Notices) -> Outcome<Self> {
        let place = Place::find(called, calling, notices)?;
        let logging = Logging { to_stderr: calling.general().to_stderr(None), form: LineForm::Full };
        let notices = notices.clone();
        Ok(Self { place, options: calling.client.clone(), logging, notices, raw: false, verbatim: false })
    }

    /// Prints the frame of the reply instead of its streams.
    pub(crate) fn with_raw(self, raw: bool) -> Self {
        Self { raw, ..self }
    }

    /// Sends the fields as they are, right or wrong.
    pub(crate) fn with_verbatim(self, verbatim: bool) -> Self {
        Self { verbatim, ..self }
    }

    /// The largest frame, in bytes.
    pub(crate) fn max_bytes(&self) -> u64 {
        self.place.settings.max_bytes
    }

    /// Calls `service` and shows what it answers.
    ///
    /// # Errors
    /// Ends with the retcode of the reply, or with why there is none.
    pub(crate) fn run(&self, service: &str, appdata: Appdata) -> Outcome {
        let reply = until_signal(self.ask(service, appdata))?;
        self.show(&reply)?;
        match reply.reply.exit_code() {
            exit::OK => Ok(()),
            code => Err(Failure::Ended(code)),
        }
    }

    async fn ask(&self, service: &str, appdata: Appdata) -> Outcome<Reply> {
        let link = Link::open(&self.place, self.logging, &self.notices).await?;
        let reply = self.ask_on(&link, service, appdata).await;
        link.close(LEAVE_WITHIN).await;
        reply
    }

    async fn ask_on(&self, link: &Link, service: &str, appdata: Appdata) -> Outcome<Reply> {
        let worker = if link.bus.is_local() { Some(self.hire(link, service).await?) } else { None };
        self.dump_request(link, service, &appdata);
        self.notices.progress(|| format!("asking {service} on {}", link.bus));
        let began = Instant::now();
        let reply = self.client(link).call(self.call(link, service, appdata)).await;
        if let Some(worker) = worker {
            worker.dismiss().await;
        }
        let reply = reply.map_err(|error| uncalled(service, &error, began.elapsed()))?;
        self.dump(|dump| dump.received(Way::Response, &reply.frame));
        Ok(reply)
    }

    /// A bus inside this process has no workers but those it starts itself.
    async fn hire(&self, link: &Link, service: &str) -> Outcome<Worker> {
        let built_in = BuiltIn::find(service).ok_or_else(|| Self::nobody(link, service))?;
        let made = built_in.make(&self.place.settings, &self.options.compat);
        let server = server(link, &self.place.settings, made, &self.options.compat);
        Worker::start(link, server).await.map_err(|error| wrong(&error))
    }

    fn nobody(link: &Link, service: &str) -> Failure {
        let text = format!(
            "nobody serves {service}: the bus {} is inside this process, which has {}; name the bus of its workers \
             with --bus",
            link.bus,
            BuiltIn::names()
        );
        Failure::told(exit::UNAVAILABLE, "no-responder", text)
    }

    fn client(&self, link: &Link) -> Client {
        Client::new(&link.bus, link.identity.clone())
            .with_protocol(self.place.settings.protocol_version.clone())
            .with_max_bytes(self.max_bytes())
            .with_resend(!self.options.no_retry)
            .with_log(link.log.clone())
    }

    fn call(&self, link: &Link, service: &str, appdata: Appdata) -> Call {
        let settings = &self.place.settings;
        // The worker that was hired comes for sure, perhaps a moment later.
        let nobody = if link.bus.is_local() { Nobody::Wait } else { self.options.nobody() };
        let base = settings.service.queue_base.clone().unwrap_or_else(|| service.to_owned());
        Call::new(service, appdata)
            .with_queue_base(base)
            .with_deadline(settings.timeout.map_or(Deadline::Never, Deadline::Within))
            .with_nobody(nobody)
            .with_verbatim(self.verbatim)
    }

    fn dump_request(&self, link: &Link, service: &str, appdata: &Appdata) {
        self.dump(|dump| {
            let frame = Frame::request(service, appdata.clone(), &link.identity);
            let frame = frame.protocol(&self.place.settings.protocol_version).verbatim(self.verbatim);
            dump.sent(Way::Request, &frame)
        });
    }

    /// A dump is an aid; without it the call goes on.
    fn dump(&self, write: impl FnOnce(&Dump) -> io::Result<()>) {
        let Some(folder) = &self.options.dump else { return };
        let dump = Dump::new(folder, &self.place.identity.program, self.options.dump_full);
        if let Err(error) = write(&dump) {
            self.notices.warning(&format!("dump: {error}"));
        }
    }

    fn show(&self, reply: &Reply) -> Outcome {
        if self.raw {
            let frame = Json::from(reply.frame.whole().clone()).compact();
            return write_result(|out| writeln!(out, "{frame}"));
        }
        write_result(|out| out.write_all(&reply.reply.stdout))?;
        // Without a standard error there is nobody to tell.
        let _told = io::stderr().lock().write_all(&reply.reply.stderr);
        Ok(())
    }
}

/// A worker of this process, for one call.
struct Worker {
    trigger: ShutdownTrigger,
    task: JoinHandle<polybus::Result<DrainReport>>,
}

impl Worker {
    /// Starts it. Its queue exists when this returns, so that a request sent then is not lost.
    async fn start(link: &Link, server: Server) -> Result<Self, Error> {
        let queue = Topology::new().queue(Queue::new(server.queue()?));
        link.bus.transport().declare(&queue).await?;
        let (trigger, shutdown) = Shutdown::manual();
        Ok(Self { trigger, task: tokio::spawn(server.run(shutdown)) })
    }

    /// Ends it. Whatever it still does is of no use to anybody.
    async fn dismiss(self) {
        self.trigger.abort();
        let _ended = tokio::time::timeout(LEAVE_WITHIN, self.task).await;
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use polybus::frame::KNOWN_VERSIONS;
    use polybus::log::{LogMonitor, Observed};
    use polybus::{Name, SubscribeOptions, connect};

    use super::*;
    use crate::console::{Parsed, parse};

    #[derive(Debug, Parser)]
    struct Options {
        #[command(flatten)]
        calling: Calling,
    }

    fn errand(words: &[&str]) -> Errand {
        let Parsed::Run(options) =
            parse::<Options>("anon_client", words.iter().map(Into::into).collect()).unwrap()
        else {
            panic!("told something")
        };
        let called = Called { name: "anon_client".to_owned(), by_old_name: true };
        Errand::new(&called, &options.calling, &Notices::new("anon_client", false)).unwrap()
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn both_sides_log_and_the_identity_comes_first() {
        let url = "embedded:errand-test";
        let bus = connect(url).await.unwrap();
        let topic = Name::new("audit").unwrap();
        let mut monitor =
            LogMonitor::subscribe(&**bus.transport(), &topic, SubscribeOptions::default()).await.unwrap();
        let errand = errand(&["--bus", url, "--log-exchange", "audit", "--protocol-version", "0.5"]);
        let reply = errand.ask("anon", Appdata::new().flag("usage", true)).await.unwrap();
        assert_eq!(reply.reply.retcode, 0);
        assert_eq!(reply.frame.protocolver(), Some(KNOWN_VERSIONS[0]));
        let mut messages = Vec::new();
        while !messages.iter().any(|message: &String| message.contains("side=client")) {
            match monitor.next().await {
                Some(Observed::Line { record, .. }) => {
                    assert_eq!(record.program.as_deref(), Some("anon_client"));
                    messages.push(record.message);
                }
                other => panic!("{other:?}"),
            }
        }
        assert!(messages[0].starts_with("anon_client program=anon "), "{messages:?}");
        assert!(messages.iter().any(|message| message.contains("side=server retcode=0")), "{messages:?}");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn the_frames_of_a_call_are_dumped() {
        let folder = tempfile::tempdir().unwrap();
        let dump = folder.path().to_str().unwrap();
        let errand = errand(&["--bus", "embedded:", "--dump", dump, "--dump-full"]);
        errand.ask("anon", Appdata::new().bytes("data", "x").flag("usage", true)).await.unwrap();
        let text = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap();
        assert!(text("anon_client-lastrequest.txt").contains("\"data\": \"eA==\""));
        assert!(text("anon_client-lastresponse.txt").contains("\"retcode\": 0"));
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_service_that_nobody_has_is_unavailable() {
        match errand(&["--bus", "embedded:"]).ask("nope", Appdata::new()).await {
            Err(Failure::Told { exit: exit::UNAVAILABLE, .. }) => {}
            other => panic!("{other:?}"),
        }
    }
}
