//! How every program of the suite speaks: option conventions, exit codes, notices, closed output and time
//! (PRISEM services specification, 3.2 to 3.5).

mod arguments;
mod clock;
mod exit;
mod notice;
mod output;

pub(crate) use arguments::{Parsed, command, parse, print, tell};
pub(crate) use clock::output_time;
pub(crate) use exit::{Failure, Outcome, finish};
pub(crate) use notice::Notices;
pub(crate) use output::{ResultOutput, write_result};
