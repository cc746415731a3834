//! What a client reads before it calls.

use std::fs::File;
use std::io::{self, IsTerminal, Read};
use std::path::Path;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use polybus::exit;

use crate::console::{Failure, Outcome};

/// Inputs from this size on are read under a progress bar.
const WORTH_A_BAR: u64 = 4 << 20;

/// How much is read at a time.
const PIECE: usize = 256 << 10;

/// Reads several inputs as one text; `-` or none is standard input, if that is not a terminal. A line never goes on
/// in the next file.
///
/// # Errors
/// Exit 1 if one cannot be read or there is none, 65 if together they are longer than `limit` bytes.
pub(crate) fn read_text(paths: &[&Path], limit: u64) -> Outcome<Vec<u8>> {
    if paths.is_empty() {
        return read_input(None, limit);
    }
    let mut text = Vec::new();
    for path in paths {
        if text.last().is_some_and(|last| *last != b'\n') {
            text.push(b'\n');
        }
        let left = limit.saturating_sub(text.len() as u64);
        text.append(&mut read_input(Some(path), left)?);
    }
    Ok(text)
}

/// Reads one input whole; `-` or none is standard input, if that is not a terminal.
///
/// # Errors
/// As [`read_text`].
pub(crate) fn read_input(path: Option<&Path>, limit: u64) -> Outcome<Vec<u8>> {
    match path.filter(|path| path.as_os_str() != "-") {
        Some(path) => {
            let place = path.display().to_string();
            let file = File::open(path).map_err(unreadable(&place))?;
            let length = file.metadata().map_err(unreadable(&place))?.len();
            fits(&place, length, limit)?;
            read(file, &place, Some(length), limit)
        }
        None if io::stdin().is_terminal() => {
            Err(Failure::refused("no-data", "nothing to read: name a file, or pipe something in"))
        }
        None => read(io::stdin().lock(), "standard input", None, limit),
    }
}

fn read(from: impl Read, place: &str, length: Option<u64>, limit: u64) -> Outcome<Vec<u8>> {
    let bar = bar(length);
    let mut from = bar.wrap_read(from);
    let mut content = Vec::with_capacity(usize::try_from(length.unwrap_or(0)).unwrap_or(0));
    let mut piece = vec![0; PIECE];
    loop {
        let count = match from.read(&mut piece) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(unreadable(place)(error)),
        };
        fits(place, (content.len() + count) as u64, limit)?;
        content.extend_from_slice(&piece[..count]);
    }
    bar.finish_and_clear();
    Ok(content)
}

fn fits(place: &str, length: u64, limit: u64) -> Outcome {
    if length <= limit {
        return Ok(());
    }
    let text = format!("{place}: at least {length} bytes, the limit is {limit} (--max-bytes)");
    Err(Failure::told(exit::DATA, "too-large", text))
}

fn unreadable(place: &str) -> impl FnOnce(io::Error) -> Failure {
    move |error| Failure::refused("unreadable", format!("{place}: {error}"))
}

/// A bar on standard error, if that is a terminal and the input is large or of unknown length.
fn bar(length: Option<u64>) -> ProgressBar {
    let seen = io::stderr().is_terminal() && length.is_none_or(|length| length > WORTH_A_BAR);
    let target = if seen { ProgressDrawTarget::stderr_with_hz(10) } else { ProgressDrawTarget::hidden() };
    let bar = ProgressBar::with_draw_target(length, target);
    let form = "{bytes} of {total_bytes} read {wide_bar} {eta}";
    let form = if length.is_some() { form } else { "{bytes} read, {bytes_per_sec}" };
    if let Ok(style) = ProgressStyle::with_template(form) {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(250));
    bar
}
