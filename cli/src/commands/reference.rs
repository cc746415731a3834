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
    let mut page = Page { text: HEAD.to_owned(), groups: Vec::new() };
    page.section(&program::root(), "polybus", 2);
    page.text
        .push_str("\n## Old program names\n\nLinks with these names are made by `polybus install-links`.\n");
    for program in OLD_NAMES {
        page.section(&program.described(), program.name, 3);
    }
    page.text
}

/// The page so far.
struct Page {
    text: String,
    /// Groups of options that have been listed, and where.
    groups: Vec<(String, String)>,
}

impl Page {
    fn section(&mut self, command: &Command, name: &str, level: usize) {
        let mut command = command.clone().bin_name(name).display_name(name);
        let about = command.get_long_about().or(command.get_about()).map(ToString::to_string);
        let about = about.unwrap_or_default();
        let usage = command.render_usage().to_string();
        let usage = usage.trim_start_matches("Usage: ").trim_end();
        let title = "#".repeat(level);
        add(
            &mut self.text,
            format_args!("\n{title} {name}\n\n{}\n\n```text\n{usage}\n```\n", about.trim_end()),
        );
        self.options(&command, name);
        if let Some(text) = command.get_after_long_help().or(command.get_after_help()) {
            add(&mut self.text, format_args!("\n```text\n{}\n```\n", text.to_string().trim_end()));
        }
        for inner in command.get_subcommands().filter(|inner| !inner.is_hide_set()) {
            self.section(inner, &format!("{name} {}", inner.get_name()), level + 1);
        }
    }

    /// The options by their groups. A group that stands elsewhere already is only named.
    fn options(&mut self, command: &Command, name: &str) {
        for (heading, list) in groups(command) {
            let Some(heading) = heading else {
                add(&mut self.text, format_args!("\n{list}"));
                continue;
            };
            if let Some((_, place)) = self.groups.iter().find(|(known, _)| *known == list) {
                let anchor = place.replace(' ', "-");
                add(&mut self.text, format_args!("\n{heading}: as for [{place}](#{anchor}).\n"));
            } else {
                add(&mut self.text, format_args!("\n{heading}:\n\n{list}"));
                self.groups.push((list, name.to_owned()));
            }
        }
    }
}

/// The options of a command, those of one heading together.
fn groups(command: &Command) -> Vec<(Option<&str>, String)> {
    let told = |arg: &&Arg| !arg.is_hide_set() && !["help", "version"].contains(&arg.get_id().as_str());
    let mut groups: Vec<(Option<&str>, String)> = Vec::new();
    for arg in command.get_arguments().filter(told) {
        let line = format!("- {}: {}\n", spelled(arg), explained(arg));
        match groups.iter_mut().find(|(heading, _)| *heading == arg.get_help_heading()) {
            Some((_, list)) => list.push_str(&line),
            None => groups.push((arg.get_help_heading(), line)),
        }
    }
    groups
}

fn spelled(arg: &Arg) -> String {
    let names = arg.get_value_names().unwrap_or_default().iter().map(|name| format!(" {name}"));
    let value: String = if arg.get_action().takes_values() { names.collect() } else { String::new() };
    let shorts = arg.get_short_and_visible_aliases().unwrap_or_default();
    let longs = arg.get_long_and_visible_aliases().unwrap_or_default();
    if shorts.is_empty() && longs.is_empty() {
        return format!("`{}`", value.trim_start());
    }
    let value_of_short = if longs.is_empty() { value.as_str() } else { "" };
    let shorts = shorts.iter().map(|letter| format!("`-{letter}{value_of_short}`"));
    let longs = longs.iter().map(|word| format!("`--{word}{value}`"));
    shorts.chain(longs).collect::<Vec<_>>().join(", ")
}

fn explained(arg: &Arg) -> String {
    let help = arg.get_long_help().or(arg.get_help()).map(ToString::to_string).unwrap_or_default();
    let help = help.split_whitespace().collect::<Vec<_>>().join(" ");
    let help = format!("{}.", help.trim_end_matches('.'));
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
