//! The wall clock of a broker, turned by libfaketime: what it tells its process stands in a file. The monotonic clock stays.
//!
//! Leases and delays bear it. Calls do not: how long a request is worth anything is a time of the wall clock, and a broker
//! whose clock is an hour ahead of that of the caller takes it for passed. So the case is open, and shown so; it is run by
//! `cargo test -p polybus-kit --test zeromq -- --ignored clock`.

use std::path::{Path, PathBuf};
use std::{fs, io};

use libtest_mimic::{Failed, Trial};
use polybus_kit::{Case, cases};
use tokio::process::Command;

const MISSING: &str = "libfaketime is not installed: the Debian package is libfaketime";

/// The library for programs with threads.
fn library() -> Option<PathBuf> {
    let folders = fs::read_dir("/usr/lib").ok()?.flatten();
    folders.map(|folder| folder.path().join("faketime/libfaketimeMT.so.1")).find(|library| library.exists())
}

fn file(folder: &Path) -> PathBuf {
    folder.join("clock")
}

/// The case that turns the clock.
pub(crate) fn trial(judge: impl Fn(&Case) -> Result<(), Failed> + Send + 'static) -> Option<Trial> {
    let case = cases::all().into_iter().find(|case| case.id == "J9")?;
    let name = format!("clock::{}_{}", case.id.to_lowercase(), case.name);
    Some(Trial::test(name, move || judge(&case)).with_ignored_flag(true))
}

/// Has the clock of a process told by the file in this folder.
pub(crate) fn load(command: &mut Command, folder: &Path) -> io::Result<()> {
    let library = library().ok_or_else(|| io::Error::other(MISSING))?;
    if !file(folder).exists() {
        turn(folder, false)?;
    }
    command.env("LD_PRELOAD", library).env("FAKETIME_TIMESTAMP_FILE", file(folder));
    command.env("FAKETIME_NO_CACHE", "1").env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
    Ok(())
}

/// An hour ahead, or back to what it is.
pub(crate) fn turn(folder: &Path, ahead: bool) -> io::Result<()> {
    // It is read at any time, and never to be found empty.
    let fresh = folder.join("clock.fresh");
    fs::write(&fresh, if ahead { "+3600" } else { "+0" })?;
    fs::rename(fresh, file(folder))
}
