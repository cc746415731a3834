//! Gaps in what arrives.

use polybus_contract::{Gap, GapCause};
use serde::{Deserialize, Serialize};

/// A gap in what arrives: `missed` (null: not known), and the `cause` in a word: `slow_reader`, `outage`, `bound` or
/// `network`. An unknown word is read as `network`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct GapLine {
    missed: Option<u64>,
    cause: String,
}

impl From<Gap> for GapLine {
    fn from(gap: Gap) -> Self {
        let cause = match gap.cause {
            GapCause::SlowReader => "slow_reader",
            GapCause::Outage => "outage",
            GapCause::Bound => "bound",
            _ => "network",
        };
        Self { missed: gap.missed, cause: cause.to_owned() }
    }
}

impl From<GapLine> for Gap {
    fn from(line: GapLine) -> Self {
        let cause = match line.cause.as_str() {
            "slow_reader" => GapCause::SlowReader,
            "outage" => GapCause::Outage,
            "bound" => GapCause::Bound,
            _ => GapCause::Network,
        };
        Self { missed: line.missed, cause }
    }
}
