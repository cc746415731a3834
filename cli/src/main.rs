//! The polybus command: one executable that is every program of the suite, by the name it is called by.

mod console;
mod tools;

use std::env;
use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let mut words = env::args_os();
    let called = words.next().unwrap_or_default();
    let words: Vec<OsString> = words.collect();
    let program = Path::new(&called).file_name().map(|name| name.to_string_lossy().into_owned());
    let program = program.unwrap_or_else(|| "polybus".to_owned());
    match tools::by_name(&program) {
        Some(tool) => tool(&program, words),
        None => tools::by_first_word(&program, words),
    }
}
