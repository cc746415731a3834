//! The programs in this executable, and how each is found and begun.

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{Command, CommandFactory, FromArgMatches, Parser};

use crate::console::{Failure, Notices, Outcome, Parsed, command, finish, parse, tell};
use crate::{commands, legacy, tools};

/// The name of the whole.
const OWN_NAME: &str = "polybus";

/// One program: a subcommand of polybus, or an old program by its own name.
pub(crate) struct Program {
    /// Its name.
    pub(crate) name: &'static str,
    run: fn(&Called, Vec<OsString>) -> ExitCode,
    options: fn() -> Command,
    hidden: bool,
}

/// How a program was called.
#[derive(Clone, Debug)]
pub(crate) struct Called {
    /// As people see it, such as `polybus anon` or `anon_client`.
    pub(crate) name: String,
    /// Whether by an old name, for which the settings of the old programs hold (3.1).
    pub(crate) by_old_name: bool,
}

impl Called {
    /// The name in log lines and file names, where a blank may not stand.
    pub(crate) fn word(&self) -> String {
        self.name.replace(' ', "-")
    }
}

macro_rules! programs {
    ($($(#[$only:meta])* $name:literal => $($path:ident)::+ $(($how:ident))?;)*) => {
        &[$($(#[$only])* Program {
            name: $name,
            run: programs!(run $($path)::+ $($how)?),
            options: <$($path)::+::Options as CommandFactory>::command,
            hidden: programs!(hidden $($how)?),
        }),*]
    };
    // Tools need no more than the name that they were called by.
    (run $($path:ident)::+ tool) => { |called, words| $($path)::+::run(&called.name, words) };
    (run $($path:ident)::+ $(hidden)?) => { $($path)::+::run };
    (hidden hidden) => { true };
    (hidden $(tool)?) => { false };
}

/// The subcommands of polybus.
const SUBCOMMANDS: &[Program] = programs! {
    "anon" => commands::anon;
    "crosscor" => commands::crosscor;
    "ipgrep" => tools::ipgrep (tool);
    "cumdist" => tools::cumdist (tool);
    "call" => commands::call;
    "serve" => commands::serve;
    "up" => commands::up;
    "log" => commands::log;
    "status" => commands::status;
    "top" => commands::top;
    #[cfg(all(feature = "embedded", feature = "zeromq"))]
    "broker" => commands::broker;
    "queues" => commands::queues;
    "dead" => commands::dead;
    "check" => commands::check;
    "doctor" => commands::doctor;
    "config" => commands::config;
    "install-links" => commands::install_links;
    "completions" => commands::completions;
    "man" => commands::man;
    "reference" => commands::reference (hidden);
};

/// The old programs (0).
pub(crate) const OLD_NAMES: &[Program] = programs! {
    "anon_client" => commands::anon;
    "anon_server" => legacy::server;
    "crosscor" => tools::crosscor (tool);
    "crosscor_client" => legacy::crosscor_client;
    "crosscor_server" => legacy::server;
    "cumdist" => tools::cumdist (tool);
    "ipgrep" => tools::ipgrep (tool);
    "logmon" => legacy::logmon;
};

impl Program {
    /// Its options under its name, as help, manual and reference show them.
    pub(crate) fn described(&self) -> Command {
        command(self.name, (self.options)()).hide(self.hidden)
    }

    fn find(programs: &'static [Self], name: &str) -> Option<&'static Self> {
        programs.iter().find(|program| program.name == name)
    }
}

/// One worker, one client and one log monitor over any message bus.
///
/// The bus is a URL (`--bus`, `POLYBUS_BUS`, `polybus.toml`). Without one, a client uses a bus inside its own process and
/// starts the worker it needs there.
#[derive(Debug, Parser)]
#[command(after_help = EXAMPLES, arg_required_else_help = false)]
struct Root {
    /// Print the settings in effect, as `polybus config` does.
    #[arg(long)]
    show_config: bool,
}

const EXAMPLES: &str = "\
Examples:
  polybus anon -r report.txt -m map.txt       a text with the networks of a map masked
  polybus crosscor -m map.txt report.txt      which of ours are in it, and with whom
  polybus serve anon crosscor --bus URL       workers for others
  polybus up                                  bus, services and log file in one process
  polybus status --bus URL                    what waits, how fast it goes, how long it takes
  polybus broker --journal DIR                a bus for other processes, without a broker product
  polybus check --bus URL                     what a bus can do
  polybus doctor --bus URL                    what on a bus will bite
  polybus install-links ~/bin                 the old program names
";

/// All subcommands as one command, for help, completions and manuals.
pub(crate) fn root() -> Command {
    let subcommands = SUBCOMMANDS.iter().map(|program| {
        let path = format!("{OWN_NAME} {}", program.name);
        command(&path, (program.options)()).name(program.name).hide(program.hidden)
    });
    command(OWN_NAME, Root::command()).subcommands(subcommands).subcommand_required(true)
}

/// Runs the program with this name: an old one, else polybus.
pub(crate) fn run(name: &str, words: Vec<OsString>) -> ExitCode {
    match Program::find(OLD_NAMES, name) {
        Some(program) => (program.run)(&Called { name: name.to_owned(), by_old_name: true }, words),
        None => run_subcommand(&words),
    }
}

fn run_subcommand(words: &[OsString]) -> ExitCode {
    let first = words.first().and_then(|word| word.to_str()).unwrap_or_default();
    let (name, words) = match first {
        "--show-config" => ("config", words[1..].to_vec()),
        "help" if words.len() > 1 => (words[1].to_str().unwrap_or_default(), vec![OsString::from("--help")]),
        name => (name, words.get(1..).unwrap_or_default().to_vec()),
    };
    match Program::find(SUBCOMMANDS, name) {
        Some(program) => {
            (program.run)(&Called { name: format!("{OWN_NAME} {name}"), by_old_name: false }, words)
        }
        None => finish(told(name, words), &Notices::new(OWN_NAME, false)),
    }
}

/// Help and version, or what is wrong with the first word.
fn told(name: &str, rest: Vec<OsString>) -> Outcome {
    let names: Vec<_> =
        SUBCOMMANDS.iter().filter(|program| !program.hidden).map(|program| program.name).collect();
    if matches!(name, "-h" | "--help" | "help" | "-V" | "--version") {
        let word = if name == "help" { "--help" } else { name };
        return tell(root(), std::iter::once(OsString::from(word)).chain(rest).collect());
    }
    let wrong = if name.is_empty() { "no command".to_owned() } else { format!("no command {name}") };
    Err(Failure::usage(format!("{wrong}; there are {}; `polybus --help` explains them", names.join(", "))))
}

/// Reads the command line of a program that needs no bus, and does its work.
pub(crate) fn begin<Options>(
    called: &Called,
    words: Vec<OsString>,
    work: fn(Options, &Notices) -> Outcome,
) -> ExitCode
where
    Options: CommandFactory + FromArgMatches,
{
    let notices = Notices::for_command_line(&called.name, &words);
    let outcome = parse::<Options>(&called.name, words).and_then(|parsed| match parsed {
        Parsed::Run(options) => work(options, &notices),
        Parsed::Told => Ok(()),
    });
    finish(outcome, &notices)
}
