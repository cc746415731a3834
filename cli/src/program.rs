//! The programs in this executable, and how each is begun.

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{Command, CommandFactory, FromArgMatches};

use crate::console::{Notices, Outcome, Parsed, command, finish, parse};
use crate::{commands, tools};

/// One program: a subcommand of polybus, or an old program by its own name.
pub(crate) struct Program {
    /// Its name.
    pub(crate) name: &'static str,
    /// Does it.
    pub(crate) run: fn(&Called, Vec<OsString>) -> ExitCode,
    /// Its options, for help texts.
    pub(crate) options: fn() -> Command,
    /// Whether it is left out of listings.
    pub(crate) hidden: bool,
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

    /// The same call, one subcommand further.
    pub(crate) fn with(&self, subcommand: &str) -> Self {
        Self { name: format!("{} {subcommand}", self.name), by_old_name: self.by_old_name }
    }
}

macro_rules! programs {
    ($($name:literal => $($path:ident)::+ $(, $hidden:ident)?;)*) => {
        &[$(Program {
            name: $name,
            run: $($path)::+::run,
            options: <$($path)::+::Options as CommandFactory>::command,
            hidden: programs!(@ $($hidden)?),
        }),*]
    };
    (@) => { false };
    (@ hidden) => { true };
}

/// The subcommands of polybus.
pub(crate) const SUBCOMMANDS: &[Program] = programs! {
    "anon" => commands::anon;
    "crosscor" => commands::crosscor;
    "ipgrep" => tools::ipgrep;
    "cumdist" => tools::cumdist;
    "call" => commands::call;
    "serve" => commands::serve;
    "log" => commands::log;
    "check" => commands::check;
    "config" => commands::config;
    "install-links" => commands::install_links;
    "completions" => commands::completions;
    "man" => commands::man;
    "reference" => commands::reference, hidden;
};

/// The old programs (0).
pub(crate) const OLD_NAMES: &[Program] = programs! {
    "anon_client" => commands::anon;
    "anon_server" => commands::server::anon;
    "crosscor" => tools::crosscor;
    "crosscor_client" => commands::crosscor;
    "crosscor_server" => commands::server::crosscor;
    "cumdist" => tools::cumdist;
    "ipgrep" => tools::ipgrep;
    "logmon" => commands::logmon;
};

impl Program {
    /// Its options under its name, as help, manual and reference show them.
    pub(crate) fn described(&self) -> Command {
        command(self.name, (self.options)()).hide(self.hidden)
    }
}
