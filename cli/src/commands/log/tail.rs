//! `polybus log tail`: the lines of a log topic as they come (PRISEM services specification, 9.4).

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::time::Duration;

use clap::Parser;
use jiff::Timestamp;
use polybus::log::{Filter, LogMonitor, Observed, Record, Zone};
use polybus::{Bus, End, Gap, Kind, Link, Name, SubscribeOptions};

use crate::console::{Failure, Notices, Outcome, ResultOutput};
use crate::options::{Compat, Showing, Watching};
use crate::program::Called;
use crate::session::{Place, until_signal, wrong};

/// How long after a lost connection the next attempt begins.
const RECONNECT_AFTER: Duration = Duration::from_secs(5);

/// Show the lines of a log topic as they come.
#[derive(Debug, Parser)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Options {
    #[command(flatten)]
    pub(super) watching: Watching,
    #[command(flatten)]
    showing: Showing,
    /// Old behaviours by their names: receipt-time shows when lines came instead of when they were sent.
    #[arg(long, value_name = "WORD[,WORD]", value_delimiter = ',', hide_possible_values = true)]
    compat: Vec<Compat>,
}

const EXAMPLES: &str = "\
Examples:
  polybus log tail --bus URL                                 everything on the topic logs
  polybus log tail -l health --bus URL --display-localtime   another topic, local time
  polybus log tail --bus URL --program anon --level warning --json
";

impl Options {
    pub(super) fn run(&self, called: &Called, notices: &Notices) -> Outcome {
        watch(called, &self.watching, &self.showing, &self.compat, notices)
    }
}

/// Shows lines until a signal comes, or as many as were asked for.
///
/// # Errors
/// Exit 78 for a bus inside this process; 130 or 143 for a signal; those of the bus.
pub(crate) fn watch(
    called: &Called,
    watching: &Watching,
    showing: &Showing,
    compat: &[Compat],
    notices: &Notices,
) -> Outcome {
    let filter = showing.filter()?;
    let place = Place::find(called, watching, notices)?;
    refuse_local(&place.open()?)?;
    let topic = Name::new(&place.settings.log.exchange).map_err(|error| wrong(&error))?;
    let screen = Screen::new(showing, place.settings.log.zone(), compat.contains(&Compat::ReceiptTime))?;
    until_signal(async {
        let bus = place.connect().await?;
        follow(&bus, &topic, &filter, screen, notices).await
    })
}

/// Nobody else can publish there, so nothing would ever be shown.
fn refuse_local(bus: &Bus) -> Outcome {
    if !bus.is_local() {
        return Ok(());
    }
    Err(Failure::configuration(format!(
        "{bus} is inside this process, where nobody else publishes log lines: name a bus that is shared with --bus"
    )))
}

/// Shows what comes, and goes on after the connection was lost.
async fn follow(bus: &Bus, topic: &Name, filter: &Filter, mut screen: Screen, notices: &Notices) -> Outcome {
    loop {
        let subscribed = LogMonitor::subscribe(&**bus.transport(), topic, SubscribeOptions::default()).await;
        let mut monitor = subscribed.map_err(|error| wrong(&error))?;
        banner(topic);
        if show(bus, &mut monitor, filter, &mut screen, notices).await? {
            return Ok(());
        }
        match monitor.end() {
            Some(End::Failed(error)) if error.kind() == Kind::Disconnected => {
                notices.warning(&format!("{error}; trying again in {} s", RECONNECT_AFTER.as_secs()));
            }
            Some(End::Failed(error)) => return Err(wrong(error)),
            _ => return Ok(()),
        }
        tokio::time::sleep(RECONNECT_AFTER).await;
    }
}

/// True when as many lines were shown as were asked for, false at the end of the subscription.
async fn show(
    bus: &Bus,
    monitor: &mut LogMonitor,
    filter: &Filter,
    screen: &mut Screen,
    notices: &Notices,
) -> Outcome<bool> {
    let mut down = false;
    loop {
        tokio::select! {
            biased;
            observed = monitor.next() => match observed {
                Some(Observed::Line { record, received }) if filter.accepts(&record) => {
                    screen.show(&record, received)?;
                    if screen.is_full() {
                        return Ok(true);
                    }
                }
                Some(Observed::Line { .. }) => {}
                Some(Observed::Gap(gap)) => notices.warning(&missed(gap)),
                None => return Ok(false),
            },
            () = bus.transport().health_changed() => tell_link(bus, &mut down, notices),
        }
    }
}

fn tell_link(bus: &Bus, down: &mut bool, notices: &Notices) {
    match bus.transport().health().link {
        Link::Down { reason, .. } if !*down => {
            *down = true;
            notices.warning(&format!("the connection to {bus} is lost: {reason}; reconnecting"));
        }
        Link::Up if *down => {
            *down = false;
            notices.warning(&format!("connected to {bus} again"));
        }
        _ => {}
    }
}

fn missed(gap: Gap) -> String {
    let count = gap.missed.map_or_else(|| "some".to_owned(), |count| count.to_string());
    format!("{count} lines were missed here: {:?}", gap.cause)
}

fn banner(topic: &Name) {
    // Without a standard error there is nobody to tell.
    let _told = writeln!(io::stderr(), " [*] Waiting for logs on exchange \"{topic}\". To exit press CTRL+C");
}

/// Where lines are shown.
struct Screen {
    zone: Zone,
    json: bool,
    receipt_time: bool,
    left: Option<u64>,
    file: Option<File>,
}

impl Screen {
    fn new(showing: &Showing, zone: Zone, receipt_time: bool) -> Outcome<Self> {
        let open = |path| OpenOptions::new().append(true).create(true).open(path);
        let file =
            showing.file.as_ref().map(|path| open(path).map_err(Failure::writing(&path.to_string_lossy())));
        Ok(Self { zone, json: showing.json, receipt_time, left: showing.max, file: file.transpose()? })
    }

    fn show(&mut self, record: &Record, received: Timestamp) -> Outcome {
        let line = match (self.json, self.receipt_time) {
            (true, _) => format!("{}\n", record.to_json().compact()),
            (_, true) => record.shown_as_received(received, self.zone),
            _ => record.shown(received, self.zone),
        };
        self.left = self.left.map(|left| left.saturating_sub(1));
        if let Some(file) = &mut self.file {
            file.write_all(line.as_bytes()).map_err(Failure::writing("the log file"))?;
        }
        let mut out = ResultOutput::new();
        out.write_all(line.as_bytes()).and_then(|()| out.flush()).map_err(Failure::writing("standard output"))
    }

    fn is_full(&self) -> bool {
        self.left == Some(0)
    }
}
