//! `polybus-kit`: runs the conformance kit on a bus or a process, lists its cases, checks ledgers, serves a bus over the
//! line protocol.
//!
//! Exit codes: 0 nothing is wrong; 1 a case failed, or a ledger does not prove what it should; 2 the command line, the
//! bus or a file could not be used; 3 with `--require-all`, nothing failed, and something was not run.

mod check;
mod run;
mod serve;
mod times;

use std::io::{self, Write as _};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// The conformance kit of Polybus.
#[derive(Debug, Parser)]
#[command(name = "polybus-kit", version, about, max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run cases on a bus, or on a process that speaks the line protocol.
    Run(run::Arguments),
    /// List the cases: id, name, what each needs, what must hold.
    List,
    /// Check ledgers: what they prove is printed, and whether it is what should be.
    Check(check::Arguments),
    /// Serve a bus over the line protocol on standard input and output.
    Serve(serve::Arguments),
}

/// Nothing is wrong.
const GOOD: u8 = 0;
/// A promise is broken.
const BROKEN: u8 = 1;
/// The kit could not do its work.
const UNUSABLE: u8 = 2;
/// Something was not run, and all was required.
const INCOMPLETE: u8 = 3;

/// What ends the program early, in one line.
type Outcome = Result<u8, String>;

fn main() -> ExitCode {
    let outcome = match Arguments::parse().command {
        Command::Run(arguments) => run::run(&arguments),
        Command::List => Ok(list()),
        Command::Check(arguments) => check::check(&arguments),
        Command::Serve(arguments) => serve::serve(&arguments),
    };
    ExitCode::from(outcome.unwrap_or_else(|fault| {
        // With standard error gone there is nobody to tell.
        let _ = writeln!(io::stderr(), "polybus-kit: {fault}");
        UNUSABLE
    }))
}

/// Prints a line. A reader that has gone is no fault of ours.
fn say(line: &str) {
    let _ = writeln!(io::stdout(), "{line}");
}

fn list() -> u8 {
    for case in polybus_kit::cases::all() {
        let needs: Vec<_> = case.needs.iter().map(|need| need.name()).collect();
        let faults: Vec<_> = case.faults.iter().map(|fault| fault.name()).collect();
        let faults =
            if faults.is_empty() { String::new() } else { format!(" faults: {}", faults.join(", ")) };
        say(&format!("{:<4} {:<24} {}", case.id, case.name, case.about));
        say(&format!("{:30}needs: {}{faults}", "", needs.join(", ")));
    }
    GOOD
}

fn runtime() -> Result<tokio::runtime::Runtime, String> {
    let built = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    built.map_err(|error| format!("no runtime: {error}"))
}
