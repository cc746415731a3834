//! `polybus broker`: a bus for other processes, without a broker product.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use clap::builder::RangedU64ValueParser;
use polybus::broker::{self, Broker, BrokerConfig, BrokerCounts, Identities, Place};
use polybus::log::Level;
use polybus::{DrainReport, Shutdown, exit};

use crate::console::{Failure, Notices, Outcome};
use crate::options::{Flags, General, Shared};
use crate::program::Called;
use crate::session::{begin, refused, runtime, say_to_systemd};

/// Run a broker: queues, topics and requests for other processes, over ZeroMQ, until SIGTERM or SIGINT.
///
/// Clients, workers and monitors reach it with `--bus zmq://HOST:PORT` or `--bus zmq+ipc:///PATH`, and any program with a ZeroMQ
/// library can take part. With a journal, what was confirmed survives the broker and the loss of power; without one everything is
/// in memory. Nothing is encrypted. Beyond this machine a file of identities is needed. Under systemd it says when it is
/// ready.
#[derive(Debug, Parser)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Options {
    /// Where to listen: `zmq://HOST:PORT` or `zmq+ipc:///PATH`; may be given several times.
    #[arg(long, value_name = "URL", default_value = "zmq://127.0.0.1:5570", value_parser = place)]
    listen: Vec<Place>,
    /// The directory of the journal, which is made if it is not there. Default: none, everything is in memory.
    #[arg(long, value_name = "DIR")]
    journal: Option<PathBuf>,
    /// When the journal is synced to the disk: `always`, which is before anything is confirmed, or so often in milliseconds; then
    /// a loss of power may take what was confirmed within that time.
    #[arg(long, value_name = "WHEN", default_value = "always", value_parser = when)]
    sync: String,
    /// A file with users, their secrets and rights, in TOML, that nobody but its owner may read. Then everybody has to say
    /// who it is.
    #[arg(long, value_name = "FILE")]
    identities: Option<PathBuf>,
    /// The largest message in bytes. What is larger travels in parts.
    #[arg(long, value_name = "BYTES", default_value_t = 16 << 20, value_parser = RangedU64ValueParser::<u64>::new().range(1024..=1 << 30))]
    max_message: u64,
    /// How long a repeated send of one message is recognised, in seconds. Default 0: not at all.
    #[arg(long, value_name = "SECONDS", default_value_t = 0, value_parser = RangedU64ValueParser::<u64>::new().range(..=86_400))]
    dedup_seconds: u64,
    /// The name of this broker: with it a reply address is known to be its own.
    #[arg(long, default_value = "polybus")]
    name: String,
    /// How often something is said to each client at least, in seconds; who is silent for three times as long is gone.
    #[arg(long, value_name = "SECONDS", default_value_t = 2.0, value_parser = heartbeat)]
    heartbeat: f64,
    /// Connections at most.
    #[arg(long, value_name = "COUNT", default_value_t = 1024, value_parser = RangedU64ValueParser::<usize>::new().range(1..=1 << 20))]
    max_clients: usize,
    /// How long the end may take, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = RangedU64ValueParser::<u64>::new().range(..=3600))]
    drain_seconds: u64,
    #[command(flatten)]
    general: General,
}

impl Shared for Options {
    fn general(&self) -> &General {
        &self.general
    }

    fn flags(&self, flags: &mut Flags) {
        self.general.flags(flags);
    }
}

const EXAMPLES: &str = "\
Examples:
  {program}                                                on this machine, in memory
  {program} --journal /var/lib/polybus --listen zmq+ipc:///run/polybus/broker.sock
  {program} --journal /var/lib/polybus --listen zmq://0.0.0.0:5570 --identities /etc/polybus/identities.toml
";

fn place(text: &str) -> Result<Place, String> {
    Place::from_url(text).map_err(|error| error.detail().unwrap_or_default().to_owned())
}

fn when(text: &str) -> Result<String, String> {
    let is_time = text.parse::<u64>().is_ok_and(|milliseconds| milliseconds > 0);
    if text == "always" || is_time {
        return Ok(text.to_owned());
    }
    Err("it is always, or a number of milliseconds above zero".to_owned())
}

fn heartbeat(text: &str) -> Result<f64, String> {
    let seconds = text.parse().ok().filter(|seconds| (0.1..=300.0).contains(seconds));
    seconds.ok_or_else(|| "it is a number of seconds from 0.1 to 300".to_owned())
}

pub(crate) fn run(called: &Called, words: Vec<OsString>) -> ExitCode {
    begin::<Options, _>(called, words, |options| options, serve)
}

fn serve(_called: &Called, options: &Options, notices: &Notices) -> Outcome {
    let (config, bus) = (config(options)?, bus(options)?);
    let within = Duration::from_secs(options.drain_seconds);
    runtime()?.block_on(async {
        let shutdown = Shutdown::on_signals().map_err(|error| Failure::internal(error.to_string()))?;
        let broker = broker::start(config, &bus).await.map_err(|error| refused(&error))?;
        tell(&broker, notices);
        shutdown.draining().await;
        say_to_systemd("STOPPING=1");
        notices.progress(|| "ending".to_owned());
        let counts = broker.counts();
        let report = tokio::select! {
            report = broker.drain(within) => report,
            // The second signal: it ends now, and what is not in the journal is not there.
            () = shutdown.aborting() => return Err(Failure::Ended(exit::TERMINATED)),
        };
        notices.progress(|| report.to_string());
        notices.progress(|| happened(&counts));
        if counts.undelivered() > 0 {
            notices.warning(&lost(&counts));
        }
        end(&report)
    })
}

/// What it had to do with strangers.
fn happened(counts: &BrokerCounts) -> String {
    let BrokerCounts { refused, cut, malformed, unauthorized, abandoned, forgotten, .. } = counts;
    let undelivered = counts.undelivered();
    format!(
        "connections refused={refused} cut={cut} unauthorized={unauthorized}, clients forgotten={forgotten}, packets \
         malformed={malformed}, messages undelivered={undelivered}, large bodies abandoned={abandoned}"
    )
}

/// What clients sent without asking what became of it, and that was lost.
fn lost(counts: &BrokerCounts) -> String {
    let BrokerCounts { undelivered_full, undelivered_unroutable, .. } = counts;
    let BrokerCounts { undelivered_unauthorized, undelivered_other, .. } = counts;
    format!(
        "messages sent without asking for an answer were not delivered: full={undelivered_full} \
         unroutable={undelivered_unroutable} unauthorized={undelivered_unauthorized} other={undelivered_other}"
    )
}

fn end(report: &DrainReport) -> Outcome {
    if report.unflushed == 0 {
        return Ok(());
    }
    let text = format!("{} records of the journal were not seen to reach the disk", report.unflushed);
    Err(Failure::refused("unflushed", text))
}

fn config(options: &Options) -> Outcome<BrokerConfig> {
    let identities = options.identities.as_deref().map(Identities::read).transpose();
    Ok(BrokerConfig::new(options.listen.clone())
        .with_name(options.name.as_str())
        .with_identities(identities.map_err(|error| refused(&error))?)
        .with_heartbeat(Duration::from_secs_f64(options.heartbeat))
        .with_max_clients(options.max_clients))
}

/// The URL of the bus behind the broker.
fn bus(options: &Options) -> Outcome<String> {
    let mut words = vec![format!("max_message={}", options.max_message)];
    if options.dedup_seconds > 0 {
        words.push(format!("dedup_window={}", options.dedup_seconds));
    }
    if options.journal.is_some() {
        words.push(format!("sync={}", options.sync));
    }
    broker::behind(options.journal.as_deref(), &words)
        .map_err(|error| Failure::configuration(format!("the journal: {error}")))
}

/// Says that it is ready, and what was found when the journal was opened.
fn tell(broker: &Broker, notices: &Notices) {
    let places: Vec<_> = broker.places().iter().map(ToString::to_string).collect();
    let places = places.join(", ");
    for note in broker.bus().health().notes {
        notices.warning(&note);
    }
    // A program that started it reads this line.
    notices.log(Level::Info, &format!("listening on {places}"));
    say_to_systemd(&format!("READY=1\nSTATUS=listening on {places}"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_become_the_bus_behind() {
        let options =
            Options::try_parse_from(["broker", "--journal", "/j", "--sync", "20", "--dedup-seconds", "9"]);
        let bus = bus(&options.unwrap()).unwrap();
        assert_eq!(bus, "embedded:///j?max_message=16777216&dedup_window=9&sync=20");
        for wrong in [["--sync", "0"], ["--heartbeat", "0"], ["--listen", "tcp://x"], ["--max-message", "1"]]
        {
            assert!(Options::try_parse_from(["broker"].into_iter().chain(wrong)).is_err(), "{wrong:?}");
        }
    }
}
