//! `polybus man`: manual pages.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Command, Parser};
use clap_mangen::Man;

use crate::console::{Failure, Outcome, print};
use crate::program::{self, Called, OLD_NAMES, begin};

/// Write manual pages: one for polybus, one for each subcommand, one for each old program name.
#[derive(Debug, Parser)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Options {
    /// Folder for the pages, made if it is missing. Without it the page of polybus goes to standard output.
    #[arg(value_name = "DIR")]
    folder: Option<PathBuf>,
}

const EXAMPLES: &str = "\
Examples:
  polybus man ~/.local/share/man/man1
  polybus man | man -l -
";

pub(crate) fn run(called: &Called, words: Vec<OsString>) -> ExitCode {
    begin::<Options>(called, words, |options, _| match &options.folder {
        Some(folder) => write_all(folder),
        None => print(&page(program::root())?),
    })
}

fn write_all(folder: &Path) -> Outcome {
    fs::create_dir_all(folder).map_err(|error| failed(folder, &error))?;
    write_tree(folder, &program::root(), "polybus")?;
    for program in OLD_NAMES {
        write_tree(folder, &program.described(), program.name)?;
    }
    Ok(())
}

/// The page of a command and those of its subcommands, as `polybus-log-tail.1`.
fn write_tree(folder: &Path, command: &Command, name: &str) -> Outcome {
    let path = folder.join(format!("{name}.1"));
    let page = page(command.clone().name(name.to_owned()))?;
    fs::write(&path, page).map_err(|error| failed(&path, &error))?;
    for inner in command.get_subcommands().filter(|inner| !inner.is_hide_set()) {
        write_tree(folder, inner, &format!("{name}-{}", inner.get_name()))?;
    }
    Ok(())
}

fn page(command: Command) -> Outcome<String> {
    let mut out = Vec::new();
    let rendered = Man::new(command).render(&mut out);
    rendered.map_err(|error| Failure::internal(format!("manual page: {error}")))?;
    Ok(String::from_utf8_lossy(&out).into_owned())
}

fn failed(path: &Path, error: &std::io::Error) -> Failure {
    Failure::refused("failed", format!("{}: {error}", path.display()))
}
