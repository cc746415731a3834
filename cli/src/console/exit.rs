//! Failures and the exit codes that they lead to.

use std::io;
use std::process::ExitCode;

use polybus::exit;

use super::Notices;

/// An end other than plain success (3.3).
#[derive(Debug)]
pub(crate) enum Failure {
    /// Ends with a notice; the word is for programs that read `--json-errors`.
    Told {
        /// Exit code.
        exit: u8,
        /// Machine-readable reason.
        code: &'static str,
        /// One line for people.
        text: String,
    },
    /// Ends with this exit code; whatever there was to say has been said.
    Ended(u8),
}

/// What a program comes to.
pub(crate) type Outcome<T = ()> = Result<T, Failure>;

impl Failure {
    pub(crate) fn told(exit: u8, code: &'static str, text: impl Into<String>) -> Self {
        Self::Told { exit, code, text: text.into() }
    }

    pub(crate) fn refused(code: &'static str, text: impl Into<String>) -> Self {
        Self::told(exit::FAILED, code, text)
    }

    pub(crate) fn usage(text: impl Into<String>) -> Self {
        Self::told(exit::USAGE, "usage", text)
    }

    pub(crate) fn data(text: impl Into<String>) -> Self {
        Self::told(exit::DATA, "bad-data", text)
    }

    pub(crate) fn internal(text: impl Into<String>) -> Self {
        Self::told(exit::INTERNAL, "internal", text)
    }

    pub(crate) fn configuration(text: impl Into<String>) -> Self {
        Self::told(exit::CONFIGURATION, "configuration", text)
    }

    /// The failure of a write to the place with this name.
    pub(crate) fn writing(place: &str) -> impl FnOnce(io::Error) -> Self {
        move |error| Self::refused("failed", format!("{place}: {error}"))
    }
}

/// Tells a failure and gives the exit code.
pub(crate) fn finish(outcome: Outcome, notices: &Notices) -> ExitCode {
    match outcome {
        Ok(()) => exit::OK.into(),
        Err(Failure::Ended(code)) => code.into(),
        Err(Failure::Told { exit, code, text }) => {
            notices.error(code, &text);
            exit.into()
        }
    }
}
