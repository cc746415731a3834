//! Whether this user may do what a server does. Each question is one that the broker must refuse for another reason
//! once it has looked at the permission: nothing is made, and nothing is consumed.

use lapin::options::{BasicConsumeOptions, BasicQosOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable};
use polybus_contract::Operation;

use super::Findings;
use super::probe::{is_refused, trial};
use super::traits::Look;
use super::words::{PERMISSION_CONFIGURE, PERMISSION_READ, PERMISSION_WRITE, QUEUE_LIMIT};
use crate::header::{known, text};
use crate::session::{Asked, Session};
use crate::topology::ask_queue;

/// Whether a queue could be declared, as it was found.
pub(super) async fn configure(
    session: &Session,
    wire: &str,
    object: &str,
    look: &Look,
    found: &mut Findings,
) {
    match look {
        Look::Missing => configure_new(session, wire, object, found).await,
        Look::There(_) => found.push(PERMISSION_CONFIGURE.fine(object, "it can be declared")),
        Look::Hidden(why) if why.contains("access") => found.push(PERMISSION_CONFIGURE.found(object, why)),
        Look::Hidden(_) | Look::Locked => {}
    }
}

/// Whether a queue that is missing could be made.
pub(super) async fn configure_new(session: &Session, wire: &str, object: &str, found: &mut Findings) {
    let options = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
    declare_in_vain(session, wire, object, options, found).await;
}

/// Whether a caller could make its reply queue.
pub(super) async fn replies(session: &Session, found: &mut Findings) {
    let options = QueueDeclareOptions { exclusive: true, ..QueueDeclareOptions::default() };
    declare_in_vain(session, "", "reply queues", options, found).await;
}

async fn declare_in_vain(
    session: &Session,
    wire: &str,
    object: &str,
    options: QueueDeclareOptions,
    found: &mut Findings,
) {
    let mut arguments = FieldTable::default();
    // A bound that is no number.
    arguments.insert(known("x-max-length"), text("polybus-doctor"));
    let asked = ask_queue(session, wire, options, arguments).await;
    found.push(match is_refused(&asked) {
        Some(said) => PERMISSION_CONFIGURE.found(object, said),
        None => PERMISSION_CONFIGURE.fine(object, "it can be declared"),
    });
    if let Some(said) = said(&asked).filter(|said| said.contains("queue limit")) {
        found.push(QUEUE_LIMIT.found(object, said));
    }
}

fn said<T>(asked: &Asked<T>) -> Option<String> {
    asked.as_ref().err().map(crate::session::Refused::text)
}

/// Whether anything can be sent to queues.
pub(super) async fn write(session: &Session, found: &mut Findings) {
    let asked = session.ask(Operation::Inspect, |channel| async move { trial(channel, b"").await }).await;
    found.push(match (is_refused(&asked), said(&asked)) {
        (Some(said), _) => PERMISSION_WRITE.found("default exchange", said),
        (None, None) => PERMISSION_WRITE.fine("default exchange", "queues can be sent to"),
        (None, Some(said)) => PERMISSION_WRITE.unknown("default exchange", said),
    });
}

/// Whether a queue could be consumed from: a consumer with a priority that is no number.
pub(super) async fn read(session: &Session, wire: &str, object: &str, found: &mut Findings) {
    let name = known(wire);
    let mut arguments = FieldTable::default();
    arguments.insert(known("x-priority"), AMQPValue::LongString("polybus-doctor".into()));
    let consume = async move |channel: lapin::Channel| {
        let options = BasicConsumeOptions::default();
        channel.basic_qos(1, BasicQosOptions::default()).await?;
        let consumer = channel.basic_consume(name, known(""), options, arguments).await?;
        // A broker that takes any argument: it gets back what it may have handed out.
        channel.close(200, known("OK")).await.map(|()| drop(consumer))
    };
    let asked = session.ask(Operation::Inspect, consume).await;
    found.push(match is_refused(&asked) {
        Some(said) => PERMISSION_READ.found(object, said),
        None => PERMISSION_READ.fine(object, "it can be consumed from"),
    });
}
