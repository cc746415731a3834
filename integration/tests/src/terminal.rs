//! A program in a terminal of its own.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Instant;

use rustix::fs::{Mode, OFlags};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};

use crate::{Desk, Error, PATIENCE};

/// What people would see of it: 24 lines of 140 signs.
const SIZE: Winsize = Winsize { ws_row: 24, ws_col: 140, ws_xpixel: 0, ws_ypixel: 0 };

/// A program whose input and outputs are a terminal. Dropping it kills it.
#[derive(Debug)]
pub struct Terminal {
    child: Child,
    keys: File,
    side: File,
    written: Receiver<Vec<u8>>,
    seen: Vec<u8>,
}

impl Terminal {
    /// Starts a command in a terminal.
    ///
    /// # Errors
    /// If there is no terminal, or it cannot be started.
    pub fn start(mut command: Command) -> Result<Self, Error> {
        let own = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY)?;
        grantpt(&own)?;
        unlockpt(&own)?;
        let name = ptsname(&own, Vec::new())?;
        let flags = OFlags::RDWR | OFlags::NOCTTY;
        let side = File::from(rustix::fs::open(OsStr::from_bytes(name.to_bytes()), flags, Mode::empty())?);
        tcsetwinsize(&own, SIZE)?;
        command.stdin(Stdio::from(side.try_clone()?));
        command.stdout(Stdio::from(side.try_clone()?)).stderr(Stdio::from(side.try_clone()?));
        let child = command.env("TERM", "xterm").spawn()?;
        let keys = File::from(own);
        let written = chunks(keys.try_clone()?);
        Ok(Self { child, keys, side, written, seen: Vec::new() })
    }

    /// Waits until this text was written to the terminal since the last such wait.
    ///
    /// # Errors
    /// If it does not come, with the last of what came.
    pub fn shows(&mut self, text: &str) -> Result<(), Error> {
        let began = Instant::now();
        loop {
            if let Some(at) = find(&self.seen, text.as_bytes()) {
                self.seen.drain(..at + text.len());
                return Ok(());
            }
            let Ok(more) = self.written.recv_timeout(PATIENCE.saturating_sub(began.elapsed())) else {
                let last = self.seen.len().saturating_sub(2000);
                let seen = String::from_utf8_lossy(&self.seen[last..]).replace('\u{1b}', "^");
                return Err(format!("\"{text}\" is not shown, only:\n{seen}").into());
            };
            self.seen.extend(more);
        }
    }

    /// Types this.
    ///
    /// # Errors
    /// If the terminal takes nothing.
    pub fn types(&mut self, keys: &str) -> Result<(), Error> {
        Ok(self.keys.write_all(keys.as_bytes())?)
    }

    /// Sends a signal, by its name.
    ///
    /// # Errors
    /// If it cannot be sent.
    pub fn signal(&self, name: &str) -> Result<(), Error> {
        Command::new("kill").args([&format!("-{name}"), &self.child.id().to_string()]).status()?;
        Ok(())
    }

    /// Whether lines are edited and echoed, as in a terminal that nobody has taken.
    ///
    /// # Errors
    /// If that cannot be known.
    pub fn is_free(&self) -> Result<bool, Error> {
        Ok(tcgetattr(&self.side)?.local_modes.contains(LocalModes::ICANON | LocalModes::ECHO))
    }

    /// Waits for the end; gives the exit code.
    ///
    /// # Errors
    /// If it does not end in time.
    pub fn ends(&mut self) -> Result<Option<i32>, Error> {
        let began = Instant::now();
        while began.elapsed() < PATIENCE {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status.code());
            }
            thread::sleep(std::time::Duration::from_millis(50));
        }
        Err("it does not end".into())
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // It may have ended already.
        let _killed = self.child.kill().and_then(|()| self.child.wait());
    }
}

impl Desk {
    /// Starts a command line, split at blanks, in a terminal.
    ///
    /// # Errors
    /// As [`Terminal::start`].
    pub fn in_terminal(&self, line: &str) -> Result<Terminal, Error> {
        Terminal::start(self.command(line)?)
    }
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|part| part == wanted)
}

/// Everything that is written there, until nobody has the terminal open.
fn chunks(mut from: File) -> Receiver<Vec<u8>> {
    let (sender, receiver) = channel();
    thread::spawn(move || {
        let mut room = [0; 4096];
        while let Ok(count @ 1..) = from.read(&mut room) {
            if sender.send(room[..count].to_vec()).is_err() {
                return;
            }
        }
    });
    receiver
}
