//! `polybus reference`: the page of the book that lists every command.

use std::ffi::OsString;
use std::fmt::Write;
use std::process::ExitCode;

use clap::{Arg, Command, Parser};

use crate::console::print;
use crate::program::{self, Called, OLD_NAMES, begin};

/// Print the reference of all commands as Markdown.
#[derive(Debug, Parser)]
pub(crate) struct Options {}

const HEAD: &str = "\
# Commands

<!-- Written by `polybus reference`. Change the texts in the program, not here. -->

Every program understands `-h`/`--help` and `-V`/`--version`. Options may be joined (`-vs`), carry their value
attached or as the next word (`-rFILE`, `-r FILE`, `--file=FILE`, `--file FILE`), and be mixed with file names;
`--` ends them. Exit codes: 0 done, 1 refused, 2 usage, 65 input data wrong, 69 nobody serves this, 70 internal
error, 75 deadline passed, 76 protocol, 77 not permitted, 78 configuration wrong, 130 interrupted, 143 terminated;
a client otherwise ends with the code of the reply.
";

pub(crate) fn run(called: &Called, words: Vec<OsString>) -> ExitCode {
    begin::<Options>(called, words, |_, _| print(&markdown()))
}

fn markdown() -> String {
    let mut page = HEAD.to_owned();
    section(&mut page, &program::root(), "polybus", 2);
    page.push_str("\n## Old program names\n\nLinks with these names are made by `polybus install-links`.\n");
    for program in OLD_NAMES {
        section(&mut page, &program.described(), program.name, 3);
    }
    page
}

fn section(page: &mut String, command: &Command, name: &str, level: usize) {
    let mut command = command.clone().bin_name(name).display_name(name);
    let about = command.get_long_about().or(command.get_about()).map(ToString::to_string).unwrap_or_default();
    let usage = command.render_usage().to_string();
    let usage = usage.trim_start_matches("Usage: ").trim_end();
    add(
        page,
        format_args!("\n{} {name}\n\n{}\n\n```text\n{usage}\n```\n", "#".repeat(level), about.trim_end()),
    );
    arguments(page, &command);
    if let Some(text) = command.get_after_long_help().or(command.get_after_help()) {
        add(page, format_args!("\n```text\n{}\n```\n", text.to_string().trim_end()));
    }
    for inner in command.get_subcommands().filter(|inner| !inner.is_hide_set()) {
        section(page, inner, &format!("{name} {}", inner.get_name()), level + 1);
    }
}

fn arguments(page: &mut String, command: &Command) {
    let told = |arg: &&Arg| !arg.is_hide_set() && !["help", "version"].contains(&arg.get_id().as_str());
    let mut heading = None;
    for arg in command.get_arguments().filter(told) {
        if arg.get_help_heading() != heading || page.ends_with("```\n") {
            heading = arg.get_help_heading();
            let title = heading.map_or_else(String::new, |heading| format!("\n{heading}:\n"));
            add(page, format_args!("{title}\n"));
        }
        add(page, format_args!("- {}: {}\n", spelled(arg), explained(arg)));
    }
}

fn spelled(arg: &Arg) -> String {
    let names = arg.get_value_names().unwrap_or_default().iter().map(|name| format!(" {name}"));
    let value = if arg.get_action().takes_values() { names.collect() } else { String::new() };
    let short = arg.get_short().map(|letter| format!("`-{letter}`"));
    let long = arg.get_long().map(|word| format!("`--{word}{value}`"));
    match (short, long) {
        (None, None) => format!("`{}`", value.trim_start()),
        (Some(short), None) => format!("{}{value}`", short.trim_end_matches('`')),
        (short, Some(long)) => short.into_iter().chain([long]).collect::<Vec<_>>().join(", "),
    }
}

fn explained(arg: &Arg) -> String {
    let help = arg.get_long_help().or(arg.get_help()).map(ToString::to_string).unwrap_or_default();
    let help = help.split_whitespace().collect::<Vec<_>>().join(" ");
    let defaults: Vec<_> = arg.get_default_values().iter().map(|value| value.to_string_lossy()).collect();
    if defaults.is_empty() || !arg.get_action().takes_values() {
        return help;
    }
    format!("{help} Default: {}.", defaults.join(","))
}

/// Writing to a text cannot fail.
fn add(page: &mut String, text: std::fmt::Arguments<'_>) {
    let _written = page.write_fmt(text);
}
