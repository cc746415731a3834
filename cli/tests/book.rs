//! The book and the program say the same: the reference is the one that the program prints, and every `console` block
//! of the book and the README is run and must print what the page shows.
//!
//! Lines that begin with `$ ` are commands for bash, the lines behind one are its output, standard error included. The
//! commands of one page run in one folder, which holds the samples. `UPDATE_DOCS=1 cargo test -p polybus-cli --test
//! book` writes the output of today into the pages.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests end at the first surprise")]

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{env, fs};

const POLYBUS: &str = env!("CARGO_BIN_EXE_polybus");

/// Longest run of one command, in seconds.
const PATIENCE: &str = "60";

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn pages() -> Vec<PathBuf> {
    let book = fs::read_dir(root().join("docs/src")).unwrap().map(|entry| entry.unwrap().path());
    let mut pages: Vec<_> = book.filter(|path| path.extension().is_some_and(|end| end == "md")).collect();
    pages.sort();
    pages.push(root().join("README.md"));
    pages
}

/// The folder in which the commands of one page run.
struct Desk {
    folder: tempfile::TempDir,
    programs: PathBuf,
}

impl Desk {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        for name in ["report.json", "mail.log", "map.txt", "foe.txt", "sites.yml"] {
            fs::copy(root().join("integration/samples").join(name), folder.path().join(name)).unwrap();
        }
        let programs = folder.path().join(".programs");
        let links = Command::new(POLYBUS).arg("install-links").arg(&programs).output().unwrap();
        assert!(links.status.success(), "{}", String::from_utf8_lossy(&links.stderr));
        std::os::unix::fs::symlink(POLYBUS, programs.join("polybus")).unwrap();
        Self { folder, programs }
    }

    fn run(&self, command: &str) -> String {
        let path = format!("{}:/usr/bin:/bin", self.programs.display());
        let output = Command::new("timeout")
            .args([PATIENCE, "bash", "-c", &format!("exec 2>&1\n{command}")])
            .current_dir(self.folder.path())
            .env_clear()
            .envs([("PATH", path.as_str()), ("TZ", "UTC"), ("LC_ALL", "C"), ("HOME", "/nonexistent")])
            .stdin(Stdio::null())
            .output()
            .unwrap();
        assert_ne!(output.status.code(), Some(124), "`{command}` took longer than {PATIENCE} s");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}

/// The page with the output of today.
fn rewritten(page: &str) -> String {
    let mut out = String::new();
    let mut desk = None;
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        push(&mut out, line);
        if line == "```console" {
            let block: Vec<_> = lines.by_ref().take_while(|line| *line != "```").collect();
            let desk = desk.get_or_insert_with(Desk::new);
            for command in commands(&block) {
                push(&mut out, &format!("$ {command}"));
                desk.run(&command).lines().for_each(|line| push(&mut out, line));
            }
            push(&mut out, "```");
        }
    }
    out
}

/// The commands of a block, those that go on behind a backslash whole.
fn commands(block: &[&str]) -> Vec<String> {
    let mut commands: Vec<String> = Vec::new();
    let mut goes_on = false;
    for line in block {
        match (line.strip_prefix("$ "), commands.last_mut()) {
            (Some(command), _) => commands.push(command.to_owned()),
            (None, Some(command)) if goes_on => {
                command.push('\n');
                command.push_str(line);
            }
            _ => continue,
        }
        goes_on = line.ends_with('\\');
    }
    commands
}

fn push(out: &mut String, line: &str) {
    out.push_str(line);
    out.push('\n');
}

fn check(path: &Path) -> Option<String> {
    let page = fs::read_to_string(path).unwrap();
    let want = rewritten(&page);
    if env::var_os("UPDATE_DOCS").is_some() {
        fs::write(path, &want).unwrap();
    }
    let pair = page.lines().zip(want.lines()).find(|(shown, printed)| shown != printed);
    let told = pair.map(|(shown, printed)| format!("shown:   {shown}\nprinted: {printed}"));
    (page != want)
        .then(|| format!("{}\n{}", path.display(), told.unwrap_or_else(|| "lengths differ".to_owned())))
}

#[test]
fn commands_print_what_the_pages_show() {
    let wrong: Vec<_> = pages().iter().filter_map(|path| check(path)).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

#[test]
fn a_command_may_go_on_in_the_next_line() {
    let block = ["$ printf a \\", "  b", "output", "$ true", "more"];
    assert_eq!(commands(&block), ["printf a \\\n  b", "true"]);
}

#[test]
fn the_reference_is_what_the_program_prints() {
    let path = root().join("docs/src/reference.md");
    let printed = Command::new(POLYBUS).arg("reference").output().unwrap();
    assert!(printed.status.success());
    if env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&path, &printed.stdout).unwrap();
    }
    let shown = fs::read(&path).unwrap_or_default();
    assert!(shown == printed.stdout, "{} is out of date; write it anew with UPDATE_DOCS=1", path.display());
}
