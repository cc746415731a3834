//! What somebody who owns the bus can do to it (K4).

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use polybus_contract::{Error, Kind, Name, Operation, Result};

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
    /// The link swallows everything, both ways, with its connections up, until [`Fault::Mend`]. What was under way is lost,
    /// where [`Fault::Pause`] only delays it.
    Blackhole,
    /// The link is slow, 200 ms each way and 64 KiB a second, until [`Fault::Mend`].
    Slow,
    /// Every connection breaks in the middle of what is said next, new ones too, until [`Fault::Mend`].
    Truncate,
    /// The link is well again.
    Mend,
    /// The bus hands nothing out any longer, and all else works, until [`Fault::Flow`].
    Stall,
    /// It hands out again.
    Flow,
    /// The wall clock of the bus, of its client or of both goes an hour ahead, until [`Fault::JumpBack`].
    Jump,
    /// It goes back.
    JumpBack,
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
            Self::Blackhole => "blackhole",
            Self::Slow => "slow",
            Self::Truncate => "truncate",
            Self::Mend => "mend",
            Self::Stall => "stall",
            Self::Flow => "flow",
            Self::Jump => "jump",
            Self::JumpBack => "jump-back",
            Self::Foreign => "foreign",
        }
    }

    /// What ends it, if it lasts.
    #[must_use]
    pub const fn undone_by(self) -> Option<Self> {
        match self {
            Self::Kill | Self::Stop => Some(Self::Start),
            Self::Pause => Some(Self::Resume),
            Self::Fill => Some(Self::Relieve),
            Self::Blackhole | Self::Slow | Self::Truncate => Some(Self::Mend),
            Self::Stall => Some(Self::Flow),
            Self::Jump => Some(Self::JumpBack),
            _ => None,
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

    /// Whether whoever kills or stops the bus takes its client down as well, as with a process that is both. What was open
    /// then ends, and cases open it anew; what a client restores by itself cannot be shown there.
    fn takes_client(&self) -> bool {
        false
    }
}

/// The refusal of a fault that is not among what somebody can do.
pub(crate) fn cannot(who: &str, fault: Fault) -> Error {
    Error::new(Kind::InvalidOption, Operation::Connect).with_detail(format!("{who} cannot do this: {fault}"))
}

/// Several who can do harm, for example to a broker and to the link in front of it: the first one who can, does.
#[async_trait]
impl Faults for Vec<Arc<dyn Faults>> {
    fn can(&self, fault: Fault) -> bool {
        self.iter().any(|one| one.can(fault))
    }

    async fn inject(&self, fault: Fault) -> Result<()> {
        let one = self.iter().find(|one| one.can(fault)).ok_or_else(|| cannot("nobody here", fault))?;
        one.inject(fault).await
    }

    async fn write_foreign(&self, queue: &Name, bytes: &[u8]) -> Result<()> {
        let one = self.iter().find(|one| one.can(Fault::Foreign));
        one.ok_or_else(|| cannot("nobody here", Fault::Foreign))?.write_foreign(queue, bytes).await
    }

    fn takes_client(&self) -> bool {
        self.iter().any(|one| one.takes_client())
    }
}

/// Keeps account of the faults that last.
pub(crate) struct Lasting {
    pub(crate) inside: Arc<dyn Faults>,
    pub(crate) lasting: Arc<Mutex<Vec<Fault>>>,
}

#[async_trait]
impl Faults for Lasting {
    fn can(&self, fault: Fault) -> bool {
        self.inside.can(fault)
    }

    async fn inject(&self, fault: Fault) -> Result<()> {
        if fault.undone_by().is_some() {
            self.lasting().push(fault);
        }
        self.inside.inject(fault).await?;
        // Kept until it is undone for certain.
        self.lasting().retain(|lasting| lasting.undone_by() != Some(fault));
        Ok(())
    }

    async fn write_foreign(&self, queue: &Name, bytes: &[u8]) -> Result<()> {
        self.inside.write_foreign(queue, bytes).await
    }

    fn takes_client(&self) -> bool {
        self.inside.takes_client()
    }
}

impl Lasting {
    fn lasting(&self) -> MutexGuard<'_, Vec<Fault>> {
        self.lasting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
