//! Three brokers that work together.

use std::collections::HashMap;
use std::fmt;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::kind::Product;
use crate::layout::Member;
use crate::place::{self, Choice};
use crate::process::{Process, Programs};
use crate::start::Order;
use crate::tenant::{Tenant, secret};
use crate::{Broker, Error, Kind, Options, local, port, probe};

/// How many there are: the fewest of which one can be lost.
const SIZE: usize = 3;

/// The ports for the others inside of containers.
const ROUTE: u16 = 6222;

/// Three brokers of one kind that work together, on three ports of 127.0.0.1. They end with this, as a [`Broker`] does.
///
/// RabbitMQ takes about 20 s until it is there, NATS two. Members are killed, stopped and started again one by one;
/// [`Cluster::leader`] says which one holds a queue or a stream. There is no variant with TLS, and
/// [`Broker::fill`] and [`Broker::tenant`] of a member of a NATS cluster tell that member alone.
pub struct Cluster {
    nodes: Vec<Broker>,
    /// The name server of the nodes; after them.
    names: Option<NameServer>,
}

/// And the folder of its log, which goes after it.
type NameServer = (Process, TempDir);

impl Cluster {
    /// Starts a cluster of this kind, and returns when all of its members know each other.
    ///
    /// # Errors
    /// As [`Broker::start`].
    pub async fn start(kind: Kind) -> Result<Self, Error> {
        Self::start_with(kind, &Options::default()).await
    }

    /// As [`Cluster::start`], with these options.
    ///
    /// # Errors
    /// As there; [`Error::Setting`] if TLS is asked for.
    pub async fn start_with(kind: Kind, options: &Options) -> Result<Self, Error> {
        if options.tls.is_some() {
            return Err(Error::Setting("a cluster has no TLS".to_owned()));
        }
        let cluster = place::at_any(kind, options, |choice| Self::started(kind, options, choice)).await?;
        cluster.joined(options.within).await?;
        Ok(cluster)
    }

    async fn started(kind: Kind, options: &Options, choice: Choice) -> Result<Self, Error> {
        let (main, neighbour) = (Tenant::new("main"), Tenant::new("neighbour"));
        let tenants = [main.clone(), neighbour.clone()];
        let (members, names) = members(kind, &choice)?;
        let mut nodes = Vec::new();
        for member in members {
            let order = Order { kind, options, tenants: &tenants, member: Some(member) };
            nodes.push(order.start(choice.clone()).await?);
        }
        let mut brokers = Vec::new();
        for node in nodes {
            brokers.push(Broker::member(node.up().await?, main.clone(), neighbour.clone()));
        }
        Ok(Self { nodes: brokers, names })
    }

    /// The members. Which is which stays the same.
    #[must_use]
    pub fn nodes(&self) -> &[Broker] {
        &self.nodes
    }

    /// The URL for clients, with user, password and all members.
    #[must_use]
    pub fn url(&self) -> String {
        let addresses: Vec<_> = self.nodes.iter().map(Broker::address).collect();
        self.nodes.first().map(|node| node.url_at(&addresses.join(","))).unwrap_or_default()
    }

    /// Waits until all members know each other and can be used.
    async fn joined(&self, within: Duration) -> Result<(), Error> {
        let began = Instant::now();
        while !self.is_joined().await {
            if began.elapsed() > within {
                let Some(first) = self.nodes.first() else { return Ok(()) };
                return Err(first.node.not_ready(false, within).await);
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        Ok(())
    }

    async fn is_joined(&self) -> bool {
        for node in &self.nodes {
            let joined = match node.kind().product() {
                Product::RabbitMq => {
                    let count = SIZE.to_string();
                    node.command(&["await_online_nodes", &count, "--timeout", "60"]).await.is_ok()
                }
                Product::Nats => {
                    ask(node, "$JS.API.INFO").await.is_some_and(|info| info.get("error").is_none())
                }
            };
            if !joined {
                return false;
            }
        }
        true
    }

    /// Which member leads this: for RabbitMQ the name of a quorum queue of [`Cluster::url`]'s virtual host, for NATS the
    /// name of a stream. `None` if there is no such thing, or it has no leader now.
    ///
    /// # Errors
    /// [`Error::Command`] if no member answers.
    pub async fn leader(&self, of: &str) -> Result<Option<usize>, Error> {
        let mut last = Ok(None);
        for node in &self.nodes {
            last = match node.kind().product() {
                Product::RabbitMq => quorum_leader(node, of).await,
                Product::Nats => Ok(stream_leader(node, of).await),
            };
            if let Ok(Some(name)) = &last {
                return Ok(self.nodes.iter().position(|node| node.node.layout.node == *name));
            }
        }
        last.map(|_| None)
    }
}

async fn quorum_leader(node: &Broker, queue: &str) -> Result<Option<String>, Error> {
    let tenant = &node.main.name;
    let listed = node.command(&["--quiet", "-p", tenant, "list_queues", "name", "leader"]).await?;
    let mut leaders: HashMap<_, _> = listed.lines().filter_map(|line| line.split_once('\t')).collect();
    Ok(leaders.remove(queue).map(str::to_owned))
}

async fn stream_leader(node: &Broker, stream: &str) -> Option<String> {
    let info = ask(node, &format!("$JS.API.STREAM.INFO.{stream}")).await?;
    Some(info.pointer("/cluster/leader")?.as_str()?.to_owned())
}

/// What a NATS server answers to the main tenant.
pub(crate) async fn ask(node: &Broker, subject: &str) -> Option<Value> {
    let login = json!({
        "user": node.main.name, "pass": node.main.password,
        "verbose": false, "lang": "rust", "version": "0", "protocol": 1,
    });
    probe::nats_answer(node.node.port, &login, subject).await
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cluster").field("nodes", &self.nodes).field("names", &self.names.is_some()).finish()
    }
}

/// The members as they will be, and a name server if they need one.
fn members(kind: Kind, choice: &Choice) -> Result<(Vec<Member>, Option<NameServer>), Error> {
    let (network, secret) = (format!("polybus-{:08x}", fastrand::u32(..)), secret());
    let hosts: Vec<_> = (1..=SIZE).map(|index| format!("{network}-{index}")).collect();
    let local = matches!(choice, Choice::Program(_));
    let names: Vec<_> = match kind.product() {
        Product::RabbitMq if local => hosts.iter().map(|host| format!("{host}@localhost")).collect(),
        Product::RabbitMq => hosts.iter().map(|host| format!("rabbit@{host}")).collect(),
        Product::Nats => hosts.clone(),
    };
    let ports = if local {
        hosts.iter().map(|_| port::free()).collect::<Result<Vec<_>, _>>()?
    } else {
        vec![ROUTE; SIZE]
    };
    let at = |(host, port)| if local { format!("127.0.0.1:{port}") } else { format!("{host}:{port}") };
    let routes: Vec<String> = hosts.iter().zip(&ports).map(at).collect();
    let epmd = port::free()?;
    let member = |(index, port)| Member {
        names: names.clone(),
        routes: routes.clone(),
        port,
        index,
        secret: secret.clone(),
        network: network.clone(),
        epmd,
    };
    let members = ports.into_iter().enumerate().map(member).collect();
    let served = if local && kind.product() == Product::RabbitMq { Some(name_server(epmd)?) } else { None };
    Ok((members, served))
}

fn name_server(port: u16) -> Result<NameServer, Error> {
    let folder = tempfile::tempdir().map_err(Error::io("make a folder for a broker"))?;
    let server = local::name_server(port, folder.path())?;
    Ok((Process::start(Programs { before: Vec::new(), server })?, folder))
}
