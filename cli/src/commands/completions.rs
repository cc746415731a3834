//! `polybus completions`: completions for a shell.

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{Command, Parser};
use clap_complete::Shell;

use crate::console::{Failure, Outcome, print};
use crate::program::{self, Called, OLD_NAMES, begin};

/// Print completions for a shell.
#[derive(Debug, Parser)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Options {
    /// The shell.
    shell: Shell,
    /// Complete this old program name instead of polybus; may be given more than once.
    #[arg(long = "for", value_name = "PROGRAM")]
    programs: Vec<String>,
}

const EXAMPLES: &str = "\
Examples:
  polybus completions bash > ~/.local/share/bash-completion/completions/polybus
  polybus completions zsh --for anon_client --for logmon
";

pub(crate) fn run(called: &Called, words: Vec<OsString>) -> ExitCode {
    begin::<Options>(called, words, |options, _| write(&options))
}

fn write(options: &Options) -> Outcome {
    let commands = match options.programs.as_slice() {
        [] => vec![program::root()],
        names => names.iter().map(|name| old(name)).collect::<Outcome<_>>()?,
    };
    let mut out = Vec::new();
    for mut command in commands {
        let name = command.get_name().to_owned();
        clap_complete::generate(options.shell, &mut command, name, &mut out);
    }
    print(&String::from_utf8_lossy(&out))
}

fn old(name: &str) -> Outcome<Command> {
    let program = OLD_NAMES.iter().find(|program| program.name == name);
    program.map(program::Program::described).ok_or_else(|| {
        let names: Vec<_> = OLD_NAMES.iter().map(|program| program.name).collect();
        Failure::usage(format!("--for {name}: the names are {}", names.join(", ")))
    })
}
