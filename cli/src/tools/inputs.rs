//! What a tool reads.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use crate::console::{Failure, Outcome};

/// Reads a file, or standard input for `-` and for none.
///
/// # Errors
/// Exit 1 if it cannot be read.
pub(super) fn read_all(path: Option<&Path>) -> Outcome<Vec<u8>> {
    let mut content = Vec::new();
    let read = match path.filter(|path| *path != "-") {
        Some(path) => File::open(path).and_then(|mut file| file.read_to_end(&mut content)),
        None => io::stdin().lock().read_to_end(&mut content),
    };
    read.map_err(|error| unreadable(path, &error))?;
    Ok(content)
}

/// The failure to read an input.
pub(super) fn unreadable(path: Option<&Path>, error: &io::Error) -> Failure {
    let name = path.filter(|path| *path != "-").map(|path| path.display().to_string());
    Failure::refused("unreadable", format!("{}: {error}", name.as_deref().unwrap_or("standard input")))
}
