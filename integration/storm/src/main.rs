//! Calls and jobs go through a broker to worker processes. In the midst of them the broker is killed with SIGKILL and
//! started again, and workers are killed at random.
//!
//! The workers say on their standard output what they work on, one line each in one write; these lines survive them in
//! the pipe. The storm keeps the books: every call ends in time, with its right answer or a typed error; no job that the
//! bus confirmed is lost; nothing is worked on that was never sent. What was worked on twice is counted.

mod ledger;
mod own;
mod run;
mod traffic;
mod victim;
mod word;
mod work;
mod workers;

use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};

use run::{Outcome, Plan};
use traffic::Load;
use victim::Which;

/// Kills a broker and workers in the middle of calls and jobs, and checks what became of them.
#[derive(Debug, Parser)]
struct Arguments {
    #[command(subcommand)]
    role: Option<Role>,
    /// The broker: rabbitmq or nats, with a version if a certain one is wanted, as in rabbitmq:3.10; or zeromq, which is the
    /// `polybus broker` beside this program, with a journal.
    #[arg(long, default_value = "nats")]
    broker: Which,
    /// Three brokers that work together, one of which is killed at a time: the one that leads the queue of jobs first, then
    /// another one, and so on.
    #[arg(long)]
    cluster: bool,
    /// Calls.
    #[arg(long, default_value_t = 10_000)]
    calls: u64,
    /// Jobs, which are sent confirmed and not answered.
    #[arg(long, default_value_t = 5_000)]
    jobs: u64,
    /// How often the broker is killed and started again.
    #[arg(long, default_value_t = 3)]
    broker_kills: u64,
    /// How often a worker is killed and another started.
    #[arg(long, default_value_t = 20)]
    worker_kills: u64,
    /// Worker processes.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..))]
    workers: u8,
    /// Calls at the same time.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u64).range(1..))]
    in_flight: u64,
    /// How long a call waits, in seconds.
    #[arg(long, default_value_t = 120)]
    deadline: u64,
    /// The seed of the moments.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

#[derive(Debug, Subcommand)]
enum Role {
    /// A process that is killed. Its bus is in the environment.
    #[command(hide = true)]
    Work,
}

impl Arguments {
    fn plan(&self) -> Plan {
        Plan {
            which: self.broker,
            cluster: self.cluster,
            load: Load {
                calls: self.calls,
                jobs: self.jobs,
                in_flight: self.in_flight,
                deadline: Duration::from_secs(self.deadline),
            },
            broker_kills: self.broker_kills,
            worker_kills: self.worker_kills,
            workers: self.workers.into(),
            seed: self.seed,
        }
    }
}

fn say(line: &str) {
    // Without a reader there is nobody to tell.
    let _ = writeln!(std::io::stdout().lock(), "{line}");
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if let Some(Role::Work) = arguments.role {
        let url = std::env::var(workers::BUS).unwrap_or_default();
        return match work::work(&url).await {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                let _ = writeln!(std::io::stderr().lock(), "worker: {error}");
                ExitCode::FAILURE
            }
        };
    }
    let plan = arguments.plan();
    match run::run(plan, say).await {
        Ok(outcome) => {
            say(&weathered(&outcome));
            ExitCode::SUCCESS
        }
        Err(violation) => {
            say(&format!("VIOLATION with seed {}: {violation}", plan.seed));
            ExitCode::FAILURE
        }
    }
}

fn weathered(outcome: &Outcome) -> String {
    let Outcome { broker, figures, broker_kills, worker_kills, took } = outcome;
    format!(
        "{broker}: {figures}\nno violation: broker killed {broker_kills} times, workers {worker_kills} times, {:.1} s",
        took.as_secs_f64()
    )
}
