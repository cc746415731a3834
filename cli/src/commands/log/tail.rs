//! `polybus log tail`: the lines of a log topic as they come (PRISEM services specification, 9.4).

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::time::Duration;

use clap::Parser;
use jiff::Timestamp;
use polybus::log::{Filter, LogMonitor, Observed, Record, Zone};
use polybus::{Bus, End, Name, SubscribeOptions, Topic, is_away};

use crate::console::{Failure, Notices, Outcome, ResultOutput};
use crate::options::{Compat, Showing, Watching};
use crate::program::Called;
use crate::session::{LinkWatch, Patience, Place, missed, until_signal, wrong};

/// How long after a lost connection the next attempt begins.
const RECONNECT_AFTER: Duration = Duration::from_secs(5);

/// Show the lines of a log topic as they come.
#[derive(Debug, Parser)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Options {
    #[command(flatten)]
    watching: Watching,
    #[command(flatten)]
    showing: Showing,
    /// Old behaviours by their names: receipt-time shows when lines came instead of when they were sent.
    #[arg(long, value_name = "WORD[,WORD]", value_delimiter = ',', hide_possible_values = true)]
    compat: Vec<Compat>,
}

const EXAMPLES: &str = "\
Examples:
  {program} --bus URL                                 everything on the topic logs
  {program} -l health --bus URL --display-localtime   another topic, local time
  {program} --bus URL --program anon --level warning --json
";

impl Options {
    pub(super) fn shared(&self) -> &Watching {
        &self.watching
    }
}

pub(super) fn run(called: &Called, options: &Options, notices: &Notices) -> Outcome {
    watch(called, &options.watching, &options.showing, &options.compat, notices)
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
    let topic = place.log_topic()?;
    let screen = Screen::new(
        showing,
        place.settings.log.zone(),
        compat.contains(&Compat::ReceiptTime),
        Box::new(ResultOutput::new()),
    )?;
    until_signal(async {
        let bus = place.connect(Patience::Forever, notices).await?.bus;
        follow(&bus, &topic, &filter, screen, notices).await
    })
}

/// Nobody else can publish there, so nothing would ever be shown.
fn refuse_local(bus: &Bus) -> Outcome {
    if !bus.is_local() {
        return Ok(());
    }
    Err(Failure::configuration(format!(
        "the bus {bus} is inside this process, where nobody else publishes log lines: name a bus that is shared with --bus"
    )))
}

/// Shows what comes, and goes on after the connection was lost.
async fn follow(bus: &Bus, topic: &Topic, filter: &Filter, mut screen: Screen, notices: &Notices) -> Outcome {
    loop {
        let lost = match LogMonitor::subscribe(&**bus.transport(), topic, SubscribeOptions::default()).await {
            Ok(mut monitor) => {
                banner(&topic.name);
                if show(bus, &mut monitor, filter, &mut screen, notices).await? {
                    return Ok(());
                }
                match monitor.end() {
                    Some(End::Failed(error)) => error.clone(),
                    _ => return Ok(()),
                }
            }
            Err(error) => error,
        };
        if !is_away(&lost) {
            return Err(wrong(&lost));
        }
        notices.warning(&format!("{lost}; trying again in {} s", RECONNECT_AFTER.as_secs()));
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
    let mut link = LinkWatch::new(notices);
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
            () = link.changed(bus) => link.look(bus),
        }
    }
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
    out: Box<dyn Write>,
}

impl Screen {
    fn new(showing: &Showing, zone: Zone, receipt_time: bool, out: Box<dyn Write>) -> Outcome<Self> {
        let open = |path| OpenOptions::new().append(true).create(true).open(path);
        let file =
            showing.file.as_ref().map(|path| open(path).map_err(Failure::writing(&path.to_string_lossy())));
        Ok(Self { zone, json: showing.json, receipt_time, left: showing.max, file: file.transpose()?, out })
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
        let out = &mut self.out;
        out.write_all(line.as_bytes()).and_then(|()| out.flush()).map_err(Failure::writing("standard output"))
    }

    fn is_full(&self) -> bool {
        self.left == Some(0)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use polybus::{Message, TransportExt, connect};

    use super::*;
    use crate::console::{Parsed, parse};

    /// What was shown, for the test to look at.
    #[derive(Clone, Default)]
    struct Shown(Arc<Mutex<Vec<u8>>>);

    impl Write for Shown {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    const LINES: [&str; 4] = [
        "2014-11-05T17:01:53.25Z h1.example.org 431270e5-b42a-4625-801d-1777dd9eff81 anon_client [-] [1] WARN slow",
        "2014-11-05T17:01:54Z h2.example.org 431270e5-b42a-4625-801d-1777dd9eff81 anon_client [-] [1] INFO fine",
        "no line of ours\u{1b}[2J",
        "2014-11-05T17:01:55Z h1.example.org 431270e5-b42a-4625-801d-1777dd9eff81 anon_client [-] [1] ERROR gone",
    ];

    fn options(words: &[&str]) -> Options {
        match parse::<Options>("log tail", words.iter().map(Into::into).collect()).unwrap() {
            Parsed::Run(options) => options,
            Parsed::Told => panic!("told something"),
        }
    }

    /// What `log tail` with these words shows of [`LINES`].
    async fn tailed(topic: &str, words: &[&str]) -> String {
        let options = options(words);
        let shown = Shown::default();
        let screen = Screen::new(&options.showing, Zone::Utc, false, Box::new(shown.clone())).unwrap();
        let filter = options.showing.filter().unwrap();
        let bus = connect("embedded:").await.unwrap();
        let topic = Topic::new(Name::new(topic).unwrap());
        let notices = Notices::new("log tail", false);
        let publishing = async {
            while bus.transport().health().subscriptions.is_empty() {
                tokio::task::yield_now().await;
            }
            for line in LINES {
                bus.transport().announce(&topic.name, Message::new(line)).await.unwrap();
            }
        };
        let (followed, ()) = tokio::join!(follow(&bus, &topic, &filter, screen, &notices), publishing);
        followed.unwrap();
        String::from_utf8(shown.0.lock().unwrap().clone()).unwrap()
    }

    #[tokio::test]
    async fn lines_are_shown_until_there_are_enough() {
        let shown = tailed("logs", &["--max", "3"]).await;
        let lines: Vec<_> = shown.lines().collect();
        assert_eq!(lines.len(), 3);
        assert!(lines[0].starts_with("2014-11-05T17:01:53.25+00:00 h1.example.org 431270e5"), "{shown}");
        assert!(lines[2].ends_with(" no line of ours\\x1b[2J"), "{shown}");
    }

    #[tokio::test]
    async fn filters_choose_lines_and_json_shows_records() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("shown.log");
        let words =
            ["--level", "warning", "--host", "^h1", "--grep", "gone", "--json", "--max", "1", "--log"];
        let shown = tailed("logs", &[&words[..], &[file.to_str().unwrap()]].concat()).await;
        let record: serde_json::Value = serde_json::from_str(&shown).unwrap();
        assert_eq!((&record["level"], &record["message"]), (&"ERROR".into(), &"gone".into()));
        assert_eq!(std::fs::read_to_string(file).unwrap(), shown);
    }

    #[test]
    fn the_log_file_has_a_default_name_and_the_last_zone_wins() {
        assert_eq!(options(&["--log"]).showing.file.unwrap().to_str(), Some("logmon.log"));
        assert_eq!(options(&["--logfile", "x"]).showing.file.unwrap().to_str(), Some("x"));
        assert!(options(&[]).showing.file.is_none());
        assert!(options(&["--grep", "("]).showing.filter().is_err());
        for words in [&["--max", "0"][..], &["--level", "loud"], &["--compat", "old"], &["FILE"]] {
            assert!(
                parse::<Options>("log tail", words.iter().map(Into::into).collect()).is_err(),
                "{words:?}"
            );
        }
    }
}
