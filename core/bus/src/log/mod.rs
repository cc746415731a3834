//! Log lines of all programs on the `logs` fanout (PRISEM services specification, 9).

mod level;
mod sink;

pub use level::Level;
pub use sink::{LogSink, NoLog};
