//! What somebody who looks over a bus finds, what it means for those who mean to work on it, and what to do about it.

use std::fmt;
use std::time::Duration;

use crate::needs::Needs;
use crate::setters::setters;
use crate::topology::{Queue, Topic};

/// How much a finding matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Grade {
    /// Looked at, and as it should be.
    Fine,
    /// The bus does not tell it to this client. It is not guessed.
    Unknown,
    /// Works, and is worth knowing.
    Notice,
    /// Works until something happens that will happen.
    Warning,
    /// Does not work, or loses messages.
    Fault,
}

impl Grade {
    /// Every grade, the worst last.
    pub const ALL: [Self; 5] = [Self::Fine, Self::Unknown, Self::Notice, Self::Warning, Self::Fault];

    /// The word for it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Fine => "fine",
            Self::Unknown => "unknown",
            Self::Notice => "notice",
            Self::Warning => "warning",
            Self::Fault => "fault",
        }
    }
}

impl fmt::Display for Grade {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A thing that is looked for: its word, what follows from it, and what helps. The table in the book is made of these.
#[derive(Debug, PartialEq, Eq)]
pub struct Diagnosis {
    /// Its word: lower case, digits and `-`. It does not change.
    pub code: &'static str,
    /// How much it usually matters where it is found.
    pub grade: Grade,
    /// What it means for those who work on the bus.
    pub meaning: &'static str,
    /// What to do about it.
    pub remedy: &'static str,
}

impl Diagnosis {
    /// It is so.
    #[must_use]
    pub fn found(&'static self, object: impl Into<String>, observed: impl Into<String>) -> Finding {
        Finding {
            diagnosis: self,
            grade: self.grade,
            object: object.into(),
            observed: observed.into(),
            services: Vec::new(),
        }
    }

    /// It was looked for and is not so.
    #[must_use]
    pub fn fine(&'static self, object: impl Into<String>, observed: impl Into<String>) -> Finding {
        self.found(object, observed).with_grade(Grade::Fine)
    }

    /// The bus does not tell whether it is so.
    #[must_use]
    pub fn unknown(&'static self, object: impl Into<String>, observed: impl Into<String>) -> Finding {
        self.found(object, observed).with_grade(Grade::Unknown)
    }
}

/// Makes a list of diagnoses, each under a name of its own.
///
/// ```
/// polybus_contract::diagnoses! {
///     NO_DOOR: Fault "no-door",
///         "nobody can come in",
///         "make a door";
/// }
/// assert_eq!(DIAGNOSES[0].code, NO_DOOR.code);
/// ```
#[macro_export]
macro_rules! diagnoses {
    ($($name:ident: $grade:ident $code:literal, $meaning:literal, $remedy:literal;)*) => {
        $(pub(crate) static $name: $crate::Diagnosis = $crate::Diagnosis {
            code: $code,
            grade: $crate::Grade::$grade,
            meaning: $meaning,
            remedy: $remedy,
        };)*

        /// Everything that is looked for, in the order of the tables.
        pub static DIAGNOSES: &[&$crate::Diagnosis] = &[$(&$name),*];
    };
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Finding {
    /// What was looked for.
    pub diagnosis: &'static Diagnosis,
    /// How much it matters here.
    pub grade: Grade,
    /// What was looked at, such as `queue anon_0.5.5`.
    pub object: String,
    /// What was seen there. No secrets.
    pub observed: String,
    /// The services that it concerns; empty: all who use the bus.
    pub services: Vec<String>,
}

setters!(Finding {
    /// Sets [`Finding::grade`].
    with_grade => grade: Grade,
    /// Sets [`Finding::services`].
    with_services => services: Vec<String>,
});

/// A service that is, or will be, served on the bus.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Served {
    /// Its name, for people.
    pub name: String,
    /// Its queue as it will be declared.
    pub queue: Queue,
    /// How many jobs it does at the same time. Default 1.
    pub jobs: u32,
    /// How long one job may take. Default `None`: no limit.
    pub job_limit: Option<Duration>,
    /// The largest message that it is meant for, in bytes. Default `None`: what the bus takes.
    pub message_size: Option<u64>,
    /// Whether somebody stated that size, so that less is not enough. Default false.
    pub size_stated: bool,
    /// What else it needs. Default nothing.
    pub needs: Needs,
}

impl Served {
    /// A service on this queue, with the defaults of each field.
    #[must_use]
    pub fn new(name: impl Into<String>, queue: Queue) -> Self {
        Self {
            name: name.into(),
            queue,
            jobs: 1,
            job_limit: None,
            message_size: None,
            size_stated: false,
            needs: Needs::default(),
        }
    }
}

setters!(Served {
    /// Sets [`Served::jobs`].
    with_jobs => jobs: u32,
    /// Sets [`Served::job_limit`].
    with_job_limit => job_limit: Option<Duration>,
    /// Sets [`Served::message_size`].
    with_message_size => message_size: Option<u64>,
    /// Sets [`Served::size_stated`].
    with_size_stated => size_stated: bool,
    /// Sets [`Served::needs`].
    with_needs => needs: Needs,
});

/// What somebody means to do on a bus: what is found is judged by it.
#[derive(Clone, Default)]
#[non_exhaustive]
pub struct Plan {
    /// Services.
    pub services: Vec<Served>,
    /// Topics that are published to.
    pub topics: Vec<Topic>,
    /// The URL of the broker's management interface, where it has one, with user and password if they are not those
    /// of the bus.
    pub management: Option<String>,
}

setters!(Plan {
    /// Sets [`Plan::services`].
    with_services => services: Vec<Served>,
    /// Sets [`Plan::topics`].
    with_topics => topics: Vec<Topic>,
    /// Sets [`Plan::management`].
    with_management => management: Option<String>,
});

impl Plan {
    /// The longest time that a job may take, with the services that take it; `None`: no service has a limit.
    #[must_use]
    pub fn longest_job(&self) -> Option<(Duration, Vec<String>)> {
        let longest = self.services.iter().filter_map(|served| served.job_limit).max()?;
        let these = self.services.iter().filter(|served| served.job_limit == Some(longest));
        Some((longest, these.map(|served| served.name.clone()).collect()))
    }
}

impl fmt::Debug for Plan {
    /// The URL of the management interface may hold a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Plan")
            .field("services", &self.services)
            .field("topics", &self.topics)
            .field("management", &self.management.is_some())
            .finish()
    }
}

#[cfg(test)]
#[allow(unreachable_pub, reason = "the list of this test is seen by nobody")]
mod tests {
    use super::*;
    use crate::name::Name;

    diagnoses! {
        ONE: Warning "one-thing", "it breaks", "mend it";
        OTHER: Fault "other-thing", "it is broken", "mend it too";
    }

    #[test]
    fn what_is_looked_for_is_found_fine_or_unknown() {
        assert_eq!(DIAGNOSES, [&ONE, &OTHER]);
        assert_eq!(ONE.found("a", "b").grade, Grade::Warning);
        assert_eq!(ONE.fine("a", "b").grade, Grade::Fine);
        assert_eq!(OTHER.unknown("a", "b").grade, Grade::Unknown);
        assert!(Grade::ALL.is_sorted());
    }

    #[test]
    fn the_longest_job_is_named_and_a_password_is_not_shown() {
        let queue = Queue::new(Name::new("q").unwrap());
        let served = |name: &str, seconds| {
            Served::new(name, queue.clone()).with_job_limit(Some(Duration::from_secs(seconds)))
        };
        let plan = Plan::default()
            .with_services([served("a", 5), served("b", 9), Served::new("c", queue.clone())])
            .with_management("http://u:s3cret@mq.example.org".to_owned());
        assert_eq!(plan.longest_job(), Some((Duration::from_secs(9), vec!["b".to_owned()])));
        assert!(!format!("{plan:?}").contains("s3cret"));
    }
}
