//! Log lines of all programs on the `logs` fanout (PRISEM services specification, 9).

mod buffer;
mod classic;
mod escape;
mod filter;
mod json;
mod layer;
mod level;
mod lines;
mod monitor;
mod publisher;
mod record;
mod sink;
mod time;

#[cfg(test)]
mod tests;

pub use filter::{BadExpression, Filter};
pub use layer::LogLayer;
pub use level::{Level, UnknownLevel};
pub use lines::{CallFigures, CallLine, LogLine, identity_line};
pub use monitor::{LogMonitor, Observed};
pub use publisher::{LineForm, LogOptions, LogPublisher, LogReport};
pub use record::{Format, Record};
pub use sink::{LogSink, NoLog};
pub use time::Zone;
