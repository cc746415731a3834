//! Log lines on their way to the bus: a bounded buffer that anyone may fill and one task empties.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// How many lines wait at most; then the oldest are dropped (PRISEM services specification, 9.1).
pub(super) const MAX_LINES: usize = 1000;

/// The next thing to do for the task that empties a buffer.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Publish this line.
    Line(String),
    /// All lines are gone; so many were dropped since this was last said.
    Dropped(u64),
    /// Nothing more will come.
    End,
}

#[derive(Debug, Default)]
pub(super) struct Buffer {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    lines: VecDeque<String>,
    /// Dropped and not yet told.
    untold: u64,
    /// Dropped in all.
    dropped: u64,
    closed: bool,
}

impl Buffer {
    /// Adds a line. Never waits; a closed buffer counts it as dropped.
    pub(super) fn push(&self, line: String) {
        let mut state = self.state();
        if state.closed {
            state.drop_lines(1);
            return;
        }
        if state.lines.len() == MAX_LINES {
            state.lines.pop_front();
            state.drop_lines(1);
        }
        state.lines.push_back(line);
        drop(state);
        self.changed.notify_one();
    }

    /// The next thing to do, as soon as there is one. Cancel safe. For one task only.
    pub(super) async fn next(&self) -> Next {
        loop {
            if let Some(next) = self.state().next() {
                return next;
            }
            self.changed.notified().await;
        }
    }

    /// Counts a line that was taken and could not be published.
    pub(super) fn lost(&self) {
        self.state().drop_lines(1);
    }

    /// Takes no more lines; those that wait stay.
    pub(super) fn close(&self) {
        self.state().closed = true;
        self.changed.notify_one();
    }

    pub(super) fn is_closed(&self) -> bool {
        self.state().closed
    }

    /// Takes no more lines and drops those that wait.
    pub(super) fn discard(&self) {
        let mut state = self.state();
        state.closed = true;
        let waiting = state.lines.len() as u64;
        state.lines.clear();
        state.drop_lines(waiting);
    }

    /// How many lines wait, and how many were dropped so far.
    pub(super) fn counts(&self) -> (u64, u64) {
        let state = self.state();
        (state.lines.len() as u64, state.dropped)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn next(&mut self) -> Option<Next> {
        if let Some(line) = self.lines.pop_front() {
            return Some(Next::Line(line));
        }
        match std::mem::take(&mut self.untold) {
            0 => self.closed.then_some(Next::End),
            dropped => Some(Next::Dropped(dropped)),
        }
    }

    fn drop_lines(&mut self, count: u64) {
        self.untold += count;
        self.dropped += count;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_oldest_are_dropped_and_told_when_it_drains() {
        let buffer = Buffer::default();
        for number in 0..MAX_LINES + 3 {
            buffer.push(number.to_string());
        }
        assert_eq!(buffer.counts(), (1000, 3));
        for number in 3..MAX_LINES + 3 {
            assert_eq!(buffer.next().await, Next::Line(number.to_string()));
        }
        assert_eq!(buffer.next().await, Next::Dropped(3));
        buffer.push("last".to_owned());
        buffer.close();
        buffer.push("too late".to_owned());
        assert_eq!(buffer.next().await, Next::Line("last".to_owned()));
        assert_eq!(buffer.next().await, Next::Dropped(1));
        assert_eq!(buffer.next().await, Next::End);
        assert_eq!(buffer.counts(), (0, 4));
    }
}
