//! Log lines of all programs on the `logs` fanout (PRISEM services specification, 9).

mod level;
mod lines;
mod sink;

pub use level::Level;
pub use lines::{CallLine, identity_line};
pub use sink::{LogSink, NoLog};
