//! What a client reads before it calls.

use std::fs::{self, File};
use std::io::{self, IsTerminal, Read, Seek};
use std::os::fd::AsFd;
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

/// An input of a call.
pub(crate) enum Input {
    /// It fits into a frame.
    Whole(Vec<u8>),
    /// It does not, and is sent while it is read.
    Stream(Stream),
}

/// An input on its way.
pub(crate) struct Stream {
    from: Box<dyn Read + Send>,
    place: String,
    length: Option<u64>,
}

impl Stream {
    /// Its length, if that is known.
    pub(crate) const fn length(&self) -> Option<u64> {
        self.length
    }

    /// The next piece, in a buffer of this size at most; empty at the end. Blocks.
    pub(crate) fn next(&mut self, mut piece: Vec<u8>, size: usize) -> Outcome<Vec<u8>> {
        piece.clear();
        let read = self.from.by_ref().take(size as u64).read_to_end(&mut piece);
        read.map_err(unreadable(&self.place))?;
        Ok(piece)
    }
}

/// Reads one input whole if it has at most `limit` bytes; a longer one is left to be read piece by piece.
///
/// # Errors
/// Exit 1 if it cannot be read or there is none.
pub(crate) fn read_or_stream(path: Option<&Path>, limit: u64) -> Outcome<Input> {
    let path = path.filter(|path| path.as_os_str() != "-");
    if path.is_none() && io::stdin().is_terminal() {
        return read_input(path, limit).map(Input::Whole);
    }
    let place = path.map_or_else(|| "standard input".to_owned(), |path| path.display().to_string());
    let (mut from, length): (Box<dyn Read + Send>, _) = match path {
        Some(path) => {
            let file = File::open(path).map_err(unreadable(&place))?;
            let metadata = file.metadata().map_err(unreadable(&place))?;
            (Box::new(file), metadata.is_file().then_some(metadata.len()))
        }
        None => (Box::new(io::stdin()), stdin_length()),
    };
    if length.is_some_and(|length| length > limit) {
        return Ok(Input::Stream(Stream { from, place, length }));
    }
    let mut begun = Vec::new();
    from.by_ref().take(limit.saturating_add(1)).read_to_end(&mut begun).map_err(unreadable(&place))?;
    if begun.len() as u64 <= limit {
        return Ok(Input::Whole(begun));
    }
    Ok(Input::Stream(Stream { from: Box::new(io::Cursor::new(begun).chain(from)), place, length }))
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

fn bar(length: Option<u64>) -> ProgressBar {
    bar_of("read", length)
}

/// How long the file on standard input is, if it is one that is read from its beginning.
fn stdin_length() -> Option<u64> {
    let mut file = File::from(io::stdin().as_fd().try_clone_to_owned().ok()?);
    let metadata = file.metadata().ok().filter(fs::Metadata::is_file)?;
    let begun = file.stream_position().ok()?;
    Some(metadata.len().saturating_sub(begun))
}

/// A bar on standard error, if that is a terminal and there is much to do, or nobody knows how much.
pub(crate) fn bar_of(done: &str, length: Option<u64>) -> ProgressBar {
    let seen = io::stderr().is_terminal() && length.is_none_or(|length| length > WORTH_A_BAR);
    let target = if seen { ProgressDrawTarget::stderr_with_hz(10) } else { ProgressDrawTarget::hidden() };
    let bar = ProgressBar::with_draw_target(length, target);
    let known = format!("{{bytes}} of {{total_bytes}} {done} {{wide_bar}} {{eta}}");
    let form = if length.is_some() { known } else { format!("{{bytes}} {done}, {{bytes_per_sec}}") };
    if let Ok(style) = ProgressStyle::with_template(&form) {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(250));
    bar
}
