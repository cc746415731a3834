//! What somebody who owns the bus can do to it (K4).

use std::fmt;

use async_trait::async_trait;
use polybus_contract::{Name, Result};

/// One thing that can be done to a bus from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Fault {
    /// SIGKILL of the bus. What follows is down until [`Fault::Start`].
    Kill,
    /// An orderly stop of the bus. What follows is down until [`Fault::Start`].
    Stop,
    /// Starts it again after a kill or a stop; done when it accepts connections.
    Start,
    /// The bus goes silent with its connections up (SIGSTOP, or a proxy that swallows) until [`Fault::Resume`].
    Pause,
    /// It goes on.
    Resume,
    /// Every connection is cut, once; the bus itself is well.
    Cut,
    /// The bus refuses what is published (memory alarm, full disk) until [`Fault::Relieve`].
    Fill,
    /// The alarm is over.
    Relieve,
    /// A publisher that knows nothing of Polybus writes to a queue: [`Faults::write_foreign`].
    Foreign,
}

impl Fault {
    /// The word for it in reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Kill => "kill",
            Self::Stop => "stop",
            Self::Start => "start",
            Self::Pause => "pause",
            Self::Resume => "resume",
            Self::Cut => "cut",
            Self::Fill => "fill",
            Self::Relieve => "relieve",
            Self::Foreign => "foreign",
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Somebody who can do these things to the bus under test.
#[async_trait]
pub trait Faults: Send + Sync {
    /// Which of them.
    fn can(&self, fault: Fault) -> bool;

    /// Does it, and returns when it is done.
    ///
    /// # Errors
    /// Whatever stood in the way; the case is then not run.
    async fn inject(&self, fault: Fault) -> Result<()>;

    /// Writes `bytes` to `queue` as a foreign publisher would, if [`Fault::Foreign`] is among what it can do.
    ///
    /// # Errors
    /// As [`Faults::inject`].
    async fn write_foreign(&self, queue: &Name, bytes: &[u8]) -> Result<()>;
}
