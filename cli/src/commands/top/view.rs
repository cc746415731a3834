//! What is shown, and how keys change it.

use std::cmp::Ordering;
use std::time::Duration;

use polybus::figures::QueueView;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use crate::commands::status::cells::QUEUE;
use crate::console::{Failure, Outcome};
use crate::session::desk::written;
use crate::session::lookout::Sight;

/// Rows that a page key moves by.
const PAGE: usize = 10;

/// What comes of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Go on.
    Stay,
    /// The end.
    End,
}

/// Everything that a frame is made of.
#[derive(Clone, Debug)]
pub(super) struct View {
    /// The bus, without secrets.
    pub(super) url: String,
    /// Time between looks.
    pub(super) every: Duration,
    /// What was seen last; `None` before the first look.
    pub(super) sight: Option<Sight>,
    /// Why the last look failed.
    pub(super) trouble: Option<String>,
    /// The column of [`QUEUE`] that rows are sorted by.
    pub(super) sort: usize,
    /// Whether small comes first.
    pub(super) ascending: bool,
    /// The row that is marked, which is always shown.
    pub(super) marked: usize,
}

impl View {
    /// Nothing was seen yet; what waits most comes first.
    pub(super) fn new(url: &str, every: Duration) -> Self {
        Self { url: url.to_owned(), every, sight: None, trouble: None, sort: 1, ascending: false, marked: 0 }
    }

    /// Takes the result of a look. What was seen before stays when there is trouble.
    pub(super) fn took(&mut self, looked: Outcome<Sight>) {
        match looked {
            Ok(sight) => (self.sight, self.trouble) = (Some(sight), None),
            Err(Failure::Told { text, .. }) => self.trouble = Some(text),
            Err(Failure::Ended(code)) => self.trouble = Some(format!("exit {code}")),
        }
        self.mark(self.marked);
    }

    /// Takes a key.
    pub(super) fn press(&mut self, key: KeyEvent) -> Step {
        if key.kind == KeyEventKind::Release {
            return Step::Stay;
        }
        match key.code {
            KeyCode::Char('q') | KeyCode::Esc => return Step::End,
            KeyCode::Char('c') if key.modifiers.contains(KeyModifiers::CONTROL) => return Step::End,
            KeyCode::Up => self.mark(self.marked.saturating_sub(1)),
            KeyCode::Down => self.mark(self.marked + 1),
            KeyCode::PageUp => self.mark(self.marked.saturating_sub(PAGE)),
            KeyCode::PageDown => self.mark(self.marked + PAGE),
            KeyCode::Home => self.mark(0),
            KeyCode::End => self.mark(usize::MAX),
            KeyCode::Left => self.sort = (self.sort + QUEUE.len() - 1) % QUEUE.len(),
            KeyCode::Right => self.sort = (self.sort + 1) % QUEUE.len(),
            KeyCode::Char('r') => self.ascending = !self.ascending,
            _ => {}
        }
        Step::Stay
    }

    fn mark(&mut self, row: usize) {
        let rows = self.sight.as_ref().map_or(0, |sight| sight.overview.queues.len());
        self.marked = row.min(rows.saturating_sub(1));
    }

    /// The queues in their order. What is unknown comes last, whatever the order.
    pub(super) fn queues(&self) -> Vec<&QueueView> {
        let mut queues: Vec<_> = self.sight.iter().flat_map(|sight| &sight.overview.queues).collect();
        queues.sort_by(|one, other| {
            let by_name = || written(&one.intake).cmp(&written(&other.intake));
            match self.sort {
                0 if self.ascending => by_name(),
                0 => by_name().reverse(),
                column => self.ordered(value(one, column), value(other, column)).then_with(by_name),
            }
        });
        queues
    }

    fn ordered(&self, one: Option<f64>, other: Option<f64>) -> Ordering {
        match (one, other) {
            (Some(one), Some(other)) if self.ascending => one.total_cmp(&other),
            (Some(one), Some(other)) => other.total_cmp(&one),
            (one, other) => other.is_some().cmp(&one.is_some()),
        }
    }
}

/// What a row is sorted by: the column of [`QUEUE`] with this number as a number.
fn value(queue: &QueueView, column: usize) -> Option<f64> {
    #[expect(
        clippy::cast_precision_loss,
        reason = "two queues that differ in the 53rd bit may change places"
    )]
    let count = |count: Option<u64>| count.map(|count| count as f64);
    let info = queue.info.as_ref().ok()?;
    match column {
        1 => count(info.ready),
        2 => count(info.delayed),
        3 => count(info.leased),
        4 => count(info.dead),
        5 => count(info.consumers),
        6 => queue.rates.sent.ok(),
        7 => queue.rates.handed_out.ok(),
        8 => queue.rates.settled.ok(),
        9 => queue.rates.growth.ok(),
        // The oldest has waited longest.
        10 => count(info.oldest.map(|since| u64::MAX - u64::try_from(since.0).unwrap_or(0))),
        _ => queue.empties_in().ok().map(|time| time.as_secs_f64()),
    }
}
