//! `polybus top`: what `polybus status` shows, live.

mod draw;
mod screen;
mod view;

use std::ffi::OsString;
use std::io::{self, IsTerminal};
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use ratatui::crossterm::event::Event;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use self::screen::{Screen, events};
use self::view::{Step, View};
use crate::console::{Failure, Notices, Outcome};
use crate::options::{Looking, seconds};
use crate::program::Called;
use crate::session::begin;
use crate::session::desk::Desk;
use crate::session::lookout::{Lookout, Sight};

/// Watch the queues and services of a bus in the terminal.
///
/// Keys: up, down, page up, page down, home and end move through the queues, left and right choose the column to sort by, r
/// turns the order around, q or escape ends. Nothing on the bus is changed. A bus that goes away is told, and watched again
/// when it is back.
#[derive(Debug, Parser)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Options {
    /// Time between two looks.
    #[arg(long, value_name = "SECONDS", value_parser = seconds, default_value = "2")]
    interval: Duration,
    #[command(flatten)]
    looking: Looking,
}

const EXAMPLES: &str = "\
Examples:
  {program} --bus nats://nats.example.org            all queues of a bus, and the services of this program
  {program} anon_0.5.5 --interval 5 --bus URL        one queue, every five seconds
";

pub(crate) fn run(called: &Called, words: Vec<OsString>) -> ExitCode {
    begin::<Options, _>(called, words, |options| &options.looking, show)
}

fn show(called: &Called, options: &Options, notices: &Notices) -> Outcome {
    if !io::stdout().is_terminal() {
        return Err(Failure::usage("standard output is no terminal; `polybus status` prints the same once"));
    }
    let (named, every) = (options.looking.queues.clone(), options.interval);
    Desk::visit(called, &options.looking, notices, |desk| async move {
        let view = View::new(desk.bus.url(), every);
        let lookout = Lookout::new(desk, &named)?;
        // A queue that was named and is not there is told on a screen that stays.
        let mut screen = Screen::open()?;
        watch(lookout, view, &mut screen).await
    })
}

/// Looks and shows until somebody has seen enough.
async fn watch(lookout: Lookout, mut view: View, screen: &mut Screen) -> Outcome {
    let mut looking = JoinSet::new();
    let (to_view, mut seen) = mpsc::channel(1);
    looking.spawn(look(lookout, view.every, to_view));
    let mut events = events();
    loop {
        screen.draw(&view)?;
        tokio::select! {
            biased;
            event = events.recv() => match event {
                Some(Ok(Event::Key(key))) if view.press(key) == Step::End => return Ok(()),
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(Failure::writing("the terminal")(error)),
                None => return Err(Failure::refused("failed", "the terminal is gone")),
            },
            Some(looked) = seen.recv() => view.took(looked),
        }
    }
}

/// Looks again and again, as long as somebody wants to see it.
async fn look(mut lookout: Lookout, every: Duration, to: mpsc::Sender<Outcome<Sight>>) {
    while to.send(lookout.look().await).await.is_ok() {
        tokio::time::sleep(every).await;
    }
}
