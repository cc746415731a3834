//! A look over the broker for what bites.
//!
//! Over AMQP a broker tells little. Its errors tell more: a declare with other settings is refused with the first that
//! differs, and a refused permission is named. So much of this asks for what must be refused; nothing is made, nothing
//! is taken, and what is published has nowhere to go.

mod http;
mod management;
mod permit;
mod probe;
mod queue;
mod traits;
mod version;
mod wire;
mod words;

use std::sync::Arc;

use polybus_contract::{Finding, Operation, Plan, Served, TopicGrade};
use tokio::time::Instant;

use crate::connection::Core;
use crate::session::{ANSWER, Session};
use crate::topology::dead_of;

use management::Management;
use traits::Look;

pub use words::DIAGNOSES;

/// Clocks may be apart by this much, in seconds.
const SKEW: i64 = 5;

/// What is found, one after the other.
type Findings = Vec<Finding>;

impl Core {
    /// Looks over the broker. What cannot be looked at is found unknown.
    pub(crate) async fn examine(self: &Arc<Self>, plan: &Plan) -> Vec<Finding> {
        let mut found = Findings::new();
        let version = version::look(&self.config, &mut found).await;
        let management = Management::open(plan.management.as_deref(), &self.config, &mut found).await;
        if let Some(management) = &management {
            management.look_at_nodes(&mut found).await;
            management.look_at_limits(&mut found).await;
        }
        let session = self.session(Instant::now() + ANSWER, Operation::Inspect).await.ok();
        if let Some(session) = &session {
            self.look_at_connection(session, plan, &mut found).await;
        }
        for served in &plan.services {
            let place = Place { core: self, served, version, session: session.as_deref() };
            place.look(management.as_ref(), &mut found).await;
        }
        if let Some(session) = &session {
            self.look_at_topics(session, plan, &mut found).await;
        }
        found
    }

    /// What concerns all who connect. While publishers are held back, whoever publishes is not heard any more.
    async fn look_at_connection(&self, session: &Session, plan: &Plan, found: &mut Findings) {
        probe::limits(session, found);
        if !probe::alarm(session, found).await {
            permit::write(session, found).await;
            probe::message_size(session, plan, self.config.max_message, found).await;
        }
        permit::replies(session, found).await;
    }

    async fn look_at_topics(&self, session: &Session, plan: &Plan, found: &mut Findings) {
        for topic in &plan.topics {
            let object = format!("topic {}", topic.name);
            let durable = topic.grade == TopicGrade::Durable;
            let wire = self.wire(topic.name.as_str());
            found.extend(traits::exchange(session, &wire, &object, durable).await);
        }
    }
}

/// One service and its queue on the broker.
struct Place<'a> {
    core: &'a Core,
    served: &'a Served,
    version: Option<(u32, u32)>,
    session: Option<&'a Session>,
}

impl Place<'_> {
    async fn look(&self, management: Option<&Management<'_>>, found: &mut Findings) {
        let wire = self.core.wire(self.served.queue.name.as_str());
        let object = format!("queue {}", self.served.queue.name);
        let mut here = Findings::new();
        let told = match management {
            Some(management) => management.queue(&wire).await,
            None => None,
        };
        let seen = match self.session {
            Some(session) => self.ask(session, &wire, &object, &mut here).await,
            None => Look::Hidden("there is no connection".to_owned()),
        };
        let look = told.map_or(seen, Look::There);
        queue::judge(&look, self.served, self.version, &object, &mut here);
        let of = [self.served.name.clone()];
        found.extend(here.into_iter().map(|finding| finding.with_services(of.clone())));
    }

    /// What the queue is like, and whether this user may use it.
    async fn ask(&self, session: &Session, wire: &str, object: &str, found: &mut Findings) -> Look {
        let look = traits::look(session, wire).await;
        permit::configure(session, wire, object, &look, found).await;
        permit::configure_new(session, &dead_of(wire), &format!("dead letters of {object}"), found).await;
        if !matches!(look, Look::Locked) {
            permit::read(session, wire, object, found).await;
        }
        queue::dead_letters(session, &dead_of(wire), object, found).await;
        look
    }
}
