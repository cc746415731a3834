//! The polybus command: one executable that is every program of the suite, by the name it is called by.

mod commands;
mod console;
mod legacy;
mod options;
mod program;
mod session;
mod tools;

use std::env;
use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let mut words = env::args_os();
    let called = words.next().unwrap_or_default();
    let words: Vec<OsString> = words.collect();
    let name = Path::new(&called).file_name().map(|name| name.to_string_lossy().into_owned());
    program::run(name.as_deref().unwrap_or_default(), words)
}
