//! What the killed process says, one word a line, each written in one piece before or after what it speaks of.

use std::fmt;

/// A message's number: the run that sent it, a count, and one bit that says whether it went to the topic.
pub(crate) type Number = u64;

/// Whether a message went to the topic and not to the queue.
pub(crate) const fn is_topic(number: Number) -> bool {
    number % 2 == 1
}

/// One line of the ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Word {
    /// The bus is open and held so many messages; whether its journal ended in a cut batch.
    Open { messages: u64, cut: bool },
    /// About to be sent.
    Sending(Number),
    /// The bus confirmed it.
    Confirmed(Number),
    /// The bus refused it: it is not there.
    Refused(Number),
    /// Handed out for the `attempt`-th time.
    Received { number: Number, attempt: u32 },
    /// About to be acked.
    Acking(Number),
    /// The bus confirmed the ack.
    Acked(Number),
    /// About to be given back: retried or dropped.
    Returning(Number),
    /// About to be rejected.
    Rejecting(Number),
    /// The bus confirmed the reject.
    Rejected(Number),
    /// Read from the dead letters.
    Dead { number: Number, attempts: u32, reason: String },
    /// About to be acked among the dead letters.
    Burying(Number),
    /// The bus confirmed that.
    Buried(Number),
    /// Nothing is left.
    Empty,
    /// Something went wrong that never may.
    Fault(String),
}

impl fmt::Display for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Open { messages, cut } => write!(f, "open {messages} {}", u8::from(*cut)),
            Self::Sending(number) => write!(f, "sending {number}"),
            Self::Confirmed(number) => write!(f, "confirmed {number}"),
            Self::Refused(number) => write!(f, "refused {number}"),
            Self::Received { number, attempt } => write!(f, "received {number} {attempt}"),
            Self::Acking(number) => write!(f, "acking {number}"),
            Self::Acked(number) => write!(f, "acked {number}"),
            Self::Returning(number) => write!(f, "returning {number}"),
            Self::Rejecting(number) => write!(f, "rejecting {number}"),
            Self::Rejected(number) => write!(f, "rejected {number}"),
            Self::Dead { number, attempts, reason } => write!(f, "dead {number} {attempts} {reason}"),
            Self::Burying(number) => write!(f, "burying {number}"),
            Self::Buried(number) => write!(f, "buried {number}"),
            Self::Empty => f.write_str("empty"),
            Self::Fault(text) => write!(f, "fault {text}"),
        }
    }
}

impl Word {
    /// Reads a line; `None`: it is none, for example because it was cut by the kill.
    pub(crate) fn parse(line: &str) -> Option<Self> {
        let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
        let mut parts = rest.splitn(3, ' ');
        let mut number = || parts.next()?.parse().ok();
        Some(match verb {
            "open" => Self::Open { messages: number()?, cut: number()? == 1 },
            "sending" => Self::Sending(number()?),
            "confirmed" => Self::Confirmed(number()?),
            "refused" => Self::Refused(number()?),
            "received" => Self::Received { number: number()?, attempt: u32::try_from(number()?).ok()? },
            "acking" => Self::Acking(number()?),
            "acked" => Self::Acked(number()?),
            "returning" => Self::Returning(number()?),
            "rejecting" => Self::Rejecting(number()?),
            "rejected" => Self::Rejected(number()?),
            "dead" => {
                let (number, attempts) = (number()?, u32::try_from(number()?).ok()?);
                Self::Dead { number, attempts, reason: parts.next()?.to_owned() }
            }
            "burying" => Self::Burying(number()?),
            "buried" => Self::Buried(number()?),
            "empty" => Self::Empty,
            "fault" => Self::Fault(rest.to_owned()),
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_round_trip() {
        for word in [
            Word::Open { messages: 5, cut: true },
            Word::Received { number: 1 << 40, attempt: 3 },
            Word::Dead { number: 7, attempts: 5, reason: "a reason of words".to_owned() },
            Word::Buried(9),
            Word::Empty,
            Word::Fault("what went wrong".to_owned()),
        ] {
            assert_eq!(Word::parse(&word.to_string()), Some(word));
        }
        assert_eq!(Word::parse("received 7"), None);
    }
}
