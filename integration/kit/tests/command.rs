//! The command `polybus-kit`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests end at the first surprise")]

use std::path::Path;
use std::process::Output;

use polybus_kit::{Entry, Event, Flushing, Ledger, Stamp};
use serde_json::Value;

fn kit(arguments: &[&str]) -> Output {
    std::process::Command::new(env!("CARGO_BIN_EXE_polybus-kit")).args(arguments).output().unwrap()
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn k7_a_good_run_reports_as_lines_json_and_page() {
    let folder = tempfile::tempdir().unwrap();
    let report = folder.path().to_str().unwrap();
    let selected = ["--case", "D2", "--case", "headers_exact", "--seed", "7", "--report", report];
    let run = kit(&[&["run", "--bus", "embedded:kit?max_message=65536"], &selected[..]].concat());
    assert_eq!(code(&run), 0, "{}", text(&run.stderr));
    let lines = text(&run.stdout);
    assert!(
        lines.contains("seed 7") && lines.contains("A4 headers_exact") && lines.contains("2 pass"),
        "{lines}"
    );
    let json: Value =
        serde_json::from_slice(&std::fs::read(folder.path().join("report.json")).unwrap()).unwrap();
    assert_eq!(json["cases"][1]["verdict"], "pass");
    assert_eq!(json["seed"], 7);
    let page = std::fs::read_to_string(folder.path().join("report.html")).unwrap();
    assert!(
        page.contains("No promise was found broken") && !page.contains("http"),
        "the page needs nothing else"
    );
}

#[test]
fn k7_what_was_not_run_is_no_pass() {
    let run = kit(&["run", "--bus", "embedded:kit", "--case", "B5", "--json"]);
    assert_eq!(code(&run), 2, "nothing ran at all");
    let json: Value = serde_json::from_slice(&run.stdout).unwrap();
    assert_eq!(json["cases"][0]["verdict"], "not_run");
    let run = kit(&["run", "--bus", "embedded:kit", "--case", "B5", "--case", "D2", "--require-all"]);
    assert_eq!(code(&run), 3);
    let neighbour = ["--neighbour", "embedded:kit-neighbour"];
    let run =
        kit(&[&["run", "--bus", "embedded:kit", "--case", "B5", "--require-all"], &neighbour[..]].concat());
    assert_eq!(code(&run), 0, "{}", text(&run.stdout));
}

#[test]
fn faults_of_the_command_line_are_named() {
    for (arguments, word) in [
        (&["run", "--bus", "embedded:"][..], "name the bus"),
        (&["run", "--bus", "embedded:kit", "--case", "Z9"], "Z9"),
        (&["run", "--bus", "nonsense"], "nonsense"),
        (&["run", "--bus", "embedded:kit", "--time", "tea=5s"], "tea=5s"),
        (&["run", "--process", "/no/such/transport"], "/no/such/transport"),
        (&["check", "/no/such/ledger"], "/no/such/ledger"),
    ] {
        let run = kit(arguments);
        assert_eq!(code(&run), 2, "{arguments:?}");
        assert!(text(&run.stderr).contains(word), "{arguments:?}: {}", text(&run.stderr));
    }
}

/// The embedded bus in memory beside the one with a journal and beside one in another process: some cases of each kind
/// here, all of them by hand and on brokers.
#[test]
fn r3_two_buses_are_compared() {
    let folder = tempfile::tempdir().unwrap();
    let journal = format!("embedded://{}?max_message=1048576", folder.path().join("bus").display());
    let program = std::fs::canonicalize(env!("CARGO_BIN_EXE_polybus-kit")).unwrap();
    let process = format!("{} serve --bus embedded:served?max_message=1048576", program.display());
    let here = ["run", "--bus", "embedded:here?max_message=1048576", "--json"];
    let some = ["--group", "D", "--case", "A4", "--case", "E1", "--case", "G1", "--case", "K5s"];
    for other in [["--against", &journal], ["--against-process", &process]] {
        let run = kit(&[&here[..], &some[..], &other[..]].concat());
        assert_eq!(code(&run), 0, "{}", text(&run.stdout));
        let report: Value = serde_json::from_slice(&run.stdout).unwrap();
        let parity = report["cases"].as_array().unwrap().iter().find(|case| case["id"] == "R3").unwrap();
        assert_eq!(parity["verdict"], "pass", "{parity}");
        assert!(parity["why"].as_str().unwrap().starts_with("15 cases"), "{parity}");
    }
    let nobody = kit(&[&here[..], &["--against-process", "/no/such/transport"]].concat());
    assert_eq!(code(&nobody), 2);
}

#[test]
fn the_list_names_every_case() {
    let run = kit(&["list"]);
    let lines = text(&run.stdout);
    for case in polybus_kit::cases::all() {
        assert!(lines.contains(case.name), "{case:?}");
    }
}

fn ledger(path: &Path, received: u64) {
    let ledger = Ledger::open(path, Flushing::EachLine).unwrap();
    for number in 0..3 {
        let stamp = Stamp::new("run", "p", number, b"");
        ledger.write(&Entry::now(Event::Sent, &stamp)).unwrap();
        ledger.write(&Entry::now(Event::Confirmed, &stamp)).unwrap();
        if number < received {
            ledger.write(&Entry::now(Event::Received, &stamp).by("c", Some(1))).unwrap();
        }
    }
}

#[test]
fn k3_ledgers_are_checked_alone() {
    let folder = tempfile::tempdir().unwrap();
    let (whole, lossy) = (folder.path().join("whole"), folder.path().join("lossy"));
    ledger(&whole, 3);
    ledger(&lossy, 2);
    assert_eq!(code(&kit(&["check", whole.to_str().unwrap(), "--duplicates", "0", "--order"])), 0);
    let run = kit(&["check", lossy.to_str().unwrap(), "--json"]);
    assert_eq!(code(&run), 1);
    let found: Value = serde_json::from_slice(&run.stdout).unwrap();
    assert_eq!(found["lost"], 1);
    assert_eq!(code(&kit(&["check", lossy.to_str().unwrap(), "--partial"])), 0);
}
