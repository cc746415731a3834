//! One call of a service, from the command line to the exit code (PRISEM services specification, 5.1).

use std::io::{self, Write};
use std::time::{Duration, Instant};

use polybus::frame::{Appdata, Frame, Json};
use polybus::log::LineForm;
use polybus::{
    Call, CallError, Called as Reply, Client, Content, Deadline, DrainReport, Error, Feature, Kind, Nobody,
    Seen, Server, Shutdown, ShutdownTrigger, TraceContext, exit,
};
use tokio::task::{JoinHandle, spawn_blocking};

use super::dump::{Dump, Way};
use super::input::{Stream, bar_of};
use super::link::Logging;
use super::outcome::uncalled;
use super::serving::server;
use super::{BuiltIn, Link, Patience, Place, until_signal, wrong};
use crate::console::{Failure, Notices, Outcome, write_result};
use crate::options::{Calling, ClientOptions, Shared};
use crate::program::Called;

/// How long a client takes to leave its bus.
const LEAVE_WITHIN: Duration = Duration::from_secs(5);

/// How long servers are given to come back after a bus that was away.
const SETTLING: Duration = Duration::from_secs(15);

/// Room for everything in a frame but contents.
const FRAME_HEAD: u64 = 8 << 10;

/// How much of a stream is read or written at a time.
const PIECE: usize = 1 << 20;

/// How often they are looked for meanwhile.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

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
        let place = Place::find(called, calling, notices)?.for_calls();
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

    /// How long a content may be that is read whole, beside `rest` bytes of others: what fits into one frame. Longer ones
    /// are streamed.
    pub(crate) fn in_one_frame(&self, rest: usize) -> u64 {
        let others = (rest as u64).div_ceil(3) * 4 + FRAME_HEAD;
        self.max_bytes().saturating_sub(others) / 4 * 3
    }

    /// Whether contents may be longer than a frame: unless the user said how long a frame may be.
    pub(crate) const fn streams(&self) -> bool {
        !self.place.limited
    }

    /// Calls `service` and shows what it answers.
    ///
    /// # Errors
    /// Ends with the retcode of the reply, or with why there is none.
    pub(crate) fn run(&self, service: &str, appdata: Appdata) -> Outcome {
        self.run_with(service, appdata, None)
    }

    /// The same, with a content that is sent while it is read, for this field.
    ///
    /// # Errors
    /// As [`Errand::run`].
    pub(crate) fn run_with(
        &self,
        service: &str,
        appdata: Appdata,
        content: Option<(&str, Stream)>,
    ) -> Outcome {
        let reply = until_signal(self.ask(service, appdata, content))?;
        self.show(&reply)?;
        match reply.reply.exit_code() {
            exit::OK => Ok(()),
            code => Err(Failure::Ended(code)),
        }
    }

    async fn ask(&self, service: &str, appdata: Appdata, content: Option<(&str, Stream)>) -> Outcome<Reply> {
        let link = Link::open(&self.place, self.logging, self.patience(), &self.notices).await?;
        let mut reply = self.ask_on(&link, service, appdata, content).await;
        if let Ok(Reply { content: Some(content), .. }) = &mut reply
            && let Err(failure) = receive(content).await
        {
            reply = Err(failure);
        }
        link.close(LEAVE_WITHIN).await;
        reply
    }

    async fn ask_on(
        &self,
        link: &Link,
        service: &str,
        appdata: Appdata,
        content: Option<(&str, Stream)>,
    ) -> Outcome<Reply> {
        let began = Instant::now();
        let client = self.client(link);
        let mut call = self.call(link, service, appdata).with_streamed(!self.raw);
        let worker = if link.bus.is_local() { Some(self.hire(link, service).await?) } else { None };
        let seen = if worker.is_none() { self.look(link, &client, &call).await? } else { Seen::Served };
        self.dump_request(link, service, &call.appdata);
        if let Some((field, stream)) = content {
            call = call.clone().with_content(self.send(&client, &call, field, stream).await?);
        }
        self.notices.progress(|| format!("asking {service} on {}", link.bus));
        let reply = self.call_seen(link, &client, call, seen).await;
        if let Some(worker) = worker {
            worker.dismiss().await;
        }
        let reply = reply.map_err(|error| uncalled(service, &error, began.elapsed()))?;
        self.dump(|dump| dump.received(Way::Response, &reply.frame));
        Ok(reply)
    }

    /// Sends a content while it is read.
    async fn send(&self, client: &Client, call: &Call, field: &str, stream: Stream) -> Outcome<Content> {
        let began = Instant::now();
        let failed = |error: &CallError| uncalled(&call.service, error, began.elapsed());
        let mut upload = client.begin_content(call).await.map_err(|error| failed(&error))?;
        let bar = bar_of("sent", stream.length());
        let (mut stream, mut piece) = (stream, Vec::new());
        loop {
            let read = spawn_blocking(move || {
                let piece = stream.next(piece, PIECE);
                piece.map(|piece| (stream, piece))
            });
            (stream, piece) = read.await.map_err(|_| Failure::internal("the reader ended".to_owned()))??;
            if piece.is_empty() {
                break;
            }
            if let Err(error) = upload.write(&piece).await {
                upload.abandon().await;
                return Err(failed(&error.into()));
            }
            bar.inc(piece.len() as u64);
        }
        bar.finish_and_clear();
        let stored = upload.finish().await.map_err(|error| failed(&error.into()))?;
        Ok(Content::new(field, stored))
    }

    fn patience(&self) -> Patience {
        if self.options.no_retry { Patience::Once } else { Patience::For(self.place.settings.connect) }
    }

    /// Looks at the queue before anything is sent (5.1). A queue that nobody serves now is a notice, unless a server was
    /// required; one that is missing is the end, unless the bus itself came up just now.
    async fn look(&self, link: &Link, client: &Client, call: &Call) -> Outcome<Seen> {
        let began = Instant::now();
        loop {
            let seen = client.look(&call.queue_base).await;
            let required = self.options.nobody() == Nobody::Fail;
            let absent = seen.as_ref().map_or(true, |seen| required && *seen == Seen::Unserved);
            if absent && link.waited && began.elapsed() < SETTLING {
                tokio::time::sleep(LOOK_AGAIN).await;
                continue;
            }
            let seen = seen.map_err(|error| uncalled(&call.service, &error, began.elapsed()))?;
            return self.judge(seen, client, call);
        }
    }

    fn judge(&self, seen: Seen, client: &Client, call: &Call) -> Outcome<Seen> {
        if seen == Seen::Unserved && self.options.nobody() == Nobody::Fail {
            let text = format!("call of {}: nobody serves {} now", call.service, queue(client, call));
            return Err(Failure::told(exit::UNAVAILABLE, "no-responder", text));
        }
        if seen == Seen::Unserved {
            self.tell_unserved(client, call);
        }
        Ok(seen)
    }

    fn tell_unserved(&self, client: &Client, call: &Call) {
        let queue = queue(client, call);
        self.notices.warning(&format!("nobody serves {queue} now; the request waits for a server"));
    }

    /// Calls. Where a look could not tell whether somebody serves the queue, a bus that knows it at the call is asked then.
    async fn call_seen(
        &self,
        link: &Link,
        client: &Client,
        call: Call,
        seen: Seen,
    ) -> Result<Reply, CallError> {
        let knows = link.bus.transport().profile().capability.has(Feature::NoResponder);
        if seen != Seen::Unknown || !knows || call.nobody == Nobody::Fail {
            return client.call(call).await;
        }
        match client.call(call.clone().with_nobody(Nobody::Fail)).await {
            Err(error) if error.kind() == Some(Kind::NoResponder) => {
                self.tell_unserved(client, &call);
                client.call(call).await
            }
            called => called,
        }
    }

    /// A bus inside this process has no workers but those it starts itself.
    async fn hire(&self, link: &Link, service: &str) -> Outcome<Worker> {
        let built_in = BuiltIn::find(service).ok_or_else(|| Self::nobody(link, service))?;
        let made = built_in.make(&self.place.settings, &self.options.frames.compat);
        let server = server(link, &self.place, made, &self.options.frames.compat);
        Worker::start(server).await.map_err(|error| wrong(&error))
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
            .with_trace(TraceContext::from_environment())
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
        let Some(folder) = &self.options.frames.dump else { return };
        let dump = Dump::new(folder, &self.place.identity.program, self.options.frames.dump_full);
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

/// Writes a standard output that lies in parts, while it is read.
async fn receive(content: &Content) -> Outcome {
    let length = content.parts.len();
    let bar = bar_of("received", Some(length));
    let mut offset = 0;
    while offset < length {
        let part = content.parts.part(offset, PIECE).await.map_err(|error| wrong(&error))?;
        if part.is_empty() {
            return Err(Failure::told(exit::PROTOCOL, "protocol", "the result ends early".to_owned()));
        }
        offset += part.len() as u64;
        bar.inc(part.len() as u64);
        let written = spawn_blocking(move || write_result(|out| out.write_all(&part)));
        written.await.map_err(|_| Failure::internal("the writer ended".to_owned()))??;
    }
    bar.finish_and_clear();
    Ok(())
}

/// The queue of a call, for texts.
fn queue(client: &Client, call: &Call) -> String {
    client.queue(&call.queue_base).map_or_else(|_| call.queue_base.clone(), |name| name.to_string())
}

/// A worker of this process, for one call.
struct Worker {
    trigger: ShutdownTrigger,
    task: JoinHandle<polybus::Result<DrainReport>>,
}

impl Worker {
    /// Starts it. Its queue exists when this returns, so that a request sent then is not lost.
    async fn start(server: Server) -> Result<Self, Error> {
        server.declare().await?;
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
    use polybus::log::{LogMonitor, Observed};
    use polybus::{Name, SubscribeOptions, Topic, connect};

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
        let mut monitor = LogMonitor::subscribe(
            &**bus.transport(),
            &Topic::new(topic.clone()),
            SubscribeOptions::default(),
        )
        .await
        .unwrap();
        let errand = errand(&["--bus", url, "--log-exchange", "audit", "--protocol-version", "0.5"]);
        let reply = errand.ask("anon", Appdata::new().flag("usage", true), None).await.unwrap();
        assert_eq!(reply.reply.retcode, 0);
        assert_eq!(reply.frame.protocolver(), Some("0.5"), "both sides write what they were told");
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
        errand.ask("anon", Appdata::new().bytes("data", "x").flag("usage", true), None).await.unwrap();
        let text = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap();
        assert!(text("anon_client-lastrequest.txt").contains("\"data\": \"eA==\""));
        assert!(text("anon_client-lastresponse.txt").contains("\"retcode\": 0"));
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_service_that_nobody_has_is_unavailable() {
        match errand(&["--bus", "embedded:"]).ask("nope", Appdata::new(), None).await {
            Err(Failure::Told { exit: exit::UNAVAILABLE, .. }) => {}
            other => panic!("{other:?}"),
        }
    }
}
