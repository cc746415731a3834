//! Exit codes and the failures that lead to them.

use std::io;
use std::process::ExitCode;

use super::Notices;

/// Why a program ends (3.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Done.
    Done = 0,
    /// Input not readable, nothing to do, no map.
    Refused = 1,
    /// The command line is wrong.
    Usage = 2,
    /// Input data wrong.
    Data = 65,
    /// The environment or a key file is wrong.
    Configuration = 78,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// An end other than success, with its one line of text.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Ends with a notice; the word is for programs that read `--json-errors`.
    Told {
        /// Exit code.
        exit: Exit,
        /// Machine-readable reason.
        code: &'static str,
        /// One line for people.
        text: String,
    },
    /// Nobody reads the output any more, which is no fault of ours.
    OutputClosed,
}

/// What a program comes to.
pub(crate) type Outcome<T = ()> = Result<T, Failure>;

impl Failure {
    pub(crate) fn refused(code: &'static str, text: impl Into<String>) -> Self {
        Self::Told { exit: Exit::Refused, code, text: text.into() }
    }

    pub(crate) fn usage(text: impl Into<String>) -> Self {
        Self::Told { exit: Exit::Usage, code: "usage", text: text.into() }
    }

    pub(crate) fn data(text: impl Into<String>) -> Self {
        Self::Told { exit: Exit::Data, code: "bad-data", text: text.into() }
    }

    pub(crate) fn configuration(text: impl Into<String>) -> Self {
        Self::Told { exit: Exit::Configuration, code: "configuration", text: text.into() }
    }

    /// The failure of a write to the place with this name.
    pub(crate) fn writing(place: &str) -> impl FnOnce(io::Error) -> Self {
        move |error| match error.kind() {
            io::ErrorKind::BrokenPipe => Self::OutputClosed,
            _ => Self::refused("failed", format!("{place}: {error}")),
        }
    }
}

/// Tells a failure and gives the exit code.
pub(crate) fn finish(outcome: Outcome, notices: &Notices) -> ExitCode {
    match outcome {
        Ok(()) | Err(Failure::OutputClosed) => Exit::Done.into(),
        Err(Failure::Told { exit, code, text }) => {
            notices.error(code, &text);
            exit.into()
        }
    }
}
