//! Lines on standard error.

use std::ffi::OsString;
use std::io::{self, Write};

use polybus::log::Level;
use serde_json::json;

/// Writes notices of a program to standard error, one line each (3.5).
#[derive(Clone, Debug)]
pub(crate) struct Notices {
    program: String,
    json: bool,
    verbose: bool,
}

impl Notices {
    /// Notices under the name that the program was called by; with `json` each is an object (11.1).
    pub(crate) fn new(program: &str, json: bool) -> Self {
        Self { program: program.to_owned(), json, verbose: false }
    }

    /// Notices of a program before its command line is read, which may itself be at fault.
    pub(crate) fn for_command_line(program: &str, words: &[OsString]) -> Self {
        Self::new(program, words.iter().any(|word| word == "--json-errors"))
    }

    /// The same, with progress if it was asked for.
    pub(crate) fn with_progress(self, verbose: bool) -> Self {
        Self { verbose, ..self }
    }

    /// What ends the program.
    pub(crate) fn error(&self, code: &str, text: &str) {
        self.line(code, text);
    }

    /// What is wrong with a result that is usable all the same.
    pub(crate) fn warning(&self, text: &str) {
        self.line("warning", text);
    }

    /// What is going on; shown only if it was asked for.
    pub(crate) fn progress(&self, text: impl FnOnce() -> String) {
        if self.verbose {
            self.line("progress", &text());
        }
    }

    /// A log line, with its level as code.
    pub(crate) fn log(&self, level: Level, text: &str) {
        self.line(&level.as_str().to_ascii_lowercase(), text);
    }

    fn line(&self, code: &str, text: &str) {
        let line = if self.json {
            json!({"program": self.program, "code": code, "text": text}).to_string()
        } else {
            format!("{}: {}", self.program, one_line(text))
        };
        // Without a standard error there is nobody to tell.
        let _told = writeln!(io::stderr().lock(), "{line}");
    }
}

/// Control bytes would let a file name or a row write to the terminal what it likes.
fn one_line(text: &str) -> String {
    let shown = |sign: char| match sign {
        '\n' => " ".to_owned(),
        sign if sign.is_control() => sign.escape_default().collect(),
        sign => sign.to_string(),
    };
    text.trim_end().chars().map(shown).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_notice_is_one_harmless_line() {
        assert_eq!(one_line("a\nb\u{1b}[2Jé\n"), "a b\\u{1b}[2Jé");
    }
}
