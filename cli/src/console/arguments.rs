//! Command lines as the old programs took them (3.2, last paragraph).

use std::ffi::OsString;
use std::io::Write;

use clap::error::ErrorKind;
use clap::{ArgMatches, Command, CommandFactory, FromArgMatches};

use super::{Failure, Outcome, write_result};

/// Version and exact source, as `-V` prints them after the program's name.
const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), " (", env!("POLYBUS_BUILD"), ")");

/// What a command line asks for.
#[derive(Debug)]
pub(crate) enum Parsed<Options> {
    /// To run with these options.
    Run(Options),
    /// Help or version; it has been printed.
    Told,
}

/// The options of a program under the name that it was called by. `{program}` in its examples is that name.
pub(crate) fn command(program: &str, options: Command) -> Command {
    let name = program.to_owned();
    let examples = options.get_after_help().map(|text| text.to_string().replace("{program}", program));
    let options = options.name(name.clone()).display_name(&name).bin_name(&name);
    let options = options.version(VERSION).args_override_self(true).disable_help_subcommand(true);
    examples.into_iter().fold(options, Command::after_help)
}

/// Reads a command line. A repeated option counts as given last, as in the old programs.
///
/// # Errors
/// Exit 2 with one line that names the fault.
pub(crate) fn parse<Options>(program: &str, words: Vec<OsString>) -> Outcome<Parsed<Options>>
where
    Options: CommandFactory + FromArgMatches,
{
    let words = std::iter::once(OsString::from(program)).chain(words);
    read(command(program, Options::command()), words, |matches| Options::from_arg_matches(&matches))
}

/// Prints the help or the version that `words` ask for.
///
/// # Errors
/// As [`parse`].
pub(crate) fn tell(command: Command, words: Vec<OsString>) -> Outcome {
    let name = OsString::from(command.get_name());
    read(command, std::iter::once(name).chain(words), |_| Ok(())).map(|_| ())
}

fn read<Options>(
    command: Command,
    words: impl Iterator<Item = OsString>,
    options: impl FnOnce(ArgMatches) -> Result<Options, clap::Error>,
) -> Outcome<Parsed<Options>> {
    match command.try_get_matches_from(words).and_then(options) {
        Ok(options) => Ok(Parsed::Run(options)),
        Err(error) => match error.kind() {
            ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
                print(&error.render().to_string()).map(|()| Parsed::Told)
            }
            _ => Err(Failure::usage(first_paragraph(&error.render().to_string()))),
        },
    }
}

/// Prints a text that was asked for, such as help.
pub(crate) fn print(text: &str) -> Outcome {
    write_result(|out| out.write_all(text.as_bytes()))
}

/// The fault itself as one line, without hints and usage.
fn first_paragraph(rendered: &str) -> String {
    let lines = rendered.lines().take_while(|line| !line.trim().is_empty()).map(str::trim);
    let joined = lines.collect::<Vec<_>>().join(" ");
    joined.strip_prefix("error: ").unwrap_or(&joined).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Debug, Parser)]
    struct Options {
        #[arg(short)]
        verbose: bool,
        #[arg(short, long)]
        list: bool,
        #[arg(short, long)]
        networks: Option<String>,
        file: Vec<String>,
    }

    fn read(words: &[&str]) -> Outcome<Options> {
        match parse("ipgrep", words.iter().map(OsString::from).collect())? {
            Parsed::Run(options) => Ok(options),
            Parsed::Told => panic!("told something"),
        }
    }

    #[test]
    fn options_and_files_may_be_mixed_and_joined() {
        let options = read(&["a", "-vlnmap", "b", "--networks=other", "-l", "--", "-c"]).unwrap();
        assert!(options.verbose && options.list);
        assert_eq!(options.networks.as_deref(), Some("other"));
        assert_eq!(options.file, ["a", "b", "-c"]);
        assert_eq!(read(&["-n", "-"]).unwrap().networks.as_deref(), Some("-"));
    }

    #[test]
    fn a_fault_is_one_line() {
        for words in [&["--nonsense"][..], &["-n"], &["-x"], &["--list=yes"]] {
            let Err(Failure::Told { text, .. }) = read(words) else { panic!("{words:?} was accepted") };
            assert!(!text.contains('\n') && !text.is_empty() && !text.starts_with("error"), "{text}");
        }
    }
}
