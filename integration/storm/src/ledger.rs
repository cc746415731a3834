//! The books: what was asked and sent, what came of it, and what the workers say they did.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::word::Word;

/// Why the storm may not be called weathered.
pub(crate) type Violation = String;

/// One request or job.
#[derive(Clone, Copy, Debug, Default)]
struct Entry {
    /// A call has ended with its right answer; a job was confirmed.
    taken: bool,
    /// A call ended, a job was given up.
    ended: bool,
    /// How often a worker said that it works on it.
    worked: u32,
}

/// What happened, in numbers.
#[derive(Clone, Debug, Default)]
pub(crate) struct Figures {
    pub(crate) calls: u64,
    pub(crate) answered: u64,
    /// Calls that ended in an error, by its kind.
    pub(crate) errors: BTreeMap<String, u64>,
    pub(crate) calls_again: u64,
    pub(crate) jobs: u64,
    pub(crate) confirmed: u64,
    pub(crate) jobs_again: u64,
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} calls: answered {}", self.calls, self.answered)?;
        self.errors.iter().try_for_each(|(kind, count)| write!(f, ", {kind} {count}"))?;
        write!(f, "; worked on again {}", self.calls_again)?;
        write!(f, " | {} jobs: confirmed {}", self.jobs, self.confirmed)?;
        write!(f, "; worked on again {}", self.jobs_again)
    }
}

#[derive(Debug, Default)]
struct Books {
    calls: BTreeMap<u64, Entry>,
    jobs: BTreeMap<u64, Entry>,
    errors: BTreeMap<String, u64>,
    violation: Option<Violation>,
}

/// The books of one storm, filled from all sides.
#[derive(Debug, Default)]
pub(crate) struct Ledger(Mutex<Books>);

impl Ledger {
    /// A call is about to be made.
    pub(crate) fn calling(&self, number: u64) {
        self.books().calls.entry(number).or_default();
    }

    /// A call ended with this text.
    pub(crate) fn answered(&self, number: u64, text: &[u8]) {
        let mut books = self.books();
        if text != number.to_string().as_bytes() {
            books.violation(format!("call {number} got {:?}", String::from_utf8_lossy(text)));
        }
        let entry = books.calls.entry(number).or_default();
        (entry.taken, entry.ended) = (true, true);
    }

    /// A call ended in an error of this kind.
    pub(crate) fn failed(&self, number: u64, kind: String) {
        let mut books = self.books();
        books.calls.entry(number).or_default().ended = true;
        *books.errors.entry(kind).or_default() += 1;
    }

    /// A call did not end in its time.
    pub(crate) fn hanging(&self, number: u64) {
        self.books().violation(format!("call {number} did not end"));
    }

    /// A job is about to be sent.
    pub(crate) fn sending(&self, number: u64) {
        self.books().jobs.entry(number).or_default();
    }

    /// The bus has taken a job.
    pub(crate) fn confirmed(&self, number: u64) {
        let mut books = self.books();
        let entry = books.jobs.entry(number).or_default();
        (entry.taken, entry.ended) = (true, true);
    }

    /// What a worker says.
    pub(crate) fn take(&self, word: Word) {
        let mut books = self.books();
        let (entry, what) = match word {
            Word::Call(number) => (books.calls.get_mut(&number), "call"),
            Word::Job(number) => (books.jobs.get_mut(&number), "job"),
        };
        match entry {
            Some(entry) => entry.worked += 1,
            None => books.violation(format!("{what} of \"{word}\" was never sent")),
        }
    }

    /// Calls that ended and jobs that were confirmed so far.
    pub(crate) fn progress(&self) -> u64 {
        let books = self.books();
        let ended = |entries: &BTreeMap<u64, Entry>| entries.values().filter(|entry| entry.ended).count();
        (ended(&books.calls) + ended(&books.jobs)) as u64
    }

    /// Confirmed jobs that nobody has worked on yet.
    pub(crate) fn missing(&self) -> Vec<u64> {
        let books = self.books();
        let missing = books.jobs.iter().filter(|(_, entry)| entry.taken && entry.worked == 0);
        missing.map(|(number, _)| *number).collect()
    }

    /// The judgement, after everything has ended and the workers have said all.
    pub(crate) fn close(&self) -> Result<Figures, Violation> {
        let missing = self.missing();
        let books = self.books();
        if let Some(violation) = &books.violation {
            return Err(violation.clone());
        }
        if let Some(first) = missing.first() {
            return Err(format!("{} confirmed jobs are lost, {first} for example", missing.len()));
        }
        if let Some((number, _)) = books.calls.iter().find(|(_, entry)| !entry.ended) {
            return Err(format!("call {number} did not end"));
        }
        if let Some((number, _)) = books.calls.iter().find(|(_, entry)| entry.taken && entry.worked == 0) {
            return Err(format!("call {number} was answered and nobody worked on it"));
        }
        Ok(books.figures())
    }

    /// What happened so far.
    pub(crate) fn figures(&self) -> Figures {
        self.books().figures()
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Books {
    /// The first one counts: later ones may follow from it.
    fn violation(&mut self, text: Violation) {
        self.violation.get_or_insert(text);
    }

    fn figures(&self) -> Figures {
        let taken =
            |entries: &BTreeMap<u64, Entry>| entries.values().filter(|entry| entry.taken).count() as u64;
        let again = |entries: &BTreeMap<u64, Entry>| {
            entries.values().map(|entry| u64::from(entry.worked.saturating_sub(1))).sum()
        };
        Figures {
            calls: self.calls.len() as u64,
            answered: taken(&self.calls),
            errors: self.errors.clone(),
            calls_again: again(&self.calls),
            jobs: self.jobs.len() as u64,
            confirmed: taken(&self.jobs),
            jobs_again: again(&self.jobs),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn storm(happens: impl Fn(&Ledger)) -> Result<Figures, Violation> {
        let ledger = Ledger::default();
        ledger.calling(1);
        ledger.sending(2);
        happens(&ledger);
        ledger.close()
    }

    #[test]
    fn honest_storms_pass() {
        let figures = storm(|ledger| {
            ledger.take(Word::Call(1));
            ledger.take(Word::Call(1));
            ledger.answered(1, b"1");
            ledger.confirmed(2);
            ledger.take(Word::Job(2));
        })
        .unwrap();
        assert_eq!((figures.answered, figures.calls_again, figures.confirmed), (1, 1, 1));
        let figures = storm(|ledger| ledger.failed(1, "deadline passed".to_owned())).unwrap();
        assert_eq!((figures.answered, figures.errors["deadline passed"]), (0, 1));
    }

    #[test]
    fn faults_are_found() {
        let found = |happens: fn(&Ledger)| storm(happens).unwrap_err();
        assert!(found(|_| ()).contains("call 1 did not end"));
        assert!(found(|ledger| ledger.answered(1, b"1")).contains("nobody worked"));
        assert!(found(|ledger| ledger.answered(1, b"3")).contains("call 1 got \"3\""));
        assert!(found(|ledger| ledger.take(Word::Job(9))).contains("never sent"));
        assert!(found(|ledger| ledger.hanging(1)).contains("did not end"));
        let lost = found(|ledger| {
            ledger.failed(1, "full".to_owned());
            ledger.confirmed(2);
        });
        assert!(lost.contains("1 confirmed jobs are lost, 2"));
    }
}
