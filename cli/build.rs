//! Names the exact source of a build: `POLYBUS_BUILD` from the environment, else the commit, else `release`.

use std::env;
use std::path::Path;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-env-changed=POLYBUS_BUILD");
    let log = "../.git/logs/HEAD";
    if Path::new(log).exists() {
        println!("cargo::rerun-if-changed={log}");
    }
    println!("cargo::rerun-if-changed=build.rs");
    let build = env::var("POLYBUS_BUILD").ok().or_else(commit).unwrap_or_else(|| "release".to_owned());
    println!("cargo::rustc-env=POLYBUS_BUILD={build}");
}

fn commit() -> Option<String> {
    let output = Command::new("git").args(["rev-parse", "--short=12", "HEAD"]).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let commit = text.trim();
    if output.status.success() && !commit.is_empty() { Some(commit.to_owned()) } else { None }
}
