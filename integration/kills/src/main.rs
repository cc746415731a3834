//! Kills a process with a journaled bus under load, thousands of times, and checks from outside what became of its
//! messages.
//!
//! The process says on its standard output what it is about to do and what was confirmed to it, one line each in one
//! write; these lines survive it in the pipe. The killer keeps the books: nothing that was confirmed may be lost,
//! nothing whose ack was confirmed may come back, attempts are never too low, no message is in two hands, and dead
//! letters keep their reason and their id.

mod ledger;
mod load;
mod run;
mod word;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use clap::{Parser, Subcommand};

/// Kills a process with a journaled bus, again and again, and checks what became of its messages.
#[derive(Debug, Parser)]
struct Arguments {
    #[command(subcommand)]
    role: Option<Role>,
    /// How often to kill.
    #[arg(long, default_value_t = 1000)]
    kills: u64,
    /// The seed of the moments and of the load.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// When the journal is synced: always, or each so many milliseconds.
    #[arg(long, default_value = "always")]
    sync: String,
    /// The longest time under load, in milliseconds.
    #[arg(long, default_value_t = 20)]
    busy: u64,
    /// Where to put bus and ledger, which stay there; no bus may be there yet. Without it a directory is made, and kept only after a failure.
    #[arg(long)]
    directory: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Role {
    /// The process that is killed.
    #[command(hide = true)]
    Load {
        /// Its bus.
        url: String,
        /// Its seed.
        seed: u64,
        /// Which run it is.
        run: u64,
        /// Send nothing, empty everything and end.
        #[arg(long)]
        empty: bool,
    },
}

fn say(line: &str) {
    // A closed output is no reason to fail.
    let _ = writeln!(std::io::stdout(), "{line}");
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match arguments.role {
        Some(Role::Load { url, seed, run, empty }) => load(load::Order { url, seed, run, empty }),
        None => kill(arguments),
    }
}

fn load(order: load::Order) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_time().build();
    match runtime {
        Ok(runtime) => {
            runtime.block_on(load::run(order));
            ExitCode::SUCCESS
        }
        Err(error) => {
            say(&format!("fault {error}"));
            ExitCode::FAILURE
        }
    }
}

fn kill(arguments: Arguments) -> ExitCode {
    let Arguments { kills, seed, sync, busy, directory, .. } = arguments;
    let made = match &directory {
        Some(directory) => std::fs::create_dir_all(directory).map(|()| None),
        None => tempfile::tempdir().map(Some),
    };
    let made = match made {
        Ok(made) => made,
        Err(error) => {
            say(&format!("no directory: {error}"));
            return ExitCode::FAILURE;
        }
    };
    let place = made.as_ref().map_or_else(|| directory.unwrap_or_default(), |made| made.path().to_owned());
    say(&format!("seed {seed}, {kills} kills, sync={sync}, in {}", place.display()));
    let began = Instant::now();
    let plan = run::Plan { kills, seed, directory: place.clone(), sync, busy };
    let done = run::Runs::new(plan).and_then(|runs| {
        runs.run(|run, figures| {
            if run % 500 == 0 {
                say(&format!("{:>7.1} s  {figures}", began.elapsed().as_secs_f64()));
            }
        })
    });
    match done {
        Ok(figures) => {
            say(&format!("{figures}"));
            say(&format!("no violation in {kills} kills, {:.1} s", began.elapsed().as_secs_f64()));
            ExitCode::SUCCESS
        }
        Err(violation) => {
            if let Some(made) = made {
                drop(made.keep());
            }
            say(&format!("VIOLATION with seed {seed}: {violation}"));
            say(&format!("bus and ledger are kept in {}", place.display()));
            ExitCode::FAILURE
        }
    }
}
