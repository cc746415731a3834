//! `logmon`: watches or feeds a log topic (PRISEM services specification, 9.4).

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;

use crate::commands::log::{send, tail};
use crate::console::{Notices, Outcome};
use crate::options::{Compat, Showing, Watching};
use crate::program::Called;
use crate::session::begin;

/// Show the lines of a log topic as they come, or publish lines to it with -m or -s.
#[derive(Debug, Parser)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Options {
    /// Publish this line and end; with -s it stands, and a blank, before each of the lines.
    #[arg(short = 'm', long, value_name = "TEXT")]
    send_message: Option<String>,
    /// Publish each line of the files, or of standard input for `-` and for none.
    #[arg(short, long)]
    send: bool,
    /// Files for -s.
    #[arg(value_name = "FILE", requires = "send")]
    files: Vec<PathBuf>,
    #[command(flatten)]
    watching: Watching,
    #[command(flatten)]
    showing: Showing,
    /// Old behaviours by their names: receipt-time shows when lines came instead of when they were sent.
    #[arg(long, value_name = "WORD[,WORD]", value_delimiter = ',', hide_possible_values = true)]
    compat: Vec<Compat>,
}

const EXAMPLES: &str = "\
Examples:
  {program}                                       everything on the topic logs
  {program} -l health --display-localtime         another topic, local time
  {program} -l devops -m deployed                 one line for those who watch devops
  make 2>&1 | {program} -l devops --send -        every line of an output
  {program} -l devops -m host1 -s messages.txt    lines of a file, each with a word before it
";

pub(crate) fn run(called: &Called, words: Vec<OsString>) -> ExitCode {
    begin::<Options, _>(called, words, |options| &options.watching, monitor_or_send)
}

fn monitor_or_send(called: &Called, options: &Options, notices: &Notices) -> Outcome {
    let Options { send_message, send, files, watching, showing, compat } = options;
    if send_message.is_none() && !*send {
        return tail::watch(called, watching, showing, compat, notices);
    }
    send::publish(called, &watching.topic, send_message.as_deref(), send.then_some(files), notices)
}
