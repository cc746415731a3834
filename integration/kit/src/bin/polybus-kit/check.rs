//! `polybus-kit check`.

use std::path::PathBuf;

use polybus_kit::checker::{self, Attempts, Expect, Readers};

use crate::{BROKEN, GOOD, Outcome, say};

/// Which ledgers, and what they must prove.
///
/// Always: nothing arrived that was never sent, or was refused, or was changed on its way, and nothing came back after
/// its ack.
#[derive(Debug, clap::Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
pub(crate) struct Arguments {
    /// Ledgers of one run; their lines are read in order of time
    #[arg(value_name = "LEDGER", required = true)]
    ledgers: Vec<PathBuf>,
    /// The readers did not go on to the end: what was confirmed need not have been received
    #[arg(long)]
    partial: bool,
    /// At most this many hand-outs of what was not given back [default: any number]
    #[arg(long, value_name = "NUMBER")]
    duplicates: Option<u64>,
    /// First hand-outs come in the order of each sender
    #[arg(long)]
    order: bool,
    /// How attempts were counted
    #[arg(long, value_enum, default_value_t = Counted::Ignored)]
    attempts: Counted,
    /// Each reader gets everything, as the subscribers of a topic do
    #[arg(long)]
    each: bool,
    /// Print what was found as JSON
    #[arg(long)]
    json: bool,
}

/// How attempts must have been counted.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Counted {
    /// They are not looked at
    Ignored,
    /// Never too low; after a crash perhaps too high
    NeverLow,
    /// Each hand-out is one more
    Exact,
}

pub(crate) fn check(arguments: &Arguments) -> Outcome {
    let attempts = match arguments.attempts {
        Counted::Ignored => Attempts::Ignored,
        Counted::NeverLow => Attempts::NeverLow,
        Counted::Exact => Attempts::Exact,
    };
    let mut expect = Expect::default()
        .with_complete(!arguments.partial)
        .with_duplicates(arguments.duplicates)
        .with_attempts(attempts);
    expect.order = arguments.order;
    expect.readers = if arguments.each { Readers::Each } else { Readers::Compete };
    let findings = checker::check_files(&arguments.ledgers, &expect).map_err(|error| error.to_string())?;
    if arguments.json {
        say(&serde_json::to_string_pretty(&findings).map_err(|error| error.to_string())?);
    } else {
        say(&findings.to_string());
    }
    Ok(if findings.is_good() { GOOD } else { BROKEN })
}
