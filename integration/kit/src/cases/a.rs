//! A: message identity and content.

use bytes::Bytes;
use polybus_contract::{
    ConsumeOptions, Delivery, Feature, Fidelity, Headers, Incoming, Intake, Kind, Message, MessageId, Name,
    Property, PublishOptions, Reason, Result, Target, Transport, UnixMillis, Value,
};
use std::sync::Arc;
use std::time::Duration;

use crate::case::{Case, CaseResult, Fail, case, ensure, refused};
use crate::faults::Fault;
use crate::stage::Stage;
use crate::stamp::digest_of;

/// The table of the group.
pub(super) const CASES: &[Case] = &[
    case!(A1 bytes_exact [Queue, Settle] "payloads of 0 to 65,536 bytes, of all byte values, arrive digest for digest"),
    case!(A2 max_size_ok [Queue, Settle] "a payload of exactly the declared maximum arrives"),
    case!(A3 over_max_typed [Queue, Settle] "one byte more is refused, typed, with limit and size; nothing arrives and the connection stays usable"),
    case!(A4 headers_exact [Queue, Settle] "headers of every type arrive with their types, names differing in case are two, a repeated name is refused"),
    case!(A5 headers_binary [Queue, Settle] "a header value that is no UTF-8 arrives as it is, or is refused and never delivered"),
    case!(A6 reserved_headers [Queue, Settle] "reserved header names are refused to callers, and what hops wrote stays apart from the caller's headers"),
    case!(A7 id_stable [Queue, Settle, DeadLetters] "the id stays through retry, drop and dead letter"),
    case!(A8 attempt_count [Queue, Settle, Attempts] "attempts count from 1, one for each hand-out, across a reconnect"),
    case!(A9 content_type_kept [Queue, Settle] "each property arrives as it was set, or is refused because the bus does not carry it"),
    case!(A10 envelope_malformed [Queue, Settle, DeadLetters] "what nobody can read goes to the dead letters as such, once, and its neighbours are served"),
];

/// A queue and one consumer on it, for messages that carry no stamp.
struct Line {
    bus: Arc<dyn Transport>,
    queue: Name,
    deliveries: Incoming<Delivery>,
}

impl Line {
    async fn new(stage: &Stage) -> CaseResult<Self> {
        let bus = stage.connect().await?;
        let queue = stage.declare_queue(&*bus, "q").await?;
        let intake = Intake::Queue(queue.clone());
        let deliveries = stage.consume(&*bus, &intake, ConsumeOptions::default()).await?;
        Ok(Self { bus, queue, deliveries })
    }

    async fn publish(&mut self, stage: &Stage, message: Message, accept: Fidelity) -> CaseResult<Result<()>> {
        let options = PublishOptions::default().with_confirm(stage.confirm_queue()).with_accept_loss(accept);
        let target = Target::Queue(self.queue.clone());
        let sent = stage.bounded("publish", self.bus.publish(&target, message, options)).await?;
        Ok(sent.map(|_| ()))
    }

    async fn next(&mut self, stage: &Stage) -> CaseResult<Delivery> {
        stage.next(&mut self.deliveries, "the consumer").await
    }

    /// Sends a message there and acks it when it has arrived.
    async fn pass(&mut self, stage: &Stage, message: Message) -> CaseResult<Message> {
        self.publish(stage, message, Fidelity::none()).await??;
        let delivery = self.next(stage).await?;
        let message = delivery.message().clone();
        stage.bounded("an ack", delivery.ack()).await??;
        Ok(message)
    }

    /// Whether nothing arrives, and the connection is still usable afterwards.
    async fn nothing_but_alive(&mut self, stage: &Stage) -> CaseResult {
        let came = stage.next_within(&mut self.deliveries, "the consumer", stage.quiet()).await?;
        ensure!(came.is_none(), "something arrived although its publish was refused: {came:?}");
        let arrived = self.pass(stage, Message::new("still there")).await?;
        ensure!(body_of(&arrived).await? == "still there", "another message came than was sent");
        Ok(())
    }
}

async fn body_of(message: &Message) -> CaseResult<Bytes> {
    Ok(message.body().read(u64::MAX).await?)
}

async fn bytes_exact(stage: &Stage) -> CaseResult {
    let mut line = Line::new(stage).await?;
    for size in [0_usize, 1, 255, 256, 65_536] {
        let mut body: Vec<u8> = (0..=u8::MAX).cycle().take(size).collect();
        stage.choose(|rng| rng.shuffle(&mut body));
        let digest = digest_of(&body);
        let arrived = body_of(&line.pass(stage, Message::new(body)).await?).await?;
        ensure!(
            digest_of(&arrived) == digest,
            "{size} bytes were sent, {} other ones arrived",
            arrived.len()
        );
    }
    Ok(())
}

fn declared_max(stage: &Stage) -> CaseResult<u64> {
    let max = stage.capability().max_message;
    max.ok_or_else(|| Fail::NotRun("the bus declares no largest message".to_owned()))
}

/// A body of this many bytes. Only its ends are seeded: the largest messages are large.
fn large_body(stage: &Stage, size: u64) -> CaseResult<Bytes> {
    let size = usize::try_from(size)
        .map_err(|_| Fail::NotRun(format!("{size} bytes do not fit into this machine")))?;
    let mut body = vec![b'-'; size];
    let mark = stage.bytes(64.min(size));
    body[..mark.len()].copy_from_slice(&mark);
    body[size - mark.len()..].copy_from_slice(&mark);
    Ok(body.into())
}

async fn max_size_ok(stage: &Stage) -> CaseResult {
    let mut line = Line::new(stage).await?;
    let body = large_body(stage, declared_max(stage)?)?;
    let arrived = line.pass(stage, Message::new(body.clone())).await?;
    ensure!(body_of(&arrived).await? == body, "{} bytes were sent and arrived changed", body.len());
    Ok(())
}

async fn over_max_typed(stage: &Stage) -> CaseResult {
    let mut line = Line::new(stage).await?;
    let max = declared_max(stage)?;
    let body = large_body(stage, max + 1)?;
    let result = line.publish(stage, Message::new(body), Fidelity::none()).await?;
    let wanted = Kind::TooLarge { limit: max, size: max + 1 };
    let error = refused(result, "one byte over the limit", |kind| kind == wanted)?;
    ensure!(error.status() == polybus_contract::Status::Permanent, "trying again cannot help: {error}");
    if stage.profile().fidelity.has(Property::Headers) {
        let message = Message::new(large_body(stage, max)?).with_header("a", "b")?;
        let result = line.publish(stage, message, Fidelity::none()).await?;
        refused(result, "a header over the limit", |kind| matches!(kind, Kind::TooLarge { .. }))?;
    }
    line.nothing_but_alive(stage).await
}

/// Headers of text only: an empty value, Unicode, long ones, and names that differ in case only.
fn text_headers() -> Result<Headers> {
    let mut headers = Headers::new();
    for (name, value) in
        [("empty", ""), ("unicode", "h\u{e9}llo \u{1f98a} \u{5d0}"), ("a", "lower"), ("A", "upper")]
    {
        headers.push(name, value)?;
    }
    headers.push("long", "x".repeat(4000))?;
    headers.push("Content-Type-of-the-caller", "text/plain; charset=utf-8")?;
    headers.push("quoted", "a \"b\" \\ c = d; e, f: g")?;
    for number in 0..8 {
        headers.push(format!("h-{number}"), format!("value {number}"))?;
    }
    Ok(headers)
}

/// A header of every other type, at the edges of their ranges.
fn typed_headers() -> Result<Headers> {
    let mut headers = text_headers()?;
    let list = Value::List(vec![Value::Int(1), Value::Text("two".into()), Value::Null]);
    let map = Value::Map(vec![("k".into(), Value::Bool(true)), ("l".into(), list.clone())]);
    let typed = [
        ("null", Value::Null),
        ("yes", Value::Bool(true)),
        ("least", Value::Int(i64::MIN)),
        ("most", Value::UInt(u64::MAX)),
        ("half", Value::Float(-0.5)),
        ("price", Value::Decimal { digits: -1999, scale: 2 }),
        ("when", Value::Time(UnixMillis(1_700_000_000_123))),
        ("list", list),
        ("map", map),
    ];
    typed.into_iter().try_for_each(|(name, value)| headers.push(name, value))?;
    Ok(headers)
}

async fn headers_exact(stage: &Stage) -> CaseResult {
    let mut line = Line::new(stage).await?;
    let fidelity = stage.profile().fidelity;
    let twice = Message::new("x").with_header("a", "1")?.with_header("a", "2");
    refused(twice, "a repeated header name", |kind| kind == Kind::InvalidMessage)?;
    if !fidelity.has(Property::Headers) {
        let message = Message::new("x").with_headers(text_headers()?);
        return not_carried(stage, &mut line, message, Property::Headers).await;
    }
    let typed = fidelity.has(Property::HeaderTypes);
    let sent = if typed { typed_headers()? } else { text_headers()? };
    let arrived = line.pass(stage, Message::new("x").with_headers(sent.clone())).await?;
    for (name, value) in sent.iter() {
        let found = arrived.headers().get(name);
        ensure!(found == Some(value), "header {name:?} was sent as {value:?} and arrived as {found:?}");
    }
    ensure!(
        arrived.headers().len() == sent.len(),
        "headers arrived that nobody sent: {:?}",
        arrived.headers()
    );
    if typed {
        return Ok(());
    }
    let message = Message::new("x").with_headers(typed_headers()?);
    not_carried(stage, &mut line, message, Property::HeaderTypes).await
}

/// What the bus does not carry it refuses, unless the publisher agrees to the loss; then the rest arrives.
async fn not_carried(stage: &Stage, line: &mut Line, message: Message, lost: Property) -> CaseResult {
    let result = line.publish(stage, message.clone(), Fidelity::none()).await?;
    let what = format!("{} is not carried and nobody agreed to lose it", lost.name());
    refused(result, &what, |kind| kind == Kind::InvalidMessage)?;
    let agreed = Fidelity::none().with(lost).with(Property::HeaderTypes);
    line.publish(stage, message.clone(), agreed).await??;
    let delivery = line.next(stage).await?;
    let same = body_of(delivery.message()).await? == body_of(&message).await?;
    ensure!(same, "the body changed when {} was agreed to be lost", lost.name());
    stage.bounded("an ack", delivery.ack()).await??;
    Err(Fail::Refused(format!("the bus does not carry {} and says so", lost.name())))
}

async fn headers_binary(stage: &Stage) -> CaseResult {
    let mut line = Line::new(stage).await?;
    let bytes = Bytes::from_static(b"\x00\xff\xfe \x80\n\r");
    let message = Message::new("x").with_header("bytes", bytes.clone())?;
    let sent = line.publish(stage, message, Fidelity::none()).await?;
    if sent.is_err() {
        refused(sent, "a header of bytes", |kind| kind == Kind::InvalidMessage)?;
        line.nothing_but_alive(stage).await?;
        return Err(Fail::Refused("headers of bytes are refused and not delivered".to_owned()));
    }
    let delivery = line.next(stage).await?;
    let found = delivery.message().headers().get("bytes").cloned();
    stage.bounded("an ack", delivery.ack()).await??;
    ensure!(found == Some(Value::Bytes(bytes)), "a header of bytes arrived as {found:?}");
    Ok(())
}

async fn reserved_headers(stage: &Stage) -> CaseResult {
    let mut line = Line::new(stage).await?;
    for name in ["polybus-id", "x-polybus-attempt", "X-Polybus-Attempt"] {
        let message = Message::new("x").with_header(name, "mine");
        refused(message, &format!("the reserved header {name}"), |kind| kind == Kind::InvalidMessage)?;
    }
    let plain = line.pass(stage, Message::new("plain")).await?;
    ensure!(plain.headers().is_empty(), "a message without headers arrived with {:?}", plain.headers());
    let mut hopped = Message::new("hopped");
    hopped.carried_mut().set_carried("x-polybus-kit", "a hop");
    let arrived = line.pass(stage, hopped).await?;
    ensure!(arrived.headers().is_empty(), "a hop's header came among the caller's: {:?}", arrived.headers());
    let found = arrived.carried().get("x-polybus-kit").and_then(Value::as_text);
    if stage.profile().fidelity.has(Property::Headers) {
        ensure!(found == Some("a hop"), "the header of a hop arrived as {found:?}");
    }
    Ok(())
}

async fn id_stable(stage: &Stage) -> CaseResult {
    let ids = [MessageId::fresh(), MessageId::from("a foreign id: 01890A5D/7")];
    let given = stage.profile().fidelity.has(Property::Id);
    for (number, id) in ids.into_iter().enumerate() {
        let bus = stage.connect().await?;
        let queue = stage.declare_queue(&*bus, &format!("q{number}")).await?;
        let message = if given { Message::new("x").with_id(id.clone()) } else { Message::new("x") };
        let options = PublishOptions::default().with_confirm(stage.confirm_queue());
        let receipt = bus.publish(&Target::Queue(queue.clone()), message, options).await?;
        let seen = follow(stage, &*bus, &queue).await?;
        let first = if given { id } else { seen[0].clone() };
        ensure!(seen.iter().all(|seen| *seen == first), "the id {first} was seen as {seen:?}");
        if let Some(confirmed) = receipt.confirmed() {
            ensure!(confirmed.id == first, "confirmed as {}, delivered as {first}", confirmed.id);
        }
    }
    Ok(())
}

/// Retries, drops and rejects one message and says under which ids it was seen.
async fn follow(stage: &Stage, bus: &dyn Transport, queue: &Name) -> CaseResult<Vec<MessageId>> {
    let mut seen = Vec::new();
    let mut note = |delivery: &Delivery| {
        let id = delivery.message().id().cloned();
        id.map(|id| seen.push(id)).ok_or_else(|| Fail::broken("a delivery without an id"))
    };
    let intake = Intake::Queue(queue.clone());
    let mut deliveries = stage.consume(bus, &intake, ConsumeOptions::default()).await?;
    let delivery = stage.next(&mut deliveries, "the consumer").await?;
    note(&delivery)?;
    stage.bounded("a retry", delivery.retry(Duration::ZERO)).await??;
    let delivery = stage.next(&mut deliveries, "the consumer").await?;
    note(&delivery)?;
    drop(delivery);
    let delivery = stage.next(&mut deliveries, "the consumer").await?;
    note(&delivery)?;
    stage.bounded("a reject", delivery.reject(Reason::Rejected, "as the case asks")).await??;
    let dead = Intake::Queue(queue.dead()?);
    let mut deaths = stage.consume(bus, &dead, ConsumeOptions::default()).await?;
    let delivery = stage.next(&mut deaths, "the reader of dead letters").await?;
    note(&delivery)?;
    stage.bounded("an ack", delivery.ack()).await??;
    Ok(seen)
}

async fn attempt_count(stage: &Stage) -> CaseResult {
    let bus = stage.connect().await?;
    let queue = stage.declare_this(&*bus, stage.queue("q")?.with_max_attempts(20_u32)).await?;
    let mut producer = stage.producer("p");
    producer.send(&*bus, &queue).await?;
    let mut wanted = 0;
    for connection in 0..3 {
        let bus = stage.connect().await?;
        let mut consumer = stage.consumer(&*bus, &queue, &format!("c{connection}"), 1).await?;
        for turn in 0..3 {
            wanted += 1;
            let taken = consumer.next().await?;
            // What a consumer had fetched and gave back unseen may have counted, where releases do.
            if turn == 0 && !stage.has(Feature::UncountedRelease) && taken.attempt() == wanted + 1 {
                wanted += 1;
            }
            ensure!(taken.attempt() == wanted, "hand-out {wanted} says attempt {}", taken.attempt());
            taken.retry(Duration::ZERO).await?;
        }
        drop(consumer);
        bus.drain(stage.times().patience).await;
    }
    Ok(())
}

/// A message with one property set, and whether another message has it the same.
type Set = (Property, fn(Message) -> Message, fn(&Message) -> bool);

const FAR: UnixMillis = UnixMillis(4_102_444_800_123);

const PROPERTIES: &[Set] = &[
    (
        Property::ContentType,
        |m| m.with_content_type("text/x-log; charset=utf-8"),
        |m| m.content_type() == Some("text/x-log; charset=utf-8"),
    ),
    (
        Property::ContentEncoding,
        |m| m.with_content_encoding("zlib"),
        |m| m.content_encoding().map(String::as_str) == Some("zlib"),
    ),
    (
        Property::CorrelationId,
        |m| m.with_correlation_id("c-7 \u{e9}"),
        |m| m.correlation_id().map(String::as_str) == Some("c-7 \u{e9}"),
    ),
    (
        Property::Created,
        |m| m.with_created(UnixMillis(1_700_000_000_123)),
        |m| m.created() == Some(UnixMillis(1_700_000_000_123)),
    ),
    (Property::Expires, |m| m.with_expires(FAR), |m| m.expires() == Some(&FAR)),
    (Property::Deadline, |m| m.with_deadline(FAR), |m| m.deadline() == Some(&FAR)),
    (Property::Priority, |m| m.with_priority(3), |m| m.priority() == Some(3)),
];

async fn content_type_kept(stage: &Stage) -> CaseResult {
    let mut line = Line::new(stage).await?;
    let fidelity = stage.profile().fidelity;
    let mut lost = Vec::new();
    for (property, set, is_kept) in PROPERTIES {
        let message = set(Message::new("x"));
        if fidelity.has(*property) {
            let arrived = line.pass(stage, message).await?;
            ensure!(is_kept(&arrived), "{} arrived changed: {arrived:?}", property.name());
        } else {
            match not_carried(stage, &mut line, message, *property).await {
                Err(Fail::Refused(_)) => lost.push(property.name()),
                other => return other,
            }
        }
    }
    stage.log(format!("not carried, and refused: {lost:?}"));
    let all = PROPERTIES.iter().filter(|(property, ..)| fidelity.has(*property));
    let message = all.clone().fold(Message::new("x"), |message, (_, set, _)| set(message));
    let arrived = line.pass(stage, message).await?;
    for (property, _, is_kept) in all {
        ensure!(is_kept(&arrived), "{} is lost when all properties are set", property.name());
    }
    Ok(())
}

async fn envelope_malformed(stage: &Stage) -> CaseResult {
    const GARBAGE: [&[u8]; 3] = [b"\x00\xff garbage", b"{\"half\": ", b""];
    let bus = stage.connect().await?;
    let queue = stage.declare_queue(&*bus, "q").await?;
    let mut producer = stage.producer("p");
    for bytes in GARBAGE {
        write_garbage(stage, &*bus, &queue, bytes).await?;
        producer.send(&*bus, &queue).await?;
    }
    let mut consumer = stage.consumer(&*bus, &queue, "c", 1).await?;
    for _ in 0..GARBAGE.len() * 2 {
        let delivery = stage.next(consumer.incoming(), "the consumer").await?;
        match crate::Stamp::read(delivery.message()) {
            Ok(_) => stage.bounded("an ack", delivery.ack()).await??,
            Err(fault) => stage.bounded("a reject", delivery.reject(Reason::Decode, fault)).await??,
        }
    }
    consumer.nothing_more().await?;
    let dead = Intake::Queue(queue.dead()?);
    let mut deaths = stage.consume(&*bus, &dead, ConsumeOptions::default()).await?;
    for bytes in GARBAGE {
        let delivery = stage.next(&mut deaths, "the reader of dead letters").await?;
        let death = delivery.message().death().cloned();
        let reason = death.map(|death| death.reason);
        ensure!(reason == Some(Reason::Decode), "garbage is in the dead letters for {reason:?}");
        ensure!(body_of(delivery.message()).await? == bytes, "the dead letter is not what was written");
        stage.bounded("an ack", delivery.ack()).await??;
    }
    let more = stage.next_within(&mut deaths, "the reader of dead letters", stage.quiet()).await?;
    ensure!(more.is_none(), "a good message is in the dead letters: {more:?}");
    Ok(())
}

/// By a foreign publisher, if there is one; else as a body that is not what its readers understand.
async fn write_garbage(stage: &Stage, bus: &dyn Transport, queue: &Name, bytes: &'static [u8]) -> CaseResult {
    if let Ok(faults) = stage.faults(&[Fault::Foreign]) {
        return Ok(faults.write_foreign(queue, bytes).await?);
    }
    let options = PublishOptions::default().with_confirm(stage.confirm_queue());
    let target = Target::Queue(queue.clone());
    stage.bounded("publish", bus.publish(&target, Message::new(bytes), options)).await??;
    Ok(())
}
