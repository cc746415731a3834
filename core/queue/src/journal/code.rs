//! Records as bytes.

use std::borrow::Cow;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use crate::dead::{Death, Reason};
use crate::entry::{MessageId, Place};
use crate::journal::wire::{Decoder, Encoder};
use crate::options::{Bound, DedupWindow, OnExpiry, QueueOptions, WhenFull};
use crate::record::{Discard, Kept, Record, Sent};
use crate::topic::GroupOf;

/// How a transport's messages become bytes and come back. What comes back must equal what went in.
pub trait Codec<P> {
    /// Appends a payload.
    fn encode(&self, payload: &P, to: &mut Encoder<'_>);

    /// Reads a payload; `None`: these bytes are none. No bytes may make it panic.
    fn decode(&self, from: &mut Decoder<'_>) -> Option<P>;
}

/// The first byte of each record.
mod tag {
    pub(super) const QUEUE_CREATED: u8 = 1;
    pub(super) const QUEUE_REMOVED: u8 = 2;
    pub(super) const TOPIC_CREATED: u8 = 3;
    pub(super) const TOPIC_REMOVED: u8 = 4;
    pub(super) const SENT: u8 = 5;
    pub(super) const HANDED_OUT: u8 = 6;
    pub(super) const ACKED: u8 = 7;
    pub(super) const RETRIED: u8 = 8;
    pub(super) const RETURNED: u8 = 9;
    pub(super) const RELEASED: u8 = 10;
    pub(super) const DEAD_LETTERED: u8 = 11;
    pub(super) const DISCARDED: u8 = 12;
    pub(super) const REDRIVEN: u8 = 13;
    pub(super) const PURGED: u8 = 14;
    pub(super) const GAP_GREW: u8 = 15;
    pub(super) const GAP_TOLD: u8 = 16;
    pub(super) const SNAPSHOT_BEGUN: u8 = 17;
    pub(super) const QUEUE_STATE: u8 = 18;
    pub(super) const KEPT: u8 = 19;
    pub(super) const REMEMBERED: u8 = 20;
    pub(super) const SNAPSHOT_DONE: u8 = 21;
}

/// Appends one record.
pub(crate) fn encode<P>(record: &Record<'_, &P>, codec: &impl Codec<P>, to: &mut Encoder<'_>) {
    match record {
        Record::Sent { queue, sent } => {
            numbers(to, tag::SENT, &[*queue]);
            put_sent(sent, codec, to);
        }
        Record::HandedOut { queue, seq, at_unix_ms } => {
            numbers(to, tag::HANDED_OUT, &[*queue, *seq, *at_unix_ms]);
        }
        Record::Acked { queue, seq } => numbers(to, tag::ACKED, &[*queue, *seq]),
        Record::Retried { queue, seq, due_unix_ms, error } => {
            numbers(to, tag::RETRIED, &[*queue, *seq, *due_unix_ms]);
            to.maybe(error.as_deref(), Encoder::text);
        }
        Record::Returned { queue, seq } => numbers(to, tag::RETURNED, &[*queue, *seq]),
        Record::Released { queue, seq } => numbers(to, tag::RELEASED, &[*queue, *seq]),
        Record::Discarded { queue, seq, cause } => {
            numbers(to, tag::DISCARDED, &[*queue, *seq]);
            to.byte(put_discard(*cause));
        }
        Record::Redriven { queue, dead_seq, seq, at_unix_ms } => {
            numbers(to, tag::REDRIVEN, &[*queue, *dead_seq, *seq, *at_unix_ms]);
        }
        Record::Purged { queue } => numbers(to, tag::PURGED, &[*queue]),
        Record::GapGrew { queue, missed } => numbers(to, tag::GAP_GREW, &[*queue, *missed]),
        Record::GapTold { queue } => numbers(to, tag::GAP_TOLD, &[*queue]),
        rare => encode_rare(rare, codec, to),
    }
}

fn encode_rare<P>(record: &Record<'_, &P>, codec: &impl Codec<P>, to: &mut Encoder<'_>) {
    match record {
        Record::QueueCreated { queue, dead, name, options, group } => {
            numbers(to, tag::QUEUE_CREATED, &[*queue, *dead]);
            to.text(name);
            put_options(options, to);
            to.maybe(group.as_ref(), put_group);
        }
        Record::QueueRemoved { queue } => numbers(to, tag::QUEUE_REMOVED, &[*queue]),
        Record::TopicCreated { topic } => {
            to.byte(tag::TOPIC_CREATED);
            to.text(topic);
        }
        Record::TopicRemoved { topic } => {
            to.byte(tag::TOPIC_REMOVED);
            to.text(topic);
        }
        Record::DeadLettered { queue, seq, dead_seq, at_unix_ms, reason, error, substitute } => {
            numbers(to, tag::DEAD_LETTERED, &[*queue, *seq, *dead_seq, *at_unix_ms]);
            put_reason(reason, to);
            to.maybe(error.as_deref(), Encoder::text);
            to.maybe(substitute.as_ref(), |to, (payload, size)| {
                to.number(*size);
                to.nested(|to| codec.encode(payload, to));
            });
        }
        Record::SnapshotBegun { numbers: highest } => numbers(to, tag::SNAPSHOT_BEGUN, &[*highest]),
        Record::QueueState { queue, next_seq, gap } => {
            numbers(to, tag::QUEUE_STATE, &[*queue, *next_seq, *gap]);
        }
        Record::Kept { queue, kept } => {
            numbers(to, tag::KEPT, &[*queue]);
            put_kept(kept, codec, to);
        }
        Record::Remembered { queue, id, send, left, at_unix_ms } => {
            numbers(to, tag::REMEMBERED, &[*queue, u64::from(*send), *left, *at_unix_ms]);
            put_id(id, to);
        }
        _ => to.byte(tag::SNAPSHOT_DONE),
    }
}

fn numbers(to: &mut Encoder<'_>, tag: u8, numbers: &[u64]) {
    to.byte(tag);
    for number in numbers {
        to.number(*number);
    }
}

/// Reads the records of a batch, for tools that look into a journal; `None`: these bytes are none. No bytes make it
/// panic, and what it answers can be given to [`crate::Engine::replay`], which refuses what does not fit.
pub fn read_records<P>(bytes: &[u8], codec: &impl Codec<P>) -> Option<Vec<Record<'static, P>>> {
    let mut from = Decoder::new(bytes);
    let mut records = Vec::new();
    while !from.is_empty() {
        records.push(decode(&mut from, codec)?);
    }
    Some(records)
}

/// Reads one record; `None`: these bytes are none.
pub(crate) fn decode<P>(from: &mut Decoder<'_>, codec: &impl Codec<P>) -> Option<Record<'static, P>> {
    let tag = from.byte()?;
    Some(match tag {
        tag::SENT => Record::Sent { queue: from.count()?, sent: take_sent(from, codec)? },
        tag::HANDED_OUT => {
            let (queue, seq) = (from.count()?, from.count()?);
            Record::HandedOut { queue, seq, at_unix_ms: from.count()? }
        }
        tag::ACKED => Record::Acked { queue: from.count()?, seq: from.count()? },
        tag::RETRIED => {
            let (queue, seq, due_unix_ms) = (from.count()?, from.count()?, from.number()?);
            Record::Retried { queue, seq, due_unix_ms, error: take_text(from)? }
        }
        tag::RETURNED => Record::Returned { queue: from.count()?, seq: from.count()? },
        tag::RELEASED => Record::Released { queue: from.count()?, seq: from.count()? },
        tag::DISCARDED => {
            let (queue, seq) = (from.count()?, from.count()?);
            Record::Discarded { queue, seq, cause: take_discard(from.byte()?)? }
        }
        tag::REDRIVEN => {
            let (queue, dead_seq, seq) = (from.count()?, from.count()?, from.count()?);
            Record::Redriven { queue, dead_seq, seq, at_unix_ms: from.count()? }
        }
        tag::PURGED => Record::Purged { queue: from.count()? },
        tag::GAP_GREW => Record::GapGrew { queue: from.count()?, missed: from.count()? },
        tag::GAP_TOLD => Record::GapTold { queue: from.count()? },
        rare => return decode_rare(rare, from, codec),
    })
}

fn decode_rare<P>(tag: u8, from: &mut Decoder<'_>, codec: &impl Codec<P>) -> Option<Record<'static, P>> {
    Some(match tag {
        tag::QUEUE_CREATED => {
            let (queue, dead) = (from.count()?, from.count()?);
            let name = Cow::Owned(from.text()?.to_owned());
            let (options, group) = (take_options(from)?, from.maybe(take_group)?);
            Record::QueueCreated { queue, dead, name, options, group }
        }
        tag::QUEUE_REMOVED => Record::QueueRemoved { queue: from.count()? },
        tag::TOPIC_CREATED => Record::TopicCreated { topic: Cow::Owned(from.text()?.to_owned()) },
        tag::TOPIC_REMOVED => Record::TopicRemoved { topic: Cow::Owned(from.text()?.to_owned()) },
        tag::DEAD_LETTERED => {
            let (queue, seq, dead_seq) = (from.count()?, from.count()?, from.count()?);
            let (at_unix_ms, reason, error) = (from.count()?, take_reason(from)?, take_text(from)?);
            let substitute = from.maybe(|from| {
                let size = from.number().filter(|size| *size <= MAX_SIZE)?;
                Some((take_payload(from, codec)?, size))
            })?;
            Record::DeadLettered { queue, seq, dead_seq, at_unix_ms, reason, error, substitute }
        }
        tag::SNAPSHOT_BEGUN => Record::SnapshotBegun { numbers: from.count()? },
        tag::QUEUE_STATE => {
            let (queue, next_seq) = (from.count()?, from.count()?);
            Record::QueueState { queue, next_seq, gap: from.count()? }
        }
        tag::KEPT => Record::Kept { queue: from.count()?, kept: take_kept(from, codec)? },
        tag::REMEMBERED => {
            let (queue, send, left) = (from.count()?, from.small()?, from.number()?);
            let at_unix_ms = from.count()?;
            Record::Remembered { queue, id: Cow::Owned(take_id(from)?), send, left, at_unix_ms }
        }
        tag::SNAPSHOT_DONE => Record::SnapshotDone,
        _ => return None,
    })
}

fn put_sent<P>(sent: &Sent<'_, &P>, codec: &impl Codec<P>, to: &mut Encoder<'_>) {
    to.number(sent.seq);
    put_id(&sent.id, to);
    to.number(sent.send.into());
    to.number(sent.size);
    to.byte(sent.priority);
    to.maybe(sent.expires_unix_ms, Encoder::number);
    to.number(sent.at_unix_ms);
    to.number(sent.due_unix_ms);
    to.nested(|to| codec.encode(sent.payload, to));
}

fn take_sent<P>(from: &mut Decoder<'_>, codec: &impl Codec<P>) -> Option<Sent<'static, P>> {
    Some(Sent {
        seq: from.count()?,
        id: Cow::Owned(take_id(from)?),
        send: from.small()?,
        size: from.number().filter(|size| *size <= MAX_SIZE)?,
        priority: from.byte()?,
        expires_unix_ms: from.maybe(Decoder::number)?,
        at_unix_ms: from.count()?,
        due_unix_ms: from.number()?,
        payload: take_payload(from, codec)?,
    })
}

/// The size that one message counts for at most: sums of sizes stay in range.
const MAX_SIZE: u64 = 1 << 40;

fn take_payload<P>(from: &mut Decoder<'_>, codec: &impl Codec<P>) -> Option<P> {
    let mut nested = from.nested()?;
    codec.decode(&mut nested).filter(|_| nested.is_empty())
}

fn put_kept<P>(kept: &Kept<'_, &P>, codec: &impl Codec<P>, to: &mut Encoder<'_>) {
    put_sent(&kept.sent, codec, to);
    to.number(kept.attempts.into());
    to.maybe(kept.first_unix_ms, Encoder::number);
    to.flag(kept.fresh);
    to.byte(match kept.place {
        Place::Ready => 0,
        Place::Delayed => 1,
        Place::Leased => 2,
    });
    for error in &kept.errors {
        to.maybe(error.as_deref(), Encoder::text);
    }
    to.maybe(kept.death.as_deref(), put_death);
}

fn take_kept<P>(from: &mut Decoder<'_>, codec: &impl Codec<P>) -> Option<Kept<'static, P>> {
    Some(Kept {
        sent: take_sent(from, codec)?,
        attempts: from.small().filter(|attempts| *attempts <= u32::MAX / 2)?,
        first_unix_ms: from.maybe(Decoder::count)?,
        fresh: from.flag()?,
        place: match from.byte()? {
            0 => Place::Ready,
            1 => Place::Delayed,
            2 => Place::Leased,
            _ => return None,
        },
        errors: [take_text(from)?, take_text(from)?],
        death: from.maybe(take_death)?.map(Cow::Owned),
    })
}

fn put_death(to: &mut Encoder<'_>, death: &Death) {
    put_reason(&death.reason, to);
    to.number(death.attempts.into());
    to.text(&death.origin);
    to.maybe(death.first_error.as_deref(), Encoder::text);
    to.maybe(death.last_error.as_deref(), Encoder::text);
    to.number(death.accepted_unix_ms);
    to.maybe(death.first_unix_ms, Encoder::number);
    to.number(death.died_unix_ms);
    to.flag(death.whole);
}

fn take_death(from: &mut Decoder<'_>) -> Option<Death> {
    Some(Death {
        reason: take_reason(from)?,
        attempts: from.small()?,
        origin: from.text()?.into(),
        first_error: from.maybe(Decoder::text)?.map(Arc::from),
        last_error: from.maybe(Decoder::text)?.map(Arc::from),
        accepted_unix_ms: from.count()?,
        first_unix_ms: from.maybe(Decoder::count)?,
        died_unix_ms: from.count()?,
        whole: from.flag()?,
    })
}

fn put_id(id: &MessageId, to: &mut Encoder<'_>) {
    match id {
        MessageId::Uuid(bytes) => {
            to.byte(0);
            to.raw(bytes);
        }
        MessageId::Text(text) => {
            to.byte(1);
            to.text(text);
        }
    }
}

fn take_id(from: &mut Decoder<'_>) -> Option<MessageId> {
    match from.byte()? {
        0 => Some(MessageId::Uuid(from.raw(16)?.try_into().ok()?)),
        1 => Some(MessageId::Text(from.text()?.into())),
        _ => None,
    }
}

fn put_reason(reason: &Reason, to: &mut Encoder<'_>) {
    match reason {
        Reason::Spent => to.byte(0),
        Reason::Expired => to.byte(1),
        Reason::Rejected(word) => {
            to.byte(2);
            to.text(word);
        }
    }
}

fn take_reason(from: &mut Decoder<'_>) -> Option<Reason> {
    match from.byte()? {
        0 => Some(Reason::Spent),
        1 => Some(Reason::Expired),
        2 => Some(Reason::Rejected(Cow::Owned(from.text()?.to_owned()))),
        _ => None,
    }
}

const fn put_discard(cause: Discard) -> u8 {
    match cause {
        Discard::Expired => 0,
        Discard::Bound => 1,
        Discard::Rejected => 2,
    }
}

const fn take_discard(byte: u8) -> Option<Discard> {
    match byte {
        0 => Some(Discard::Expired),
        1 => Some(Discard::Bound),
        2 => Some(Discard::Rejected),
        _ => None,
    }
}

#[expect(clippy::option_option, reason = "the outer one says whether the bytes made sense")]
fn take_text(from: &mut Decoder<'_>) -> Option<Option<Cow<'static, str>>> {
    Some(from.maybe(Decoder::text)?.map(|text| Cow::Owned(text.to_owned())))
}

fn put_options(options: &QueueOptions, to: &mut Encoder<'_>) {
    to.maybe(options.lease, put_duration);
    to.number(options.max_attempts.map_or(0, NonZeroU32::get).into());
    put_bound(options.bound, to);
    to.flag(options.when_full == WhenFull::DropOldest);
    to.flag(options.priorities);
    to.byte(match options.on_expiry {
        None => 0,
        Some(OnExpiry::DeadLetter) => 1,
        Some(OnExpiry::Drop) => 2,
    });
    to.maybe(options.dedup, |to, dedup| {
        put_duration(to, dedup.window);
        to.number(dedup.keys as u64);
    });
    put_bound(options.dead_bound, to);
}

fn take_options(from: &mut Decoder<'_>) -> Option<QueueOptions> {
    Some(QueueOptions {
        lease: from.maybe(take_duration)?,
        max_attempts: NonZeroU32::new(from.small()?),
        bound: take_bound(from)?,
        when_full: if from.flag()? { WhenFull::DropOldest } else { WhenFull::Refuse },
        priorities: from.flag()?,
        on_expiry: match from.byte()? {
            0 => None,
            1 => Some(OnExpiry::DeadLetter),
            2 => Some(OnExpiry::Drop),
            _ => return None,
        },
        dedup: from.maybe(|from| {
            let window = take_duration(from)?;
            Some(DedupWindow { window, keys: usize::try_from(from.number()?).ok()? })
        })?,
        dead_bound: take_bound(from)?,
    })
}

fn put_bound(bound: Bound, to: &mut Encoder<'_>) {
    to.number(bound.messages);
    to.number(bound.bytes);
}

fn take_bound(from: &mut Decoder<'_>) -> Option<Bound> {
    Some(Bound::new(from.number()?, from.number()?))
}

fn put_duration(to: &mut Encoder<'_>, duration: Duration) {
    to.number(duration.as_secs());
    to.number(duration.subsec_nanos().into());
}

fn take_duration(from: &mut Decoder<'_>) -> Option<Duration> {
    let (seconds, nanos) = (from.number()?, from.small()?);
    (nanos < 1_000_000_000).then(|| Duration::new(seconds, nanos))
}

fn put_group(to: &mut Encoder<'_>, group: &GroupOf) {
    to.text(&group.topic);
    to.text(&group.group);
    to.maybe(group.unused_for, put_duration);
}

fn take_group(from: &mut Decoder<'_>) -> Option<GroupOf> {
    Some(GroupOf {
        topic: from.text()?.into(),
        group: from.text()?.into(),
        unused_for: from.maybe(take_duration)?,
    })
}
