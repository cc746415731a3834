//! Key files of pseudonyms and encryption.

use std::fs;
use std::io::{self, IsTerminal};
use std::path::Path;

use polybus_ipgrep::SecretKey;

use crate::console::{Failure, Notices, Outcome};

/// Reads a key file.
///
/// A person at a terminal is warned of a key that others can read. A script is not: what it writes to standard
/// error may be compared.
///
/// # Errors
/// Exit 1 if the file cannot be read, 78 if it holds no key.
pub(super) fn read(path: &Path, notices: &Notices) -> Outcome<SecretKey> {
    let named = |error: io::Error| Failure::refused("no-key", format!("{}: {error}", path.display()));
    let content = fs::read(path).map_err(named)?;
    if is_open_to_others(path) && io::stderr().is_terminal() {
        notices.warning(&format!("{}: others can read this key; chmod 600 it", path.display()));
    }
    SecretKey::parse(&content).map_err(|error| Failure::configuration(format!("{}: {error}", path.display())))
}

#[cfg(unix)]
fn is_open_to_others(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    fs::metadata(path).is_ok_and(|file| file.permissions().mode() & 0o077 != 0)
}

#[cfg(not(unix))]
fn is_open_to_others(_path: &Path) -> bool {
    false
}
