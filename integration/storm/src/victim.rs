//! The broker of a storm, or the three of a cluster, and how they are killed.

use std::str::FromStr;
use std::time::Duration;

use fastrand::Rng;
use polybus_brokers::{Broker, Cluster, Kind, Product};

use crate::ledger::Violation;
use crate::own::Own;
use crate::work::JOBS;

/// How long a cluster may be without a leader before that is a finding.
const LEADER_WITHIN: u32 = 300;
const LOOK: Duration = Duration::from_millis(200);

/// Which broker is to be killed.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Which {
    /// A product.
    Product(Kind),
    /// `polybus broker`.
    Own,
}

impl FromStr for Which {
    type Err = polybus_brokers::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "zeromq" { Ok(Self::Own) } else { text.parse().map(Self::Product) }
    }
}

/// What is killed and comes back.
pub(crate) enum Victim {
    One(Box<Broker>),
    Three(Box<Cluster>),
    Own(Box<Own>),
}

impl Victim {
    /// Starts a broker, or a cluster of three.
    pub(crate) async fn start(which: Which, cluster: bool) -> Result<Self, Violation> {
        let missing = |error| format!("no broker: {error}");
        Ok(match (which, cluster) {
            (Which::Product(kind), true) => {
                Self::Three(Box::new(Cluster::start(kind).await.map_err(missing)?))
            }
            (Which::Product(kind), false) => Self::One(Box::new(Broker::start(kind).await.map_err(missing)?)),
            (Which::Own, true) => return Err("polybus broker forms no cluster".to_owned()),
            (Which::Own, false) => Self::Own(Box::new(Own::start().await?)),
        })
    }

    fn any(&self) -> Option<&Broker> {
        match self {
            Self::One(broker) => Some(broker),
            Self::Three(cluster) => cluster.nodes().first(),
            Self::Own(_) => None,
        }
    }

    /// Product, version and number.
    pub(crate) fn name(&self) -> String {
        let one = self.any().map(|broker| format!("{} {}", broker.kind().product(), broker.version()));
        let one = one.unwrap_or_else(|| concat!("polybus broker ", env!("CARGO_PKG_VERSION")).to_owned());
        let three = if matches!(self, Self::Three(_)) { ", three of them" } else { "" };
        format!("{one}{three}")
    }

    /// The URL for clients. Of a cluster it names all members, and what is sent is on the disks of a majority.
    pub(crate) fn url(&self) -> String {
        match self {
            Self::One(broker) => broker.url(),
            Self::Three(cluster) => format!("{}?replicas=3", cluster.url()),
            Self::Own(own) => own.url(),
        }
    }

    /// Kills it, and starts it again after a while. Of a cluster it is the member that leads the queue of jobs, every
    /// second time any other one, which clients may be connected to. Says which it was.
    pub(crate) async fn kill(&self, nth: u64, rng: &mut Rng) -> Result<String, Violation> {
        let away = Duration::from_millis(rng.u64(0..3000));
        match self {
            Self::One(broker) => kill(broker, away).await.map(|()| "the broker".to_owned()),
            Self::Own(own) => own.kill(away).await.map(|()| "the broker".to_owned()),
            Self::Three(cluster) => {
                let leader = leader(cluster).await?;
                let other = 1 + rng.usize(0..2);
                let index =
                    if nth.is_multiple_of(2) { leader } else { (leader + other) % cluster.nodes().len() };
                let led = if index == leader { "which led the jobs" } else { "which did not lead the jobs" };
                kill(&cluster.nodes()[index], away).await?;
                Ok(format!("member {} of the cluster, {led},", index + 1))
            }
        }
    }
}

async fn kill(broker: &Broker, away: Duration) -> Result<(), Violation> {
    broker.kill().await.map_err(|error| error.to_string())?;
    tokio::time::sleep(away).await;
    broker.restart().await.map_err(|error| error.to_string())
}

/// Which member leads the queue of jobs, waited for: after a kill they have to agree first.
async fn leader(cluster: &Cluster) -> Result<usize, Violation> {
    let product = cluster.nodes().first().map(|node| node.kind().product());
    let led = if product == Some(Product::Nats) { format!("polybus+q+{JOBS}") } else { JOBS.to_owned() };
    for _ in 0..LEADER_WITHIN {
        if let Ok(Some(leader)) = cluster.leader(&led).await {
            return Ok(leader);
        }
        tokio::time::sleep(LOOK).await;
    }
    Err(format!("nobody leads {led}"))
}
