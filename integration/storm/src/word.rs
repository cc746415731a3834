//! What a worker process says, one word a line, each written in one piece before the reply or the ack it speaks of.

use std::fmt;
use std::io::Write;

/// One line of a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Word {
    /// It worked on this call.
    Call(u64),
    /// It worked on this job.
    Job(u64),
}

impl Word {
    /// Says it in one write, which survives a kill: it is in the pipe.
    pub(crate) fn say(self) {
        let mut out = std::io::stdout().lock();
        // Without a reader there is nobody to judge: the kill is on its way.
        let _ = out.write_all(format!("{self}\n").as_bytes()).and_then(|()| out.flush());
    }

    /// Reads a line; `None`: it is none, for example because it was cut by the kill.
    pub(crate) fn parse(line: &str) -> Option<Self> {
        let (verb, number) = line.split_once(' ')?;
        let number = number.parse().ok()?;
        match verb {
            "call" => Some(Self::Call(number)),
            "job" => Some(Self::Job(number)),
            _ => None,
        }
    }
}

impl fmt::Display for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Call(number) => write!(f, "call {number}"),
            Self::Job(number) => write!(f, "job {number}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_round_trip() {
        for word in [Word::Call(7), Word::Job(u64::MAX)] {
            assert_eq!(Word::parse(&word.to_string()), Some(word));
        }
        assert_eq!(Word::parse("job "), None);
        assert_eq!(Word::parse("job"), None);
    }
}
