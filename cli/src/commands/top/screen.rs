//! The terminal: taken, drawn to, and given back whatever happens.

use std::io;
use std::thread;
use std::time::Duration;

use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event};
use tokio::sync::mpsc;

use super::draw::draw;
use super::view::View;
use crate::console::{Failure, Outcome};

/// How long the thread that reads the terminal sleeps at most before it sees that nobody listens.
const LISTEN: Duration = Duration::from_millis(200);

/// The whole terminal. It is as it was before when this is dropped, also by a signal, and before a panic speaks.
pub(super) struct Screen(DefaultTerminal);

impl Screen {
    /// Takes the terminal.
    ///
    /// # Errors
    /// Exit 1 if it cannot be had.
    pub(super) fn open() -> Outcome<Self> {
        // This also puts the restoring in front of whatever tells of a panic.
        ratatui::try_init().map(Self).map_err(Failure::writing("the terminal"))
    }

    /// Shows this.
    ///
    /// # Errors
    /// Exit 1 if the terminal takes nothing more.
    pub(super) fn draw(&mut self, view: &View) -> Outcome {
        let drawn = self.0.draw(|frame| draw(view, frame));
        drawn.map(drop).map_err(Failure::writing("the terminal"))
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // A terminal that is gone needs no restoring.
        let _restored = ratatui::try_restore();
    }
}

/// What is typed, and changes of size. The stream ends with its first error.
pub(super) fn events() -> mpsc::Receiver<io::Result<Event>> {
    let (sender, receiver) = mpsc::channel(16);
    thread::spawn(move || {
        while !sender.is_closed() {
            let read = match event::poll(LISTEN) {
                Ok(false) => continue,
                Ok(true) => event::read(),
                Err(error) => Err(error),
            };
            let ends = read.is_err();
            if sender.blocking_send(read).is_err() || ends {
                return;
            }
        }
    });
    receiver
}
