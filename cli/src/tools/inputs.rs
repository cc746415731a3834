//! What a tool reads: files in order as one text, or standard input.

use std::fs::{self, File};
use std::io::{self, IsTerminal, Read, Stdin, Write};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::thread;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use polybus_ipgrep::{Map, Output, Report, RunError, RunOptions};

use crate::console::{Failure, Outcome};

/// Inputs of this size and more show a progress bar to a person at a terminal.
const LARGE: u64 = 4 << 20;

/// The name of standard input.
const STDIN: &str = "-";

/// The inputs of a command line.
#[derive(Debug)]
pub(super) struct Inputs {
    paths: Vec<PathBuf>,
    /// Bytes of all files; none if there is an input whose size is not known before.
    total: Option<u64>,
    progress: ProgressBar,
}

impl Inputs {
    /// The named files, or standard input for `-` and if none is named.
    ///
    /// # Errors
    /// Exit 1 if one cannot be read: it is better to know before anything is printed.
    pub(super) fn new(mut paths: Vec<PathBuf>) -> Outcome<Self> {
        if paths.is_empty() {
            paths.push(PathBuf::from(STDIN));
        }
        let mut total = Some(0);
        for path in &paths {
            let size = check(path).map_err(|error| unreadable(Some(path), &error))?;
            total = total.zip(size).map(|(total, size)| total + size);
        }
        Ok(Self { paths, total, progress: progress(total) })
    }

    /// Reads all inputs in order as one text.
    ///
    /// # Errors
    /// Exit 1 if an input cannot be read to its end.
    pub(super) fn run(&self, out: &mut impl Write, map: &Map, options: RunOptions<'_>) -> Outcome<Report> {
        // A bar and lines that are shown at the same time spoil each other.
        if !matches!(options.output, Output::Nothing) && io::stdout().is_terminal() {
            self.progress.set_draw_target(ProgressDrawTarget::hidden());
        }
        let options = RunOptions { threads: self.threads(), ..options };
        let done = polybus_ipgrep::run(self.readers().collect::<Vec<_>>(), out, map, &options);
        self.progress.finish_and_clear();
        done.map_err(|error| match error {
            RunError::Read { input, error } => {
                unreadable(self.paths.get(input - 1).map(PathBuf::as_path), &error)
            }
            RunError::Write(error) => Failure::writing("standard output")(error),
            RunError::Thread(why) => Failure::internal(why),
        })
    }

    /// Each input as a reader that opens it when it is its turn.
    pub(super) fn readers(&self) -> impl Iterator<Item = Input> {
        let progress =
            |path: &PathBuf| Input { path: path.clone(), opened: None, progress: self.progress.clone() };
        self.paths.iter().map(progress)
    }

    /// Takes the progress bar away before the result is shown.
    pub(super) fn finish(&self) {
        self.progress.finish_and_clear();
    }

    /// All cores, unless so little is to be read that starting threads takes longer.
    fn threads(&self) -> NonZeroUsize {
        let little = self.total.is_some_and(|total| total < LARGE)
            || (self.reads_stdin() && io::stdin().is_terminal());
        let cores = || thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
        if little { NonZeroUsize::MIN } else { cores() }
    }

    fn reads_stdin(&self) -> bool {
        self.paths.iter().any(|path| path.as_os_str() == STDIN)
    }
}

/// One input.
#[derive(Debug)]
pub(super) struct Input {
    path: PathBuf,
    opened: Option<Opened>,
    progress: ProgressBar,
}

#[derive(Debug)]
enum Opened {
    Stdin(Stdin),
    File(File),
}

impl Input {
    /// The name on the command line.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    fn open(path: &Path) -> io::Result<Opened> {
        if path.as_os_str() == STDIN {
            Ok(Opened::Stdin(io::stdin()))
        } else {
            File::open(path).map(Opened::File)
        }
    }
}

impl Read for Input {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let opened = match &mut self.opened {
            Some(opened) => opened,
            none => none.insert(Self::open(&self.path)?),
        };
        let read = match opened {
            Opened::Stdin(stdin) => stdin.read(buffer),
            Opened::File(file) => file.read(buffer),
        }?;
        self.progress.inc(read as u64);
        Ok(read)
    }
}

/// The size of a file that can be read, if it has one. Pipes are not opened: that can be done only once.
fn check(path: &Path) -> io::Result<Option<u64>> {
    if path.as_os_str() == STDIN {
        return Ok(None);
    }
    let metadata = fs::metadata(path)?;
    if metadata.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    if !metadata.is_file() {
        return Ok(None);
    }
    File::open(path)?;
    Ok(Some(metadata.len()))
}

fn progress(total: Option<u64>) -> ProgressBar {
    let Some(total) = total.filter(|total| *total >= LARGE && io::stderr().is_terminal()) else {
        return ProgressBar::hidden();
    };
    let form = "{bar:40} {bytes} of {total_bytes}, {bytes_per_sec}, {eta} left";
    let style = ProgressStyle::with_template(form).unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(total).with_style(style)
}

/// Reads a file, or standard input for `-` and for none.
///
/// # Errors
/// Exit 1 if it cannot be read.
pub(super) fn read_all(path: Option<&Path>) -> Outcome<Vec<u8>> {
    let mut content = Vec::new();
    let read = match path.filter(|path| path.as_os_str() != STDIN) {
        Some(path) => File::open(path).and_then(|mut file| file.read_to_end(&mut content)),
        None => io::stdin().lock().read_to_end(&mut content),
    };
    read.map_err(|error| unreadable(path, &error))?;
    Ok(content)
}

/// The failure to read an input.
pub(super) fn unreadable(path: Option<&Path>, error: &io::Error) -> Failure {
    let name = path.filter(|path| path.as_os_str() != STDIN).map(|path| path.display().to_string());
    Failure::refused("unreadable", format!("{}: {error}", name.as_deref().unwrap_or("standard input")))
}
