//! What a case is, and how it fails.

use std::fmt;

use futures_util::future::BoxFuture;
use polybus_contract::{Error, Feature, Kind};

use crate::faults::Fault;
use crate::stage::Stage;

/// What a case or a part of it answers.
pub type CaseResult<T = ()> = Result<T, Fail>;

/// Why a case did not pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fail {
    /// The bus broke the promise; the text says which, and what was seen instead.
    Broken(String),
    /// The bus does not offer it and refused it, typed, as it should: an honest answer, found in the middle of a case.
    Refused(String),
    /// The case could not be run here; the text says why. It never counts as a pass (K7).
    NotRun(String),
}

impl Fail {
    /// A broken promise.
    #[must_use]
    pub fn broken(text: impl Into<String>) -> Self {
        Self::Broken(text.into())
    }

    /// The same, said of what was being done.
    #[must_use]
    pub fn during(self, what: impl fmt::Display) -> Self {
        match self {
            Self::Broken(text) => Self::Broken(format!("{what}: {text}")),
            Self::Refused(text) => Self::Refused(format!("{what}: {text}")),
            Self::NotRun(text) => Self::NotRun(format!("{what}: {text}")),
        }
    }
}

impl fmt::Display for Fail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Broken(text) => f.write_str(text),
            Self::Refused(text) => write!(f, "refused: {text}"),
            Self::NotRun(text) => write!(f, "not run: {text}"),
        }
    }
}

impl From<Error> for Fail {
    fn from(error: Error) -> Self {
        Self::Broken(format!("unexpected error: {error}"))
    }
}

impl From<std::io::Error> for Fail {
    fn from(error: std::io::Error) -> Self {
        Self::NotRun(format!("the ledger or a folder of the kit cannot be used: {error}"))
    }
}

/// One conformance case.
#[derive(Clone, Copy)]
pub struct Case {
    /// Its id, which is stable: `A1`.
    pub id: &'static str,
    /// Its name: `bytes_exact`.
    pub name: &'static str,
    /// What must hold, in one line.
    pub about: &'static str,
    /// What the bus must declare for it. Where it does not, the negative twin of each missing feature runs instead.
    pub needs: &'static [Feature],
    /// What somebody must be able to do to the bus. Where nobody can, the case is not run, and says so.
    pub faults: &'static [Fault],
    /// The case.
    pub body: for<'a> fn(&'a Stage) -> BoxFuture<'a, CaseResult>,
}

impl Case {
    /// The letter of its group.
    #[must_use]
    pub fn group(&self) -> &'static str {
        self.id.get(..1).unwrap_or(self.id)
    }
}

impl fmt::Debug for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Case({} {})", self.id, self.name)
    }
}

/// A row of a group's table: id, name of the async function that is the case, features it needs, faults it needs, and
/// what must hold.
///
/// ```ignore
/// pub const CASES: &[Case] = &[
///     case!(A1 bytes_exact [Queue, Settle] "payloads of any bytes arrive digest for digest"),
///     case!(J2 kill_9 [Queue, SurvivesProcess] {Kill, Start} "a killed bus loses nothing that was confirmed"),
/// ];
/// ```
macro_rules! case {
    ($id:ident $name:ident [$($need:ident),* $(,)?] $({$($fault:ident),*})? $about:literal) => {
        $crate::Case {
            id: stringify!($id),
            name: stringify!($name),
            about: $about,
            needs: &[$(polybus_contract::Feature::$need),*],
            faults: &[$($($crate::Fault::$fault),*)?],
            body: |stage| Box::pin($name(stage)),
        }
    };
}

/// Fails the case unless the condition holds.
macro_rules! ensure {
    ($condition:expr, $($text:tt)+) => {
        if !$condition {
            return Err($crate::Fail::broken(format!($($text)+)));
        }
    };
}

pub(crate) use {case, ensure};

/// The error, which must be of a kind that `wanted` accepts; `what` says what should have been refused and how.
///
/// # Errors
/// [`Fail::Broken`] if it succeeded, or failed in another way.
pub(crate) fn refused<T>(
    result: polybus_contract::Result<T>,
    what: &str,
    wanted: impl FnOnce(Kind) -> bool,
) -> CaseResult<Error> {
    match result {
        Ok(_) => Err(Fail::broken(format!("{what}: it answered Ok"))),
        Err(error) if wanted(error.kind()) => Ok(error),
        Err(error) => Err(Fail::broken(format!("{what}: it answered {error}"))),
    }
}
