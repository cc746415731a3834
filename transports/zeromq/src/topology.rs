//! Declaring, once and again.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use polybus_contract::{Declared, Object, Operation, Result, Topology};
use polybus_lines::{DeclaredLine, TopologyLine};
use tokio::time::Instant;

use crate::connection::{Handle, locked};
use crate::error::unreadable;
use crate::link::Link;
use crate::wire::frame::{Packet, kind};

/// How long declaring may take.
const WITHIN: Duration = Duration::from_secs(30);

/// What was declared here: a broker that lost it gets it again.
#[derive(Debug, Default)]
pub(crate) struct Held(Mutex<Topology>);

impl Held {
    /// Later words about an object replace earlier ones.
    fn add(&self, topology: &Topology) {
        let mut held = locked(&self.0);
        for queue in &topology.queues {
            held.queues.retain(|known| known.name != queue.name);
            held.queues.push(queue.clone());
        }
        for topic in &topology.topics {
            held.topics.retain(|known| known.name != topic.name);
            held.topics.push(topic.clone());
        }
        for group in &topology.groups {
            held.groups.retain(|known| known.topic != group.topic || known.name != group.name);
            held.groups.push(group.clone());
        }
    }

    /// What was removed on purpose does not come back.
    pub(crate) fn remove(&self, object: &Object) {
        let mut held = locked(&self.0);
        match object {
            Object::Queue(name) => held.queues.retain(|queue| queue.name != *name),
            Object::Topic(name) => {
                held.topics.retain(|topic| topic.name != *name);
                held.groups.retain(|group| group.topic != *name);
            }
            Object::Group { topic, group } => {
                held.groups.retain(|known| known.topic != *topic || known.name != *group);
            }
        }
    }
}

impl Handle {
    pub(crate) async fn declare(self: &Arc<Self>, topology: &Topology) -> Result<Declared> {
        let packet = |number| Packet::new(kind::DECLARE, number, &TopologyLine::from(topology));
        let answer = self.ask(packet, Operation::Declare, Instant::now() + WITHIN).await?;
        let declared: DeclaredLine = answer.read().map_err(|fault| unreadable(Operation::Declare, fault))?;
        self.held.add(topology);
        Ok(declared.into())
    }

    /// What was declared, on a connection to a broker that may not know it.
    pub(crate) async fn declare_again(&self, link: &Link, until: Instant) -> Result<()> {
        let held = locked(&self.held.0).clone();
        if held == Topology::new() {
            return Ok(());
        }
        let packet = Packet::new(kind::DECLARE, self.switch.number(), &TopologyLine::from(&held));
        link.ask(packet, Operation::Declare, until).await.map(|_| ())
    }
}
