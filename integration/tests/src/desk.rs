//! A folder to run programs in.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

use crate::binary::feed;
use crate::{Error, Programs};

/// A folder of its own, and the programs, with no environment but what is given to them.
#[derive(Debug)]
pub struct Desk {
    programs: Programs,
    folder: TempDir,
    environment: BTreeMap<String, String>,
}

impl Desk {
    /// An empty folder and an empty environment.
    ///
    /// # Errors
    /// As [`Programs::new`].
    pub fn new() -> Result<Self, Error> {
        Ok(Self { programs: Programs::new()?, folder: TempDir::new()?, environment: BTreeMap::new() })
    }

    /// The same with one more variable for the programs.
    #[must_use]
    pub fn with_variable(mut self, name: &str, value: &str) -> Self {
        self.environment.insert(name.to_owned(), value.to_owned());
        self
    }

    /// The path of a file in the folder.
    #[must_use]
    pub fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a file.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn file(&self, name: &str, content: impl AsRef<[u8]>) -> Result<(), Error> {
        Ok(fs::write(self.path(name), content)?)
    }

    /// A command line, split at blanks, that is not started yet.
    ///
    /// # Errors
    /// If the program cannot be found.
    pub fn command(&self, line: &str) -> Result<Command, Error> {
        let mut words = line.split(' ');
        let program = words.next().unwrap_or_default();
        let mut command = self.programs.command(program, self.folder.path(), &self.environment)?;
        command.args(words);
        Ok(command)
    }

    /// Runs a command line, split at blanks, with these bytes on standard input.
    ///
    /// # Errors
    /// If it cannot be run.
    pub fn run(&self, line: &str, input: impl AsRef<[u8]>) -> Result<Output, Error> {
        Ok(feed(self.command(line)?, input.as_ref())?)
    }
}
