//! `polybus install-links`: the old program names, as links to this executable.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;
use serde_json::json;

use crate::console::{Failure, Outcome, print};
use crate::program::{Called, OLD_NAMES, begin};

/// Make a link for every old program name, so that scripts find `anon_client`, `logmon` and the others.
///
/// A link that is already right is kept. A file or a link to something else is never touched without --force, a
/// folder not even then.
#[derive(Debug, Parser)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Options {
    /// Folder for the links; it is made if it is missing.
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    /// Replace files and links that are something else.
    #[arg(long)]
    force: bool,
    /// Print one JSON object a line: name, path, state.
    #[arg(long)]
    json: bool,
}

const EXAMPLES: &str = "\
Examples:
  polybus install-links ~/bin            links beside your own programs
  polybus install-links --force ~/bin    also where the old programs still are
";

/// What became of one name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Made,
    Kept,
    Replaced,
    Refused,
}

impl State {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Made => "made",
            Self::Kept => "kept",
            Self::Replaced => "replaced",
            Self::Refused => "refused",
        }
    }
}

pub(crate) fn run(called: &Called, words: Vec<OsString>) -> ExitCode {
    begin::<Options>(called, words, |options, _| install(&options))
}

fn install(options: &Options) -> Outcome {
    let target = std::env::current_exe().map_err(|error| Failure::internal(format!("own path: {error}")))?;
    fs::create_dir_all(&options.folder).map_err(named(&options.folder))?;
    let mut report = String::new();
    let mut refused = 0;
    for program in OLD_NAMES {
        let path = options.folder.join(program.name);
        let state = link(&path, &target, options.force).map_err(named(&path))?;
        refused += usize::from(state == State::Refused);
        report.push_str(&line(program.name, &path, state, options.json));
    }
    print(&report)?;
    if refused == 0 {
        return Ok(());
    }
    Err(Failure::refused(
        "exists",
        format!("{refused} names are taken by other files; --force replaces files"),
    ))
}

fn line(name: &str, path: &Path, state: State, json: bool) -> String {
    if json {
        return format!(
            "{}\n",
            json!({"name": name, "path": path.to_string_lossy(), "state": state.as_str()})
        );
    }
    format!("{:8} {}\n", state.as_str(), path.display())
}

fn named(path: &Path) -> impl FnOnce(io::Error) -> Failure {
    move |error| Failure::refused("failed", format!("{}: {error}", path.display()))
}

fn link(path: &Path, target: &Path, force: bool) -> io::Result<State> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => symlink(target, path).map(|()| State::Made),
        Err(error) => Err(error),
        Ok(_) if is_ours(path, target) => Ok(State::Kept),
        Ok(found) if !force || found.is_dir() => Ok(State::Refused),
        Ok(_) => replace(path, target).map(|()| State::Replaced),
    }
}

fn is_ours(path: &Path, target: &Path) -> bool {
    let real = |path: &Path| path.canonicalize().ok();
    fs::read_link(path).is_ok() && real(path).is_some() && real(path) == real(target)
}

/// Under another name first, so that the name always leads somewhere.
fn replace(path: &Path, target: &Path) -> io::Result<()> {
    let mut aside = path.as_os_str().to_owned();
    aside.push(format!(".{}", std::process::id()));
    symlink(target, &aside)?;
    fs::rename(&aside, path).inspect_err(|_| drop(fs::remove_file(&aside)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_files_stay_unless_forced() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("polybus");
        fs::write(&target, "program").unwrap();
        let path = folder.path().join("anon_client");
        assert_eq!(link(&path, &target, false).unwrap(), State::Made);
        assert_eq!(link(&path, &target, true).unwrap(), State::Kept);
        fs::remove_file(&path).unwrap();
        fs::write(&path, "another program").unwrap();
        assert_eq!(link(&path, &target, false).unwrap(), State::Refused);
        assert_eq!(fs::read_to_string(&path).unwrap(), "another program");
        assert_eq!(link(&path, &target, true).unwrap(), State::Replaced);
        assert_eq!(fs::read_to_string(&path).unwrap(), "program");
    }

    #[test]
    fn folders_and_dangling_links_are_not_ours() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("polybus");
        fs::write(&target, "program").unwrap();
        let taken = folder.path().join("logmon");
        fs::create_dir(&taken).unwrap();
        assert_eq!(link(&taken, &target, true).unwrap(), State::Refused);
        let dangling = folder.path().join("ipgrep");
        symlink(folder.path().join("gone"), &dangling).unwrap();
        assert_eq!(link(&dangling, &target, false).unwrap(), State::Refused);
        assert_eq!(link(&dangling, &target, true).unwrap(), State::Replaced);
    }
}
