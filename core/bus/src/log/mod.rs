//! Log lines of all programs on the `logs` fanout (PRISEM services specification, 9).

mod classic;
mod escape;
mod filter;
mod json;
mod level;
mod lines;
mod record;
mod sink;
mod time;

#[cfg(test)]
mod tests;

pub use filter::{BadExpression, Filter};
pub use level::{Level, UnknownLevel};
pub use lines::{CallFigures, CallLine, LogLine, identity_line};
pub use record::{Format, Record};
pub use sink::{LogSink, NoLog};
pub use time::Zone;
