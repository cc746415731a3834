//! `polybus broker` with a journal, and a folder in which programs find their way to it.

use std::path::PathBuf;

use crate::{Background, Desk, Error};

/// A broker of our own that can be killed, with a journal that outlives it, and a folder for the programs.
#[derive(Debug)]
pub struct ZmqHouse {
    /// The folder.
    pub desk: Desk,
    place: String,
    running: Option<Background>,
}

impl ZmqHouse {
    /// Starts the broker.
    ///
    /// # Errors
    /// If it does not start.
    pub fn new() -> Result<Self, Error> {
        let port = polybus_brokers::free_port()?;
        let desk = Desk::new()?.with_variable("SOURCE_DATE_EPOCH", "1392876660").with_variable("TZ", "UTC");
        let mut house = Self { desk, place: format!("zmq://127.0.0.1:{port}"), running: None };
        house.restart()?;
        Ok(house)
    }

    /// `--bus` for this broker.
    #[must_use]
    pub fn flag(&self) -> String {
        format!("--bus {}", self.place)
    }

    /// The folder of its journal.
    #[must_use]
    pub fn journal(&self) -> PathBuf {
        self.desk.path("journal")
    }

    /// SIGKILL for the broker.
    pub fn kill(&mut self) {
        self.running = None;
    }

    /// The broker again, at the same place and with the same journal.
    ///
    /// # Errors
    /// If it does not start.
    pub fn restart(&mut self) -> Result<(), Error> {
        let mut running =
            self.desk.start(&format!("polybus broker --journal journal --listen {}", self.place))?;
        running.tells("listening on zmq://")?;
        self.running = Some(running);
        Ok(())
    }
}
