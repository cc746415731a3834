//! Reads ledgers and says what they prove (K3). It needs no bus, and can be run alone, later.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::path::Path;

use serde::Serialize;

use crate::ledger::{Entry, Event};

/// How many problems are told in words; the rest is counted.
const TOLD: usize = 10;

/// The lines of some ledgers, in order of time.
#[derive(Clone, Debug, Default)]
pub struct Ledgers {
    /// The lines.
    pub entries: Vec<Entry>,
    /// Lines that end in the middle: whoever wrote them was killed.
    pub torn: usize,
}

/// Reads the ledgers at `paths` and brings their lines in order of time; within one file they keep their order.
///
/// # Errors
/// What the file system says; [`io::ErrorKind::InvalidData`] naming the file and line that is no ledger line.
pub fn read(paths: &[impl AsRef<Path>]) -> io::Result<Ledgers> {
    let mut ledgers = Ledgers::default();
    for path in paths {
        let path = path.as_ref();
        let text = std::fs::read_to_string(path).map_err(|error| at(path, None, error.kind(), &error))?;
        for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.is_empty()) {
            match serde_json::from_str(line) {
                Ok(entry) => ledgers.entries.push(entry),
                Err(error) if error.is_eof() => ledgers.torn += 1,
                Err(error) => return Err(at(path, Some(number + 1), io::ErrorKind::InvalidData, &error)),
            }
        }
    }
    ledgers.entries.sort_by_key(|entry| entry.at);
    Ok(ledgers)
}

fn at(path: &Path, line: Option<usize>, kind: io::ErrorKind, error: &dyn fmt::Display) -> io::Error {
    let line = line.map(|line| format!(", line {line}")).unwrap_or_default();
    io::Error::new(kind, format!("ledger {}{line}: {error}", path.display()))
}

/// How attempts must have been counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Attempts {
    /// They are not looked at.
    #[default]
    Ignored,
    /// Never too low; after a crash perhaps too high.
    NeverLow,
    /// The first hand-out is 1, each later one is one more.
    Exact,
}

/// Who gets a message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Readers {
    /// One of them: consumers compete.
    #[default]
    Compete,
    /// Each of them: subscribers.
    Each,
}

/// What the ledgers must prove.
///
/// Always: nothing arrived that was never sent, or that was refused; nothing arrived changed; nothing came back after
/// its ack.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Expect {
    /// Everything confirmed was received: the readers went on until there was nothing left. Default false.
    pub complete: bool,
    /// Hand-outs of a message that was handed out before and not given back since: at most this many. A message of
    /// which a hand-out was lost (killed reader, ended lease) counts. Default `None`: any number.
    pub duplicates: Option<u64>,
    /// First hand-outs come in the sender's order, for each reader. Default false.
    pub order: bool,
    /// How attempts were counted. Default: not looked at.
    pub attempts: Attempts,
    /// Who gets a message. Default: one of the readers.
    pub readers: Readers,
    /// Acks are sent and not confirmed: what was acked may come back after a fault, as a duplicate. Default false.
    pub acks_unconfirmed: bool,
}

impl Expect {
    /// Everything confirmed was received, and nothing twice.
    #[must_use]
    pub fn each_once() -> Self {
        Self { complete: true, duplicates: Some(0), ..Self::default() }
    }

    /// And in the order of each sender.
    #[must_use]
    pub const fn in_order(mut self) -> Self {
        self.order = true;
        self
    }

    /// With attempts counted like this.
    #[must_use]
    pub const fn with_attempts(mut self, attempts: Attempts) -> Self {
        self.attempts = attempts;
        self
    }

    /// Everything confirmed was received, or need not have been.
    #[must_use]
    pub const fn with_complete(mut self, complete: bool) -> Self {
        self.complete = complete;
        self
    }

    /// With this budget of duplicates.
    #[must_use]
    pub const fn with_duplicates(mut self, duplicates: Option<u64>) -> Self {
        self.duplicates = duplicates;
        self
    }

    /// With acks that the bus confirms, or does not.
    #[must_use]
    pub const fn with_confirmed_acks(mut self, confirmed: bool) -> Self {
        self.acks_unconfirmed = !confirmed;
        self
    }

    /// With readers that each get everything.
    #[must_use]
    pub const fn by_each(mut self) -> Self {
        self.readers = Readers::Each;
        self
    }
}

/// What the ledgers prove.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Findings {
    /// Publishes that were begun.
    pub sent: u64,
    /// Of these, confirmed.
    pub confirmed: u64,
    /// Of these, refused with certainty.
    pub refused: u64,
    /// Of these, of unknown outcome.
    pub unknown: u64,
    /// Hand-outs.
    pub received: u64,
    /// Acks that the bus accepted.
    pub acked: u64,
    /// Confirmed, and not received by everyone who should have.
    pub lost: u64,
    /// Received, but never sent in these ledgers, or refused.
    pub phantom: u64,
    /// Received with another digest than was sent.
    pub changed: u64,
    /// Handed out again without having been given back.
    pub duplicates: u64,
    /// Handed out after the ack.
    pub acked_back: u64,
    /// First hand-outs that came before an earlier message of the same sender.
    pub disordered: u64,
    /// Hand-outs with a wrong attempt.
    pub miscounted: u64,
    /// Lines that end in the middle.
    pub torn: u64,
    /// The first problems, in words. Empty: the ledgers prove what was expected.
    pub problems: Vec<String>,
    /// How many problems there are.
    pub problem_count: u64,
}

impl Findings {
    /// Whether everything expected is proven.
    #[must_use]
    pub const fn is_good(&self) -> bool {
        self.problem_count == 0
    }

    fn problem(&mut self, text: impl FnOnce() -> String) {
        self.problem_count += 1;
        if self.problems.len() < TOLD {
            self.problems.push(text());
        }
    }
}

impl fmt::Display for Findings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "sent={} confirmed={} refused={} unknown={} received={} acked={} lost={} phantom={} changed={} \
             duplicates={} acked_back={} disordered={} miscounted={} torn={}",
            self.sent,
            self.confirmed,
            self.refused,
            self.unknown,
            self.received,
            self.acked,
            self.lost,
            self.phantom,
            self.changed,
            self.duplicates,
            self.acked_back,
            self.disordered,
            self.miscounted,
            self.torn
        )?;
        self.problems.iter().try_for_each(|problem| write!(f, "\n- {problem}"))?;
        let more = self.problem_count - self.problems.len() as u64;
        if more > 0 { write!(f, "\n- and {more} more") } else { Ok(()) }
    }
}

/// Reads ledgers and checks them.
///
/// # Errors
/// As [`read`].
pub fn check_files(paths: &[impl AsRef<Path>], expect: &Expect) -> io::Result<Findings> {
    Ok(check(&read(paths)?, expect))
}

/// Checks ledgers.
#[must_use]
pub fn check(ledgers: &Ledgers, expect: &Expect) -> Findings {
    let mut checker = Checker::new(expect);
    checker.findings.torn = ledgers.torn as u64;
    ledgers.entries.iter().for_each(|entry| checker.entry(entry));
    checker.finish()
}

/// A message: run, producer, sequence.
type Key<'a> = (&'a str, &'a str, u64);

#[derive(Debug, Default)]
struct Sent<'a> {
    digest: &'a str,
    times: u64,
    confirmed: bool,
    refused: bool,
}

/// A message as one reader, or all competing readers together, saw it.
#[derive(Debug, Default)]
struct Seen {
    hand_outs: u32,
    acks: u64,
    given_back: bool,
}

struct Checker<'a> {
    expect: &'a Expect,
    findings: Findings,
    sent: HashMap<Key<'a>, Sent<'a>>,
    seen: HashMap<(Key<'a>, &'a str), Seen>,
    /// The highest sequence of each sender that each reader has had.
    newest: HashMap<(&'a str, &'a str, &'a str), u64>,
    readers: Vec<&'a str>,
}

impl<'a> Checker<'a> {
    fn new(expect: &'a Expect) -> Self {
        Self {
            expect,
            findings: Findings::default(),
            sent: HashMap::new(),
            seen: HashMap::new(),
            newest: HashMap::new(),
            readers: Vec::new(),
        }
    }

    fn entry(&mut self, entry: &'a Entry) {
        let key = (entry.run.as_str(), entry.producer.as_str(), entry.sequence);
        match entry.event {
            Event::Sent => self.sent(key, entry),
            Event::Confirmed => {
                self.findings.confirmed += 1;
                self.sent.entry(key).or_default().confirmed = true;
            }
            Event::Refused => {
                self.findings.refused += 1;
                self.sent.entry(key).or_default().refused = true;
            }
            Event::Unknown => self.findings.unknown += 1,
            Event::Received => self.received(key, entry),
            Event::Settled => self.settled(key, entry),
            Event::SettleFailed => self.seen(key, entry).given_back = true,
        }
    }

    fn sent(&mut self, key: Key<'a>, entry: &'a Entry) {
        self.findings.sent += 1;
        let sent = self.sent.entry(key).or_default();
        sent.digest = &entry.digest;
        sent.times += 1;
        sent.refused = false;
    }

    fn reader(&self, entry: &'a Entry) -> &'a str {
        match self.expect.readers {
            Readers::Compete => "",
            Readers::Each => entry.consumer.as_deref().unwrap_or_default(),
        }
    }

    fn seen(&mut self, key: Key<'a>, entry: &'a Entry) -> &mut Seen {
        let reader = self.reader(entry);
        self.seen.entry((key, reader)).or_default()
    }

    fn settled(&mut self, key: Key<'a>, entry: &'a Entry) {
        let outcome = entry.outcome.as_deref().unwrap_or_default();
        let consumed = matches!(outcome, "ack" | "reject");
        self.findings.acked += u64::from(outcome == "ack");
        let seen = self.seen(key, entry);
        seen.acks += u64::from(consumed);
        seen.given_back |= !consumed;
    }

    fn received(&mut self, key: Key<'a>, entry: &'a Entry) {
        self.findings.received += 1;
        let reader = self.reader(entry);
        if !self.readers.contains(&reader) {
            self.readers.push(reader);
        }
        let name = || named(key, entry);
        let times = self.origin(key, entry);
        let seen = self.seen(key, entry);
        seen.hand_outs += 1;
        let (first, given_back) = (seen.hand_outs == 1, std::mem::take(&mut seen.given_back));
        let (hand_outs, acked) = (seen.hand_outs, times > 0 && seen.acks >= times);
        if acked && self.expect.acks_unconfirmed {
            self.findings.duplicates += 1;
        } else if acked {
            self.findings.acked_back += 1;
            self.findings.problem(|| format!("{} came back after its ack", name()));
        } else if !first && !given_back {
            self.findings.duplicates += 1;
        }
        if times <= 1 {
            self.attempt(hand_outs, key, entry);
        }
        if first && self.expect.order {
            self.order(key, entry);
        }
    }

    /// How often the message was sent; says so if it never was, or if it is another one by now.
    fn origin(&mut self, key: Key<'a>, entry: &'a Entry) -> u64 {
        let found = self.sent.get(&key).map(|sent| (sent.times, sent.refused, sent.digest == entry.digest));
        let name = || named(key, entry);
        let Some((times @ 1.., refused, same)) = found else {
            self.findings.phantom += 1;
            self.findings.problem(|| format!("{} arrived and was never sent", name()));
            return 0;
        };
        if refused && times == 1 {
            self.findings.phantom += 1;
            self.findings.problem(|| format!("{} arrived although its publish was refused", name()));
        }
        if !same {
            self.findings.changed += 1;
            self.findings.problem(|| format!("{} arrived changed", name()));
        }
        times
    }

    fn attempt(&mut self, hand_outs: u32, key: Key<'a>, entry: &'a Entry) {
        let Some(attempt) = entry.attempt else { return };
        let wrong = match self.expect.attempts {
            Attempts::Ignored => false,
            Attempts::NeverLow => attempt < hand_outs,
            Attempts::Exact => attempt != hand_outs,
        };
        if wrong {
            self.findings.miscounted += 1;
            self.findings
                .problem(|| format!("{}: hand-out {hand_outs} says attempt {attempt}", named(key, entry)));
        }
    }

    fn order(&mut self, key: Key<'a>, entry: &'a Entry) {
        let consumer = entry.consumer.as_deref().unwrap_or_default();
        let newest = self.newest.entry((key.0, key.1, consumer)).or_insert(key.2);
        let before = *newest;
        *newest = before.max(key.2);
        if key.2 < before {
            self.findings.disordered += 1;
            self.findings.problem(|| format!("{} came after {before}", named(key, entry)));
        }
    }

    fn finish(mut self) -> Findings {
        if self.expect.complete {
            self.losses();
        }
        if let Some(budget) = self.expect.duplicates
            && self.findings.duplicates > budget
        {
            let duplicates = self.findings.duplicates;
            self.findings
                .problem(|| format!("{duplicates} hand-outs of what was not given back, budget {budget}"));
        }
        self.findings
    }

    fn losses(&mut self) {
        if self.readers.is_empty() {
            self.readers.push("");
        }
        let confirmed = self.sent.iter().filter(|(_, sent)| sent.confirmed);
        let mut lost: Vec<_> = confirmed
            .flat_map(|(key, _)| self.readers.iter().map(|reader| (*key, *reader)))
            .filter(|seen| self.seen.get(seen).is_none_or(|seen| seen.hand_outs == 0))
            .collect();
        lost.sort_unstable();
        self.findings.lost = lost.len() as u64;
        for ((_, producer, sequence), reader) in lost {
            let by = if reader.is_empty() { String::new() } else { format!(" by {reader}") };
            self.findings.problem(|| format!("{producer}/{sequence} was confirmed and never received{by}"));
        }
    }
}

fn named(key: Key<'_>, entry: &Entry) -> String {
    match &entry.consumer {
        Some(consumer) => format!("{}/{} at {consumer}", key.1, key.2),
        None => format!("{}/{}", key.1, key.2),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stamp::Stamp;

    /// Lines like `sent 1`, `got 1 2` (attempt), `ack 1`, `retry 1`.
    fn ledger(lines: &[&str]) -> Ledgers {
        let entry = |line: &&str| {
            let words: Vec<_> = line.split(' ').collect();
            let stamp = Stamp::new("r", "p", words[1].parse().unwrap(), b"");
            let attempt = words.get(2).map(|word| word.parse().unwrap());
            match words[0] {
                "sent" => Entry::now(Event::Sent, &stamp),
                "ok" => Entry::now(Event::Confirmed, &stamp),
                "refused" => Entry::now(Event::Refused, &stamp),
                "got" => Entry::now(Event::Received, &stamp).by("c", attempt),
                outcome => Entry::now(Event::Settled, &stamp).by("c", attempt).with_outcome(outcome),
            }
        };
        Ledgers { entries: lines.iter().map(entry).collect(), torn: 0 }
    }

    fn problems(lines: &[&str], expect: &Expect) -> Findings {
        check(&ledger(lines), expect)
    }

    #[test]
    fn k3_a_whole_run_is_good() {
        let expect = Expect::each_once().in_order().with_attempts(Attempts::Exact);
        let lines = ["sent 0", "ok 0", "sent 1", "ok 1", "got 0 1", "retry 0", "got 1 1", "ack 1", "got 0 2"];
        let findings = problems(&lines, &expect);
        assert!(findings.is_good(), "{findings}");
        assert_eq!((findings.received, findings.confirmed, findings.acked), (3, 2, 1));
    }

    #[test]
    fn k3_each_fault_is_found() {
        let strict = Expect::each_once().in_order().with_attempts(Attempts::Exact);
        let lost = problems(&["sent 0", "ok 0"], &strict);
        assert_eq!((lost.lost, lost.problem_count), (1, 1));
        let twice = problems(&["sent 0", "ok 0", "got 0 1", "got 0 2"], &strict);
        assert_eq!((twice.duplicates, twice.problem_count), (1, 1));
        let back = problems(&["sent 0", "ok 0", "got 0 1", "ack 0", "got 0 2"], &Expect::default());
        assert_eq!((back.acked_back, back.problem_count), (1, 1));
        let order = problems(&["sent 0", "sent 1", "got 1 1", "got 0 1"], &strict);
        assert_eq!((order.disordered, order.problem_count), (1, 1));
        let count = problems(&["sent 0", "got 0 1", "retry 0", "got 0 1"], &strict);
        assert_eq!((count.miscounted, count.problem_count), (1, 1));
        let phantom = problems(&["got 0 1"], &Expect::default());
        assert_eq!((phantom.phantom, phantom.problem_count), (1, 1));
        let refused = problems(&["sent 0", "refused 0", "got 0 1"], &Expect::default());
        assert_eq!((refused.phantom, refused.problem_count), (1, 1));
        let mut changed = ledger(&["sent 0", "got 0 1"]);
        changed.entries[1].digest.clear();
        assert_eq!(check(&changed, &Expect::default()).changed, 1);
    }

    #[test]
    fn k2_a_message_sent_twice_may_come_twice() {
        let lines = ["sent 0", "sent 0", "ok 0", "got 0 1", "ack 0", "got 0 1", "ack 0"];
        let findings = problems(&lines, &Expect::default().with_attempts(Attempts::Exact));
        assert!(findings.is_good(), "{findings}");
        assert_eq!(findings.duplicates, 1);
    }

    #[test]
    fn f1_each_subscriber_must_have_everything() {
        let mut ledgers = ledger(&["sent 0", "ok 0", "got 0", "sent 1", "ok 1", "got 1", "got 1"]);
        ledgers.entries[6].consumer = Some("d".to_owned());
        let findings = check(&ledgers, &Expect::each_once().by_each());
        assert_eq!((findings.lost, findings.duplicates), (1, 0));
    }
}
