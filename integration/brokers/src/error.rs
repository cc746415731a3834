//! What can go wrong with a broker of a test.

use std::io;
use std::time::Duration;

use crate::Kind;

/// What can go wrong with a broker of a test.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// This machine has no way to run it; the text says what to install.
    #[error(
        "{kind} cannot be started here.\n  In a container: {container}.\n  As a local program: {local}.\n{}",
        advice(*kind)
    )]
    Missing {
        /// What was to be started.
        kind: Kind,
        /// Why not in a container.
        container: String,
        /// Why not as a local program.
        local: String,
    },
    /// It was started, but did not accept connections in time.
    #[error("{kind} did not accept connections within {waited:?}; the end of its log:\n{log}")]
    NotReady {
        /// What was started.
        kind: Kind,
        /// How long was waited.
        waited: Duration,
        /// The last lines it wrote.
        log: String,
    },
    /// It ended before it accepted connections.
    #[error("{kind} ended while starting; the end of its log:\n{log}")]
    Ended {
        /// What was started.
        kind: Kind,
        /// The last lines it wrote.
        log: String,
    },
    /// The container engine refused something.
    #[error("the container engine cannot {what}: {why}")]
    Engine {
        /// What it was asked for.
        what: &'static str,
        /// What it said.
        why: String,
    },
    /// A program of the broker failed.
    #[error("{command} failed: {output}")]
    Command {
        /// The program and its first argument.
        command: String,
        /// What it wrote.
        output: String,
    },
    /// The operating system refused something.
    #[error("cannot {what}: {source}")]
    Io {
        /// What was attempted.
        what: String,
        /// What the system said.
        source: io::Error,
    },
    /// A setting cannot be read, or does not fit this broker.
    #[error("{0}")]
    Setting(String),
}

impl Error {
    pub(crate) fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }
}

fn advice(kind: Kind) -> String {
    let (program, setting) = (kind.product().program(), kind.program_setting());
    format!(
        "Start a container engine (Docker) that can pull {image} or has it, or build local images with \
         integration/brokers/images.sh, or install {program} (on Debian: apt-get install {package}), or name one in {setting}.",
        image = kind.official_image(),
        package = kind.product().package(),
    )
}
