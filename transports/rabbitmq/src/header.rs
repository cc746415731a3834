//! Headers of our own on the wire, and values of headers in AMQP's types.

use std::collections::BTreeMap;

use bytes::Bytes;
use lapin::types::{AMQPValue, DecimalValue, FieldArray, FieldTable, LongString, ShortString};
use polybus_contract::{UnixMillis, Value};

/// An id that is no short string.
pub(crate) const ID: &str = "x-polybus-id";
/// An id that was made up for a message without one.
pub(crate) const DERIVED_ID: &str = "x-polybus-derived-id";
/// When it was created, in milliseconds: AMQP's own property counts seconds.
pub(crate) const CREATED: &str = "x-polybus-created";
/// When it expires, Unix milliseconds.
pub(crate) const EXPIRES: &str = "x-polybus-expires";
/// When its sender stops waiting, Unix milliseconds.
pub(crate) const DEADLINE: &str = "x-polybus-deadline";
/// A correlation id that is no short string, or not the one that a reply repeats.
pub(crate) const CORRELATION: &str = "x-polybus-correlation";
/// A media type that is no short string.
pub(crate) const CONTENT_TYPE: &str = "x-polybus-content-type";
/// An encoding that is no short string.
pub(crate) const CONTENT_ENCODING: &str = "x-polybus-content-encoding";
/// The attempt that the first hand-out of this copy is; 1 where it is missing.
pub(crate) const ATTEMPT: &str = "x-polybus-attempt";
/// The error of the attempt before.
pub(crate) const ERROR: &str = "x-polybus-error";
/// When it was first handed out, Unix milliseconds.
pub(crate) const FIRST: &str = "x-polybus-first";
/// Not to be handed out before, Unix milliseconds: a delay that is longer than the longest step.
pub(crate) const DUE: &str = "x-polybus-due";
/// The user that sent the first copy, as the broker had proven it.
pub(crate) const USER: &str = "x-polybus-user";
/// Why it died: a word.
pub(crate) const REASON: &str = "x-polybus-reason";
/// Why it died: a line.
pub(crate) const TEXT: &str = "x-polybus-text";
/// Where it died.
pub(crate) const QUEUE: &str = "x-polybus-queue";
/// When it died, Unix milliseconds.
pub(crate) const TIME: &str = "x-polybus-time";
/// How often it had been handed out when it died.
pub(crate) const ATTEMPTS: &str = "x-polybus-attempts";
/// Set if the body of a dead letter is not the one that was sent.
pub(crate) const REPLACED: &str = "x-polybus-replaced";
/// Who numbers what is published to a topic.
pub(crate) const PUBLISHER: &str = "x-polybus-publisher";
/// The number, from 1 for each publisher and topic.
pub(crate) const NUMBER: &str = "x-polybus-number";
/// Counts the parts of a reply.
pub(crate) const INDEX: &str = "x-polybus-index";
/// Set to false on a part that is not the last one.
pub(crate) const LAST: &str = "x-polybus-last";
/// Who answers.
pub(crate) const RESPONDER: &str = "x-polybus-responder";
/// The attempt of the request that this answers.
pub(crate) const ANSWERS_ATTEMPT: &str = "x-polybus-answers-attempt";
/// A responder's failure: a word.
pub(crate) const ERROR_CODE: &str = "x-polybus-error-code";
/// A responder's failure: a line.
pub(crate) const ERROR_TEXT: &str = "x-polybus-error-text";
/// Stands before the name of a caller's header that would mean something to the broker.
pub(crate) const ESCAPED: &str = "x-polybus-as-";

/// The name of the one entry of a table that stands for a value AMQP has no type for.
const AS_UINT: &str = "x-polybus-uint";
const AS_DECIMAL: &str = "x-polybus-decimal";
const AS_TIME: &str = "x-polybus-time-ms";
const AS_MAP: &str = "x-polybus-map";

/// How deep lists and tables may be nested.
const DEPTH: usize = 32;

/// Headers with an effect on the broker: where copies go, and what it writes itself.
pub(crate) fn is_brokers(name: &str) -> bool {
    matches!(name, "CC" | "BCC" | "x-delivery-count" | "x-death" | "x-opt-delivery-count" | "x-delay")
        || name.starts_with("x-first-death-")
        || name.starts_with("x-last-death-")
}

pub(crate) fn text(value: &str) -> AMQPValue {
    AMQPValue::LongString(LongString::from(value.as_bytes()))
}

pub(crate) fn short(value: impl Into<String>) -> Option<ShortString> {
    ShortString::try_new(value).ok()
}

/// A name that is known to be short enough: of a header or of an object.
pub(crate) fn known(value: &str) -> ShortString {
    ShortString::try_new(value).unwrap_or_default()
}

/// The value in AMQP's types; `None` if it is nested too deep, or the name in a table is too long for any.
pub(crate) fn to_amqp(value: &Value) -> Option<AMQPValue> {
    to_amqp_within(value, DEPTH)
}

fn to_amqp_within(value: &Value, left: usize) -> Option<AMQPValue> {
    let left = left.checked_sub(1)?;
    Some(match value {
        Value::Null => AMQPValue::Void,
        Value::Bool(value) => AMQPValue::Boolean(*value),
        Value::Int(value) => AMQPValue::LongLongInt(*value),
        Value::UInt(value) => wrapped(AS_UINT, text(&value.to_string())),
        Value::Float(value) => AMQPValue::Double(*value),
        Value::Decimal { digits, scale } => {
            match u32::try_from(*digits).ok().filter(|digits| *digits >> 31 == 0) {
                Some(value) => AMQPValue::DecimalValue(DecimalValue { scale: *scale, value }),
                None => wrapped(AS_DECIMAL, text(&format!("{digits}/{scale}"))),
            }
        }
        Value::Text(value) => text(value),
        Value::Bytes(value) => AMQPValue::ByteArray(value.as_ref().into()),
        Value::Time(UnixMillis(at)) => match u64::try_from(*at).ok().filter(|at| at % 1000 == 0) {
            Some(at) => AMQPValue::Timestamp(at / 1000),
            None => wrapped(AS_TIME, AMQPValue::LongLongInt(*at)),
        },
        Value::List(items) => AMQPValue::FieldArray(list(items, left)?),
        Value::Map(entries) => map(entries, left)?,
        _ => return None,
    })
}

fn list(items: &[Value], left: usize) -> Option<FieldArray> {
    Some(items.iter().map(|item| to_amqp_within(item, left)).collect::<Option<Vec<_>>>()?.into())
}

/// A table on the wire is in order of its names here; one in another order, or that could be taken for one of the
/// stand-ins, is written as a list of pairs.
fn map(entries: &[(String, Value)], left: usize) -> Option<AMQPValue> {
    let plain = entries.is_sorted_by(|(one, _), (other, _)| one < other)
        && entries.iter().all(|(name, _)| name.len() <= 255 && !name.starts_with("x-polybus-"));
    if plain {
        let entry =
            |(name, value): &(String, Value)| Some((short(name.as_str())?, to_amqp_within(value, left)?));
        let table: BTreeMap<_, _> = entries.iter().map(entry).collect::<Option<_>>()?;
        return Some(AMQPValue::FieldTable(table.into()));
    }
    let mut pairs = FieldArray::default();
    for (name, value) in entries {
        pairs.push(text(name));
        pairs.push(to_amqp_within(value, left)?);
    }
    Some(wrapped(AS_MAP, AMQPValue::FieldArray(pairs)))
}

fn wrapped(name: &str, value: AMQPValue) -> AMQPValue {
    let mut table = FieldTable::default();
    table.insert(known(name), value);
    AMQPValue::FieldTable(table)
}

/// The value of a header as it came. Whatever foreign peers write has a value here: what is nested too deep is `Null`.
pub(crate) fn from_amqp(value: &AMQPValue) -> Value {
    from_amqp_within(value, DEPTH)
}

fn from_amqp_within(value: &AMQPValue, left: usize) -> Value {
    let Some(left) = left.checked_sub(1) else { return Value::Null };
    match value {
        AMQPValue::Void => Value::Null,
        AMQPValue::Boolean(value) => Value::Bool(*value),
        AMQPValue::Float(value) => Value::Float(f64::from(*value)),
        AMQPValue::Double(value) => Value::Float(*value),
        AMQPValue::DecimalValue(value) => Value::Decimal { digits: value.value.into(), scale: value.scale },
        AMQPValue::ShortString(value) => Value::Text(value.to_string()),
        AMQPValue::LongString(value) => match std::str::from_utf8(value.as_bytes()) {
            Ok(text) => Value::Text(text.to_owned()),
            Err(_) => Value::Bytes(Bytes::copy_from_slice(value.as_bytes())),
        },
        AMQPValue::ByteArray(value) => Value::Bytes(Bytes::copy_from_slice(value.as_slice())),
        AMQPValue::Timestamp(at) => Value::Time(seconds(*at)),
        AMQPValue::FieldArray(items) => {
            Value::List(items.as_slice().iter().map(|item| from_amqp_within(item, left)).collect())
        }
        AMQPValue::FieldTable(table) => stand_in(table, left).unwrap_or_else(|| {
            let entry = |(name, value): (&ShortString, _)| (name.to_string(), from_amqp_within(value, left));
            Value::Map(table.into_iter().map(entry).collect())
        }),
        number => Value::Int(int(number).unwrap_or_default()),
    }
}

/// AMQP's timestamps count seconds.
pub(crate) fn seconds(at: u64) -> UnixMillis {
    UnixMillis(i64::try_from(at).unwrap_or(i64::MAX).saturating_mul(1000))
}

/// The value that a table of ours stands for.
fn stand_in(table: &FieldTable, left: usize) -> Option<Value> {
    let mut entries = table.into_iter();
    let (name, value) = entries.next()?;
    if entries.next().is_some() {
        return None;
    }
    match (name.as_str(), value) {
        (AS_UINT, value) => string(value)?.parse().ok().map(Value::UInt),
        (AS_TIME, value) => int(value).map(|at| Value::Time(UnixMillis(at))),
        (AS_DECIMAL, value) => {
            let (digits, scale) = string(value)?.split_once('/')?;
            Some(Value::Decimal { digits: digits.parse().ok()?, scale: scale.parse().ok()? })
        }
        (AS_MAP, AMQPValue::FieldArray(pairs)) => {
            let pair =
                |pair: &[AMQPValue]| Some((string(&pair[0])?.to_owned(), from_amqp_within(&pair[1], left)));
            let pairs = pairs.as_slice();
            (pairs.len() % 2 == 0)
                .then(|| pairs.chunks_exact(2).map(pair).collect::<Option<_>>())?
                .map(Value::Map)
        }
        _ => None,
    }
}

/// Any integer type.
pub(crate) fn int(value: &AMQPValue) -> Option<i64> {
    Some(match value {
        AMQPValue::ShortShortInt(value) => (*value).into(),
        AMQPValue::ShortShortUInt(value) => (*value).into(),
        AMQPValue::ShortInt(value) => (*value).into(),
        AMQPValue::ShortUInt(value) => (*value).into(),
        AMQPValue::LongInt(value) => (*value).into(),
        AMQPValue::LongUInt(value) => (*value).into(),
        AMQPValue::LongLongInt(value) => *value,
        _ => return None,
    })
}

pub(crate) fn string(value: &AMQPValue) -> Option<&str> {
    match value {
        AMQPValue::LongString(value) => std::str::from_utf8(value.as_bytes()).ok(),
        AMQPValue::ShortString(value) => Some(value.as_str()),
        _ => None,
    }
}

/// Bytes of a table on the wire.
pub(crate) fn table_size(table: &FieldTable) -> usize {
    let entry = |(name, value): (&ShortString, &AMQPValue)| name.as_str().len() + 1 + size(value);
    4 + table.into_iter().map(entry).sum::<usize>()
}

fn size(value: &AMQPValue) -> usize {
    1 + match value {
        AMQPValue::LongString(value) => 4 + value.len(),
        AMQPValue::ByteArray(value) => 4 + value.len(),
        AMQPValue::ShortString(value) => 1 + value.as_str().len(),
        AMQPValue::FieldArray(items) => 4 + items.as_slice().iter().map(size).sum::<usize>(),
        AMQPValue::FieldTable(table) => table_size(table),
        _ => 8,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    pub(crate) fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::Bool),
            any::<i64>().prop_map(Value::Int),
            ((1_u64 << 63)..).prop_map(Value::UInt),
            any::<f64>().prop_map(Value::Float),
            (any::<i64>(), any::<u8>()).prop_map(|(digits, scale)| Value::Decimal { digits, scale }),
            ".{0,9}".prop_map(Value::Text),
            any::<Vec<u8>>().prop_map(|bytes| Value::Bytes(bytes.into())),
            any::<i64>().prop_map(|at| Value::Time(UnixMillis(at))),
        ];
        leaf.prop_recursive(4, 20, 4, |inner| {
            let names = prop_oneof![".{0,5}", Just(AS_UINT.to_owned()), Just(AS_MAP.to_owned())];
            let entries = prop::collection::hash_map(names, inner.clone(), 0..4);
            prop_oneof![
                prop::collection::vec(inner, 0..4).prop_map(Value::List),
                entries.prop_map(|entries| Value::Map(entries.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn a4_every_value_comes_back(value in value()) {
            let back = from_amqp(&to_amqp(&value).unwrap());
            prop_assert_eq!(format!("{back:?}"), format!("{value:?}"));
        }
    }

    #[test]
    fn what_is_nested_too_deep_is_refused_and_read_without_harm() {
        let mut deep = Value::Null;
        let mut wire = AMQPValue::Void;
        for _ in 0..DEPTH {
            deep = Value::List(vec![deep]);
            wire = AMQPValue::FieldArray(vec![wire].into());
        }
        assert!(to_amqp(&deep).is_none());
        assert!(format!("{:?}", from_amqp(&wire)).contains("Null"));
    }
}
