//! The context of a trace, as OpenTelemetry and the W3C have it: which trace a call belongs to travels with it.
//!
//! On every bus it is two headers of the caller, `traceparent` and `tracestate`, and nothing without a trace: bodies stay
//! as they are, and so does a message that old programs send or read.

use std::env;
use std::fmt;
use std::future::Future;
use std::str::FromStr;

use opentelemetry::trace::{
    FutureExt, SpanContext, SpanId, TraceContextExt, TraceFlags, TraceId, TraceState,
};
use polybus_contract::{Fidelity, Headers, Message, Property, Value};

/// The header that names trace and caller.
pub const TRACEPARENT: &str = "traceparent";

/// The header with what tracing systems add.
pub const TRACESTATE: &str = "tracestate";

/// The longest `tracestate` that is passed on, as the W3C asks for; a longer one is left out.
const STATE_ROOM: usize = 512;

/// The bytes of a `traceparent` of version 00.
const PARENT_LEN: usize = 55;

/// Which trace something belongs to, and which span of it is the caller.
#[derive(Clone, Debug, PartialEq)]
pub struct TraceContext(SpanContext);

impl TraceContext {
    /// The context by its two texts; a `tracestate` that cannot be read is left out. `None` for a `traceparent` that is
    /// not one: whoever receives it begins anew, and nothing fails.
    #[must_use]
    pub fn read(parent: &str, state: Option<&str>) -> Option<Self> {
        let (trace, span, flags) = parent_parts(parent.trim())?;
        let state = state.map(str::trim).filter(|state| state.len() <= STATE_ROOM);
        let state = state.and_then(|state| TraceState::from_str(state).ok()).unwrap_or_default();
        Some(Self(SpanContext::new(trace, span, TraceFlags::new(flags), true, state)))
    }

    /// The context that a message brings.
    #[must_use]
    pub fn of(headers: &Headers) -> Option<Self> {
        let parent = headers.get(TRACEPARENT)?.as_text()?;
        Self::read(parent, headers.get(TRACESTATE).and_then(joined).as_deref())
    }

    /// The context that this task runs in: that of the active OpenTelemetry span, or of the job that a
    /// [`Worker`](crate::Worker) is working on.
    #[must_use]
    pub fn current() -> Option<Self> {
        opentelemetry::Context::map_current(|context| {
            let span = context.span().span_context().clone();
            span.is_valid().then_some(Self(span))
        })
    }

    /// The context that the environment gives, from `TRACEPARENT` and `TRACESTATE`: how build systems and scripts hand it
    /// to the programs they call.
    #[must_use]
    pub fn from_environment() -> Option<Self> {
        let state = env::var("TRACESTATE").ok();
        Self::read(&env::var("TRACEPARENT").ok()?, state.as_deref())
    }

    /// Runs `work` within this context: what it calls continues the trace. Cancel safe if `work` is.
    pub fn scope<Work: Future>(self, work: Work) -> impl Future<Output = Work::Output> {
        work.with_context(opentelemetry::Context::new().with_remote_span_context(self.0))
    }

    /// The trace's id: 32 hexadecimal digits.
    #[must_use]
    pub fn trace_id(&self) -> String {
        self.0.trace_id().to_string()
    }

    /// The message with this context in its headers. One that has a `traceparent` keeps it, and a bus that carries no
    /// headers gets none.
    #[must_use]
    pub fn put_on(&self, message: Message, fidelity: &Fidelity) -> Message {
        if message.headers().get(TRACEPARENT).is_some() || !fidelity.has(Property::Headers) {
            return message;
        }
        let mut headers = message.headers().clone();
        headers.set_carried(TRACEPARENT, self.to_string());
        let state = self.0.trace_state().header();
        if !state.is_empty() {
            headers.set_carried(TRACESTATE, state);
        }
        message.with_headers(headers)
    }
}

/// The `traceparent`.
impl fmt::Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(span) = self;
        write!(f, "00-{}-{}-{:02x}", span.trace_id(), span.span_id(), span.trace_flags().to_u8())
    }
}

/// Version 00, and later ones as far as they are the same.
fn parent_parts(text: &str) -> Option<(TraceId, SpanId, u8)> {
    let known = text.get(..PARENT_LEN)?;
    let rest = text.get(PARENT_LEN..)?;
    let [version, trace, span, flags] = known.split('-').collect::<Vec<_>>().try_into().ok()?;
    let later = version != "00" && rest.starts_with('-');
    if version == "ff" || !(rest.is_empty() || later) {
        return None;
    }
    let exact = |text: &str, len: usize| {
        text.len() == len && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    };
    if !(exact(version, 2) && exact(trace, 32) && exact(span, 16) && exact(flags, 2)) {
        return None;
    }
    let trace = TraceId::from_hex(trace).ok().filter(|id| *id != TraceId::INVALID)?;
    let span = SpanId::from_hex(span).ok().filter(|id| *id != SpanId::INVALID)?;
    Some((trace, span, u8::from_str_radix(flags, 16).ok()?))
}

/// A header that came several times is one list.
fn joined(value: &Value) -> Option<String> {
    match value {
        Value::Text(text) => Some(text.clone()),
        Value::List(items) => Some(items.iter().map(Value::as_text).collect::<Option<Vec<_>>>()?.join(",")),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn what_the_specification_allows_is_read_and_written_the_same() {
        for (text, written) in [
            (PARENT, Some(PARENT)),
            ("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00", None),
            ("cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-later", Some(PARENT)),
            (" 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01 ", Some(PARENT)),
        ] {
            assert_eq!(TraceContext::read(text, None).unwrap().to_string(), written.unwrap_or(text));
        }
        for text in [
            "",
            "00",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more",
            "cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01.more",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0g",
            "00-0af7651916cd43dd8448eb211c80319cä-b7ad6b7169203331-1",
            "00_0af7651916cd43dd8448eb211c80319c_b7ad6b7169203331_01",
        ] {
            assert_eq!(TraceContext::read(text, None), None, "{text}");
        }
    }

    #[test]
    fn a_message_carries_it_and_keeps_its_own() {
        let context = TraceContext::read(PARENT, Some("a=1,b=2")).unwrap();
        let message = context.put_on(Message::new("x"), &Fidelity::all());
        assert_eq!(TraceContext::of(message.headers()), Some(context.clone()));
        assert_eq!(message.headers().get(TRACESTATE), Some(&"a=1,b=2".into()));
        let other = TraceContext::read(&PARENT.replace("b7", "c8"), None).unwrap();
        let kept = other.put_on(message.clone(), &Fidelity::all());
        assert_eq!(kept.headers(), message.headers());
        assert!(context.put_on(Message::new("x"), &Fidelity::none()).headers().is_empty());
    }

    #[test]
    fn a_state_that_is_nonsense_or_too_long_is_left_out() {
        for state in ["no equals sign".to_owned(), format!("a={}", "x".repeat(STATE_ROOM))] {
            let context = TraceContext::read(PARENT, Some(&state)).unwrap();
            let message = context.put_on(Message::new("x"), &Fidelity::all());
            assert_eq!(message.headers().len(), 1, "{state}");
        }
        let several = Value::List(vec!["a=1".into(), "b=2".into()]);
        assert_eq!(joined(&several).as_deref(), Some("a=1,b=2"));
    }

    #[tokio::test]
    async fn work_runs_within_it() {
        assert_eq!(TraceContext::current(), None);
        let context = TraceContext::read(PARENT, None).unwrap();
        let seen = context.clone().scope(async {
            tokio::task::yield_now().await;
            TraceContext::current()
        });
        assert_eq!(seen.await, Some(context));
        assert_eq!(TraceContext::current(), None);
    }
}
