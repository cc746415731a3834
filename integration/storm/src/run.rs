//! The storm itself.

use std::sync::Arc;
use std::time::{Duration, Instant};

use fastrand::Rng;
use polybus::frame::Identity;
use polybus::{Bus, Client, Intake, Name, connect};
use tokio::task::JoinSet;

use crate::ledger::{Figures, Ledger, Violation};
use crate::traffic::{Load, start};
use crate::victim::{Victim, Which};
use crate::work::{JOBS, SERVICE};
use crate::workers::Workers;

/// How often progress is looked at.
const LOOK: Duration = Duration::from_millis(20);

/// Workers are there this long after the broker, or something is wrong.
const WORKERS_WITHIN: Duration = Duration::from_mins(1);

/// Confirmed jobs that are not worked on for this long after everything else has ended are lost.
const QUIET: Duration = Duration::from_mins(1);

/// What is asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) which: Which,
    /// Three brokers, of which one at a time is killed.
    pub(crate) cluster: bool,
    pub(crate) load: Load,
    /// How often the broker is killed.
    pub(crate) broker_kills: u64,
    /// How often a worker is killed.
    pub(crate) worker_kills: u64,
    pub(crate) workers: usize,
    pub(crate) seed: u64,
}

/// What came of it.
#[derive(Clone, Debug)]
pub(crate) struct Outcome {
    pub(crate) broker: String,
    pub(crate) figures: Figures,
    pub(crate) broker_kills: u64,
    pub(crate) worker_kills: u64,
    pub(crate) took: Duration,
}

/// Something that is killed when so much is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Blow {
    Broker,
    Worker,
}

/// Runs the plan on a broker of its own.
pub(crate) async fn run(plan: Plan, say: impl Fn(&str)) -> Result<Outcome, Violation> {
    let victim = Victim::start(plan.which, plan.cluster).await?;
    let name = victim.name();
    say(&format!("{name}, seed {}", plan.seed));
    let ledger = Arc::new(Ledger::default());
    let mut workers = Workers::start(&victim.url(), plan.workers, &ledger)?;
    let bus = connect(&victim.url()).await.map_err(|error| error.to_string())?;
    served(&bus, &mut workers).await?;
    let began = Instant::now();
    let mut traffic = start(&bus, plan.load, &ledger)?;
    let broker_kills = blow(&plan, &victim, &mut workers, &ledger, &mut traffic, &say).await?;
    while traffic.join_next().await.is_some() {}
    let took = began.elapsed();
    worked_on(&ledger, &mut workers).await?;
    let worker_kills = workers.killed;
    workers.end().await?;
    bus.drain(Duration::from_secs(5)).await;
    let figures = ledger.close()?;
    Ok(Outcome { broker: name, figures, broker_kills, worker_kills, took })
}

/// Waits until both queues are there.
async fn served(bus: &Bus, workers: &mut Workers) -> Result<(), Violation> {
    let began = Instant::now();
    let client = Client::new(bus, Identity::new("polybus-storm", "localdomain"));
    let jobs = Intake::Queue(Name::new(JOBS).map_err(|error| error.to_string())?);
    loop {
        workers.check()?;
        let calls = client.look(SERVICE).await;
        let jobs = match bus.transport().admin() {
            Some(desk) => desk.inspect(&jobs).await.is_ok(),
            None => true,
        };
        match calls {
            Ok(_) if jobs => return Ok(()),
            _ if began.elapsed() < WORKERS_WITHIN => tokio::time::sleep(LOOK).await,
            Ok(_) => return Err("the queue of jobs is not there".to_owned()),
            Err(error) => return Err(format!("nobody serves: {error}")),
        }
    }
}

/// When what is killed: the amount of what is done by then, in order.
fn blows(plan: &Plan, rng: &mut Rng) -> Vec<(u64, Blow)> {
    let all = plan.load.calls + plan.load.jobs;
    let mut blows = Vec::new();
    for kill in 0..plan.broker_kills {
        // One in each part of the storm, so that none comes when all is over.
        let part = all * 9 / 10 / plan.broker_kills;
        blows.push((part * kill + rng.u64(part / 4..=part), Blow::Broker));
    }
    blows.extend((0..plan.worker_kills).map(|_| (rng.u64(0..all * 9 / 10), Blow::Worker)));
    blows.sort_by_key(|(when, _)| *when);
    blows
}

async fn blow(
    plan: &Plan,
    victim: &Victim,
    workers: &mut Workers,
    ledger: &Ledger,
    traffic: &mut JoinSet<()>,
    say: &impl Fn(&str),
) -> Result<u64, Violation> {
    let mut rng = Rng::with_seed(plan.seed);
    let mut killed = 0;
    for (when, blow) in blows(plan, &mut rng) {
        while ledger.progress() < when {
            if traffic.is_empty() {
                return Err(format!("all ended before {when} were done: {}", ledger.figures()));
            }
            tokio::time::sleep(LOOK).await;
            while traffic.try_join_next().is_some() {}
        }
        match blow {
            Blow::Worker => workers.kill_one(rng.usize(..)).await?,
            Blow::Broker => {
                let which = victim.kill(killed, &mut rng).await?;
                killed += 1;
                say(&format!("{which} was killed and is back; {}", ledger.figures()));
            }
        }
        workers.check()?;
    }
    Ok(killed)
}

/// Waits until every confirmed job was worked on, as long as that goes on.
async fn worked_on(ledger: &Ledger, workers: &mut Workers) -> Result<(), Violation> {
    let (mut since, mut before) = (Instant::now(), usize::MAX);
    loop {
        workers.check()?;
        let missing = ledger.missing().len();
        if missing < before {
            (since, before) = (Instant::now(), missing);
        }
        if missing == 0 || since.elapsed() > QUIET {
            return Ok(());
        }
        tokio::time::sleep(LOOK).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_decides_when_what_is_killed() {
        let load = Load { calls: 100, jobs: 100, in_flight: 1, deadline: Duration::from_secs(1) };
        let (which, cluster) = (Which::Own, false);
        let plan = Plan { which, cluster, load, broker_kills: 3, worker_kills: 5, workers: 1, seed: 7 };
        let once = blows(&plan, &mut Rng::with_seed(7));
        assert_eq!(once, blows(&plan, &mut Rng::with_seed(7)));
        assert_eq!(once.iter().filter(|(_, blow)| *blow == Blow::Broker).count(), 3);
        assert!(once.is_sorted_by_key(|(when, _)| *when) && once.iter().all(|(when, _)| *when <= 180));
    }
}
