//! A look over the directory of a bus, without opening the bus: nothing in it changes.

mod shadow;
mod words;

use std::path::{Path, PathBuf};

use polybus_contract::{Finding, Grade};
use polybus_queue::journal::{Damaged, Directory, DirectoryError, OpenError, Opened, Options, open};
use rustix::fs::{Access, access, statfs, statvfs};

use crate::bus::Bus;
use crate::codec::Messages;
use crate::config::{Config, Sync};
use crate::journal::{options, random};

use shadow::Shadow;
pub use words::DIAGNOSES;
use words::{
    DAMAGE_SET_ASIDE, DISK_LOW, JOURNAL_DAMAGED, JOURNAL_IN_USE, JOURNAL_NOT_WRITABLE, JOURNAL_TORN,
    JOURNAL_VOLATILE, SYNC_DELAYED,
};

/// The file that says that a journal is, or was, open.
const LOCK: &str = "lock";

/// File systems in memory, by the numbers that Linux has for them.
const IN_MEMORY: [i128; 2] = [0x0102_1994, 0x8584_58f6];

impl Bus {
    /// Looks over the directory, if there is one. Blocks for as long as reading the journal takes.
    pub(crate) fn examine(&self) -> Vec<Finding> {
        let Some(directory) = &self.config.directory else { return Vec::new() };
        let object = format!("directory {}", directory.display());
        let mut found = vec![writable(directory, &object)];
        let there = directory.is_dir();
        let place = nearest(directory);
        found.extend(room(&place, &self.config, there, &object));
        found.extend(volatile(&place, &object));
        if let Sync::Every(every) = self.config.sync {
            found.push(
                SYNC_DELAYED.found(object.clone(), format!("it is synced every {} ms", every.as_millis())),
            );
        }
        if there
            && found
                .iter()
                .all(|finding| finding.diagnosis != &JOURNAL_NOT_WRITABLE || finding.grade == Grade::Fine)
        {
            found.extend(self.journal(directory, &object));
        }
        found
    }

    fn journal(&self, directory: &Path, object: &str) -> Vec<Finding> {
        if !directory.join(LOCK).exists() {
            return vec![JOURNAL_IN_USE.fine(object, "there is no journal yet")];
        }
        // Held while it is read: nobody writes meanwhile.
        let _held = match Directory::open(directory) {
            Ok(held) => held,
            Err(DirectoryError::InUse { pid, .. }) if pid == Some(std::process::id()) => {
                return vec![JOURNAL_IN_USE.fine(object, "this process has it open")];
            }
            Err(error @ DirectoryError::InUse { .. }) => {
                return vec![JOURNAL_IN_USE.found(object, error.to_string())];
            }
            Err(error) => return vec![JOURNAL_NOT_WRITABLE.found(object, error.to_string())],
        };
        let mut found = vec![JOURNAL_IN_USE.fine(object, "nobody has it open")];
        found.extend(set_aside(directory, object));
        found.push(self.read(directory, object));
        found
    }

    fn read(&self, directory: &Path, object: &str) -> Finding {
        let how = Options { damaged: Damaged::Refuse, ..options(&self.config) };
        match open(Shadow(directory), Messages, how, random(), self.now()) {
            Ok(Opened { recovered, .. }) if recovered.cut.is_some() => {
                JOURNAL_TORN.found(object, recovered.to_string())
            }
            Ok(Opened { recovered, .. }) => JOURNAL_DAMAGED.fine(object, recovered.to_string()),
            Err(OpenError::Io { file, source }) => {
                JOURNAL_DAMAGED.unknown(object, format!("{file}: {source}"))
            }
            Err(error) => JOURNAL_DAMAGED.found(object, error.to_string()),
        }
    }
}

/// The directory, or where it would be made.
fn nearest(directory: &Path) -> PathBuf {
    directory.ancestors().find(|path| path.is_dir()).unwrap_or_else(|| Path::new("/")).to_owned()
}

fn writable(directory: &Path, object: &str) -> Finding {
    if directory.exists() && !directory.is_dir() {
        return JOURNAL_NOT_WRITABLE.found(object, "it is no directory");
    }
    let place = nearest(directory);
    match access(&place, Access::WRITE_OK | Access::EXEC_OK) {
        Ok(()) if place == directory => JOURNAL_NOT_WRITABLE.fine(object, "it can be written to"),
        Ok(()) => JOURNAL_NOT_WRITABLE.fine(object, "it is not there yet and can be made"),
        Err(error) => JOURNAL_NOT_WRITABLE.found(object, format!("{}: {error}", place.display())),
    }
}

/// A journal has two files at least, and a further one is reserved before it is needed.
fn room(place: &Path, config: &Config, there: bool, object: &str) -> Option<Finding> {
    let disk = statvfs(place).ok()?;
    let free = disk.f_bavail.saturating_mul(disk.f_frsize);
    let files = if there { 1 } else { 2 };
    let told = format!("{free} bytes are free, its files have {}", config.segment);
    let needed = config.segment.saturating_mul(files);
    Some(match free {
        _ if free < needed => DISK_LOW.found(object, told),
        _ if free < needed.saturating_mul(4) => DISK_LOW.found(object, told).with_grade(Grade::Warning),
        _ => DISK_LOW.fine(object, told),
    })
}

fn volatile(place: &Path, object: &str) -> Option<Finding> {
    let kind = statfs(place).ok().map(|found| i128::from(found.f_type))?;
    IN_MEMORY.contains(&kind).then(|| JOURNAL_VOLATILE.found(object, "its file system is in memory"))
}

fn set_aside(directory: &Path, object: &str) -> Option<Finding> {
    let entries = std::fs::read_dir(directory).ok()?.filter_map(Result::ok);
    let count = entries.filter(|entry| entry.path().extension().is_some_and(|end| end == "damaged")).count();
    (count > 0).then(|| DAMAGE_SET_ASIDE.found(object, format!("{count} files *.damaged")))
}
