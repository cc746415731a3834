//! What is known from outside, and what may not be.

use std::collections::HashMap;
use std::fmt;

use crate::word::{Number, Word, is_topic};

/// Hand-outs after which a message goes to the dead letters.
pub(crate) const MAX_ATTEMPTS: u32 = 5;

/// The reason that the load gives when it rejects.
pub(crate) const REASON: &str = "decode";

/// One message that is not known to be gone.
#[derive(Clone, Copy, Debug, Default)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "four things that may be known of a message, in any combination"
)]
struct Entry {
    confirmed: bool,
    /// Hand-outs seen.
    received: u32,
    /// The run that has it in hand; 0: none.
    held_by: u64,
    /// An ack was begun: it may be gone.
    maybe_gone: bool,
    /// A reject was begun: it may be dead.
    maybe_dead: bool,
    /// It was rejected for sure, or seen among the dead letters.
    dead: bool,
}

/// What happened, in numbers.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Figures {
    pub(crate) runs: u64,
    pub(crate) unopened: u64,
    pub(crate) sent: u64,
    pub(crate) confirmed: u64,
    pub(crate) refused: u64,
    pub(crate) received: u64,
    pub(crate) again: u64,
    pub(crate) acked: u64,
    pub(crate) rejected: u64,
    pub(crate) dead: u64,
    pub(crate) spent: u64,
    pub(crate) buried: u64,
    /// Openings that found a cut end, and the most messages one found.
    pub(crate) cuts: u64,
    pub(crate) backlog: u64,
    /// Messages of unknown fate: the kill came between the beginning of a send or settle and its confirmation.
    pub(crate) unknown: u64,
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} runs ({} killed while opening, {} cut ends found), sent {} (confirmed {}, refused {}), received {} \
             (again {}), acked {}, rejected {}, dead letters {} (spent {}), buried {}, largest backlog {}, unknown {}",
            self.runs,
            self.unopened,
            self.cuts,
            self.sent,
            self.confirmed,
            self.refused,
            self.received,
            self.again,
            self.acked,
            self.rejected,
            self.dead,
            self.spent,
            self.buried,
            self.backlog,
            self.unknown,
        )
    }
}

/// The books of all runs. What is settled for sure is not kept: if it is seen again, it is not in the books.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    open: HashMap<Number, Entry>,
    run: u64,
    opened: bool,
    pub(crate) figures: Figures,
}

/// Why a run may not go on.
pub(crate) type Violation = String;

impl Ledger {
    /// A process begins.
    pub(crate) fn begin(&mut self, run: u64) {
        if self.figures.runs > 0 && !self.opened {
            self.figures.unopened += 1;
        }
        (self.run, self.opened) = (run, false);
        self.figures.runs += 1;
    }

    /// Takes one word.
    pub(crate) fn take(&mut self, word: &Word) -> Result<(), Violation> {
        match word {
            Word::Open { messages, cut } => {
                self.opened = true;
                self.figures.cuts += u64::from(*cut);
                self.figures.backlog = self.figures.backlog.max(*messages);
                Ok(())
            }
            Word::Sending(number) => self.sending(*number),
            Word::Confirmed(number) => {
                self.confirmed(*number);
                Ok(())
            }
            Word::Refused(number) => {
                self.figures.refused += 1;
                self.gone(*number, "refused")
            }
            Word::Received { number, attempt } => self.received(*number, *attempt),
            Word::Returning(number) => self.change(*number, |entry| entry.held_by = 0),
            Word::Rejecting(number) => self.change(*number, |entry| entry.maybe_dead = true),
            Word::Rejected(number) => {
                self.figures.rejected += 1;
                // It may have been read among the dead letters, and buried, before its consumer was told.
                if let Some(entry) = self.open.get_mut(number) {
                    entry.dead = true;
                }
                Ok(())
            }
            Word::Dead { number, attempts, reason } => self.dead(*number, *attempts, reason),
            Word::Acking(number) | Word::Burying(number) => {
                self.change(*number, |entry| entry.maybe_gone = true)
            }
            Word::Acked(number) => {
                self.figures.acked += 1;
                self.gone(*number, "acked")
            }
            Word::Buried(number) => {
                self.figures.buried += 1;
                self.gone(*number, "buried")
            }
            Word::Empty => Ok(()),
            Word::Fault(text) => Err(format!("the process says: {text}")),
        }
    }

    fn sending(&mut self, number: Number) -> Result<(), Violation> {
        self.figures.sent += 1;
        match self.open.insert(number, Entry::default()) {
            None => Ok(()),
            Some(_) => Err(format!("{number} was sent twice: a fault of the load")),
        }
    }

    /// A consumer may have settled it before its sender was told.
    fn confirmed(&mut self, number: Number) {
        self.figures.confirmed += 1;
        if let Some(entry) = self.open.get_mut(&number) {
            entry.confirmed = true;
        }
    }

    fn change(&mut self, number: Number, change: impl FnOnce(&mut Entry)) -> Result<(), Violation> {
        let entry =
            self.open.get_mut(&number).ok_or_else(|| format!("{number} is settled and settled again"))?;
        change(entry);
        Ok(())
    }

    fn gone(&mut self, number: Number, how: &str) -> Result<(), Violation> {
        self.open.remove(&number).map(drop).ok_or_else(|| format!("{number} is {how} and was gone already"))
    }

    fn received(&mut self, number: Number, attempt: u32) -> Result<(), Violation> {
        self.figures.received += 1;
        let entry = self.open.get_mut(&number).ok_or_else(|| {
            format!("{number} was acked, buried or refused for sure, or never sent, and is received")
        })?;
        if entry.dead {
            return Err(format!("{number} is among the dead letters for sure and is received"));
        }
        if entry.held_by == self.run {
            return Err(format!("{number} is received while it is in hand"));
        }
        if attempt <= entry.received {
            let seen = entry.received;
            return Err(format!("{number} is received as attempt {attempt} after {seen} hand-outs"));
        }
        if attempt > MAX_ATTEMPTS && !is_topic(number) {
            return Err(format!("{number} is received as attempt {attempt} of {MAX_ATTEMPTS}"));
        }
        self.figures.again += u64::from(entry.received > 0);
        entry.received += 1;
        (entry.held_by, entry.maybe_gone, entry.maybe_dead) = (self.run, false, false);
        Ok(())
    }

    fn dead(&mut self, number: Number, attempts: u32, reason: &str) -> Result<(), Violation> {
        self.figures.dead += 1;
        let entry = self
            .open
            .get_mut(&number)
            .ok_or_else(|| format!("{number} was settled for sure and is among the dead letters"))?;
        let rejected = entry.dead || entry.maybe_dead;
        let known = match reason {
            REASON => rejected,
            "attempts" => !entry.dead || entry.held_by == 0,
            _ => false,
        };
        if !known {
            return Err(format!("{number} is dead for the reason {reason}, which nobody gave"));
        }
        if attempts < entry.received || (reason == "attempts" && attempts < MAX_ATTEMPTS) {
            let seen = entry.received;
            return Err(format!(
                "{number} is dead ({reason}) after {attempts} attempts and {seen} hand-outs"
            ));
        }
        self.figures.spent += u64::from(reason == "attempts" && !entry.dead);
        (entry.dead, entry.maybe_gone, entry.held_by) = (true, false, 0);
        Ok(())
    }

    /// After the last run has emptied everything: whatever was confirmed and is not known to be gone is lost.
    pub(crate) fn close(&mut self) -> Result<(), Violation> {
        let lost: Vec<_> =
            self.open.iter().filter(|(_, entry)| entry.confirmed && !entry.maybe_gone).collect();
        if let Some((number, entry)) = lost.first() {
            return Err(format!("{} messages are lost, {number} for example: {entry:?}", lost.len()));
        }
        self.figures.unknown = self.open.len() as u64;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Books of message 6 through these words; the number stands for the beginning of the next run.
    fn books(words: &[&str]) -> Result<Ledger, Violation> {
        let mut ledger = Ledger::default();
        ledger.begin(1);
        for word in words {
            match word.parse::<u64>() {
                Ok(run) => ledger.begin(run),
                Err(_) => ledger.take(&Word::parse(word).unwrap())?,
            }
        }
        ledger.close()?;
        Ok(ledger)
    }

    const SENT: [&str; 2] = ["sending 6", "confirmed 6"];

    fn after_sent(words: &[&str]) -> Result<Ledger, Violation> {
        books(&[&SENT[..], words].concat())
    }

    #[test]
    fn honest_lives_pass() {
        after_sent(&["received 6 1", "acking 6", "acked 6"]).unwrap();
        after_sent(&["received 6 1", "acking 6", "2"]).unwrap();
        after_sent(&["received 6 1", "2", "received 6 3", "acking 6", "acked 6"]).unwrap();
        after_sent(&[
            "received 6 1",
            "rejecting 6",
            "rejected 6",
            "dead 6 1 decode",
            "burying 6",
            "buried 6",
        ])
        .unwrap();
        after_sent(&["received 6 1", "2", "dead 6 5 attempts", "burying 6", "buried 6"]).unwrap();
        books(&["sending 6", "received 6 1", "acking 6", "acked 6", "confirmed 6"]).unwrap();
        after_sent(&[
            "received 6 1",
            "rejecting 6",
            "dead 6 1 decode",
            "burying 6",
            "buried 6",
            "rejected 6",
        ])
        .unwrap();
        books(&["sending 6", "2"]).unwrap();
    }

    #[test]
    fn lies_are_found() {
        for (words, finding) in [
            (&[][..], "lost"),
            (&["received 6 1", "2"][..], "lost"),
            (&["received 6 1", "acking 6", "acked 6", "2", "received 6 2"], "acked"),
            (&["received 6 1", "2", "received 6 1"], "attempt 1"),
            (&["received 6 1", "received 6 2"], "in hand"),
            (&["received 6 6"], "attempt 6"),
            (&["received 6 1", "rejecting 6", "rejected 6", "2", "received 6 2"], "dead letters"),
            (&["received 6 1", "rejecting 6", "rejected 6", "2"], "lost"),
            (&["dead 6 0 decode"], "nobody gave"),
            (&["dead 6 4 attempts"], "4 attempts"),
            (&["received 6 1", "rejecting 6", "dead 6 0 decode"], "0 attempts"),
            (&["dead 6 5 attempts", "burying 6", "buried 6", "2", "dead 6 5 attempts"], "settled for sure"),
            (&["fault all wrong"], "all wrong"),
        ] {
            let violation = after_sent(words).map(|ledger| ledger.figures).unwrap_err();
            assert!(violation.contains(finding), "{words:?}: {violation}");
        }
        assert!(books(&["received 8 1"]).unwrap_err().contains("never sent"));
    }
}
