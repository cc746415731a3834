//! Events of the `tracing` crate as log lines.

use std::fmt::{self, Write};
use std::sync::Arc;

use tracing::field::{Field, Visit};
use tracing::{Event, Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

use super::publisher::is_publishing;
use super::{Level, LogSink};
use crate::frame::terse_text;

/// Crates whose events are taken at every level; of all others only warnings and errors are.
const OURS: [&str; 3] = ["polybus", "polybus_suite", "polybus_cli"];

/// Crates that carry log lines themselves. What they say about a line would be the next line, without an end.
const CARRIERS: [&str; 3] = ["lapin", "async_nats", "rustls"];

/// Sends events of this process to a [`LogSink`], usually a [`LogPublisher`](super::LogPublisher).
///
/// Levels become those of log lines (`TRACE` is `DEBUG`), fields follow the message as `key=value`, texts of more
/// than 128 characters by their size and digest only, and the innermost span names the component. What the bus says
/// while it publishes log lines is not taken, nor chatter of other crates or anything of the client libraries of brokers,
/// so that no line causes another one.
#[derive(Debug, Clone)]
pub struct LogLayer {
    sink: Arc<dyn LogSink>,
    crates: Vec<String>,
}

impl LogLayer {
    /// A layer that sends to `sink`.
    #[must_use]
    pub fn new(sink: Arc<dyn LogSink>) -> Self {
        Self { sink, crates: OURS.map(str::to_owned).to_vec() }
    }

    /// Takes events of this crate at every level too. It must not log while it publishes.
    #[must_use]
    pub fn with_crate(mut self, name: impl Into<String>) -> Self {
        self.crates.push(name.into());
        self
    }

    fn wants(&self, metadata: &Metadata<'_>) -> bool {
        let source = metadata.target().split("::").next().unwrap_or_default();
        let urgent = *metadata.level() <= tracing::Level::WARN && !CARRIERS.contains(&source);
        urgent || self.crates.iter().any(|name| name == source)
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for LogLayer {
    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        if is_publishing() || !self.wants(event.metadata()) {
            return;
        }
        let mut text = Text::default();
        event.record(&mut text);
        let span = context.event_scope(event).and_then(|mut scope| scope.next());
        self.sink.log_of(span.map(|span| span.name()), level(event.metadata()), &text.whole());
    }
}

fn level(metadata: &Metadata<'_>) -> Level {
    match *metadata.level() {
        tracing::Level::ERROR => Level::Error,
        tracing::Level::WARN => Level::Warning,
        tracing::Level::INFO => Level::Info,
        _ => Level::Debug,
    }
}

/// The message of an event, and its fields behind it.
#[derive(Default)]
struct Text {
    message: String,
    fields: String,
}

impl Text {
    fn whole(self) -> String {
        [self.message, self.fields].concat().trim_start().to_owned()
    }

    fn take(&mut self, field: &Field, value: &str) {
        let value = terse_text(value);
        if field.name() == "message" {
            self.message = value;
            return;
        }
        // Writing to a String cannot fail.
        let _ = if value.is_empty() || value.contains([' ', '"']) {
            write!(self.fields, " {}={value:?}", field.name())
        } else {
            write!(self.fields, " {}={value}", field.name())
        };
    }
}

impl Visit for Text {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.take(field, value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.take(field, &format!("{value:?}"));
    }
}
