//! How programs end: exit codes, one line on standard error, closed output, signals.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Command, Stdio};

use polybus_tests::{Desk, Error};
use serde_json::Value;

const MAP: &str = "192.0.2.0/24|ALPHA|CITYA\n";

fn desk() -> Result<Desk, Error> {
    let desk = Desk::new()?;
    desk.file("map.txt", MAP)?;
    desk.file("text", "192.0.2.1\n")?;
    desk.file("empty", "")?;
    desk.file("comments.txt", "# nothing\n")?;
    Ok(desk)
}

/// Runs a line that must end with this code, one line on standard error and nothing on standard output.
fn refused(desk: &Desk, line: &str, input: &str, code: i32, word: &str) -> Result<(), Error> {
    let output = desk.run(line, input)?;
    let told = String::from_utf8(output.stderr)?;
    assert_eq!(output.status.code(), Some(code), "{line}: {told}");
    assert!(output.stdout.is_empty(), "{line}: {:?}", String::from_utf8_lossy(&output.stdout));
    assert!(told.lines().count() == 1 && told.contains(word), "{line}: {told:?} does not tell of {word}");
    Ok(())
}

#[test]
fn services_refuse_with_their_codes() -> Result<(), Error> {
    let desk = desk()?;
    for (line, input, code, word) in [
        ("polybus anon -m map.txt -r empty", "", 1, "anon: refused: no-data: "),
        ("polybus anon -r text", "", 1, "anon: refused: no-map: "),
        ("polybus anon -r text -m comments.txt", "", 1, "anon: refused: no-map: "),
        ("polybus crosscor -m comments.txt text", "", 1, "crosscor: refused: no-map: "),
        ("polybus call anon --field data=!", "", 65, "anon: refused: bad-field: "),
        ("polybus call anon --appdata -", r#"{"data":"YQ==","json":"maybe"}"#, 65, "field json"),
        ("polybus call anon --appdata -", r#"{"data":5}"#, 65, "field data"),
        ("polybus call crosscor --appdata -", r#"{"data":"YQ==","iff":"neutral"}"#, 65, "field iff"),
    ] {
        refused(&desk, line, input, code, word)?;
    }
    Ok(())
}

#[test]
fn clients_refuse_before_they_ask() -> Result<(), Error> {
    let desk = desk()?;
    for (line, input, code, word) in [
        ("polybus anon -r none.txt -m map.txt", "", 1, "none.txt: "),
        ("polybus anon -r text -m none.txt", "", 1, "none.txt: "),
        ("polybus anon -r . -m map.txt", "", 1, ".: "),
        ("polybus anon -r text -m map.txt --max-bytes 5", "", 65, "the limit is 5"),
        ("polybus anon -m map.txt --max-bytes 5", "192.0.2.1\n", 65, "the limit is 5"),
        ("polybus anon -r text --max-bytes 100", "", 65, "the limit is 100"),
        ("polybus call anon --appdata -", "[]", 65, "not a JSON object"),
        ("polybus call anon --appdata -", "{", 65, "--appdata -"),
        ("polybus call anon --file-field data=none", "", 1, "none: "),
        ("polybus call nope", "", 69, "nobody serves nope"),
        ("polybus anon -r text -m map.txt --timeout 0.000000001", "", 75, "deadline passed"),
        ("polybus anon -r text --bus warp://x", "", 78, "embedded:"),
        ("polybus anon -r text --bus embedded:?speed=9", "", 78, "speed"),
        ("polybus anon -r text --bus embedded: -q a*b", "", 2, "name"),
        ("polybus anon -r text --log-exchange a*b", "", 2, "name"),
        ("polybus serve anon", "", 78, "inside this process"),
        ("polybus log tail", "", 78, "inside this process"),
        ("polybus log send -m x", "", 78, "no bus is named"),
        ("logmon --bus embedded:", "", 78, "inside this process"),
        ("anon_server --bus embedded:", "", 78, "inside this process"),
    ] {
        refused(&desk, line, input, code, word)?;
    }
    Ok(())
}

#[test]
fn usage_errors_end_with_2() -> Result<(), Error> {
    let desk = desk()?;
    for line in [
        "polybus",
        "polybus nonsense",
        "polybus anon --nonsense",
        "polybus anon stray.txt",
        "polybus anon --timeout soon",
        "polybus anon --timeout=-1",
        "polybus anon --max-bytes 0",
        "polybus anon --protocol-version 0/5",
        "polybus anon --port 99999 --server mq.example.org",
        "polybus anon --compat old",
        "polybus crosscor -I neutral",
        "polybus call",
        "polybus call anon --field data",
        "polybus serve",
        "polybus serve nope --bus embedded:",
        "polybus serve anon --jobs 0 --bus embedded:",
        "polybus serve anon --dead-letter some --bus embedded:",
        "polybus check nope",
        "polybus log",
        "polybus log watch",
        "polybus log tail --grep ( --bus embedded:",
        "polybus log send --display-utc -m x --bus embedded:",
        "polybus completions tcl",
        "polybus completions bash --for nope",
        "polybus install-links",
        "anon_client -x",
        "crosscor_client --iff both",
        "crosscor_client stray.txt --bus embedded:",
        "logmon stray",
    ] {
        refused(&desk, line, "", 2, "")?;
    }
    Ok(())
}

#[test]
fn old_names_want_a_password_and_then_a_broker() -> Result<(), Error> {
    let desk = desk()?;
    for program in ["anon_client", "anon_server", "crosscor_client", "crosscor_server", "logmon"] {
        refused(&desk, program, "", 78, "password")?;
    }
    // Nothing listens on this port, and one attempt is enough.
    let desk = desk.with_variable("RPC_PWD", "s3cret").with_variable("RPC_SERVER", "127.0.0.1:9");
    let desk = desk.with_variable("POLYBUS_CONNECT_SECONDS", "0");
    for line in
        ["anon_client -r text", "crosscor_client -r text", "anon_client -r text --no-retry", "logmon -m x"]
    {
        let output = desk.run(line, "")?;
        let told = String::from_utf8(output.stderr)?;
        assert_eq!(output.status.code(), Some(69), "{line}: {told}");
        assert!(told.contains("cannot connect") && told.contains("--bus embedded:"), "{line}: {told}");
        assert!(!told.contains("s3cret"), "{told}");
    }
    let output = desk.run("anon_client -r text -m map.txt --bus embedded:", "")?;
    assert_eq!((output.status.code(), &*output.stdout), (Some(0), &b"[_CITYA_]\n"[..]));
    Ok(())
}

#[test]
fn errors_can_be_objects() -> Result<(), Error> {
    let desk = desk()?;
    for (line, code) in [
        ("anon_client -r none.txt --bus embedded: --json-errors", "unreadable"),
        ("anon_client --nonsense --json-errors", "usage"),
        ("polybus call nope --json-errors", "no-responder"),
    ] {
        let told: Value = serde_json::from_slice(&desk.run(line, "")?.stderr)?;
        assert_eq!(told["code"], code, "{line}: {told}");
        assert!(told["program"].is_string() && told["text"].is_string(), "{told}");
    }
    Ok(())
}

#[test]
fn dumps_are_private_and_terse() -> Result<(), Error> {
    let desk = desk()?;
    fs::create_dir(desk.path("dump"))?;
    let output = desk.run("anon_client -r text -m map.txt --bus embedded: --dump dump", "")?;
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    for name in ["anon_client-lastrequest.txt", "anon_client-lastresponse.txt"] {
        let path = desk.path("dump").join(name);
        assert_eq!(fs::metadata(&path)?.permissions().mode() & 0o777, 0o600);
        let text = fs::read_to_string(path)?;
        let frame: Value = serde_json::from_str(&text)?;
        assert!(
            frame["appdata"].is_object() && text.contains("; SHA1: ") && text.contains("\n    \"appdata\"")
        );
    }
    let output = desk.run("anon_client -r text -m map.txt --bus embedded: --dump nowhere", "")?;
    assert_eq!(
        (output.status.code(), output.stderr.is_empty()),
        (Some(0), false),
        "the call goes on without a dump"
    );
    Ok(())
}

#[test]
fn a_closed_standard_output_is_no_failure() -> Result<(), Error> {
    let desk = desk()?;
    desk.file("large", "192.0.2.1 198.51.100.1\n".repeat(1 << 16))?;
    for line in ["polybus anon -r large -m map.txt", "polybus --help", "polybus completions bash"] {
        let mut child = desk.command(line)?.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
        drop(child.stdout.take());
        assert_eq!(child.wait()?.code(), Some(0), "{line}");
    }
    Ok(())
}

/// A program that waits for its standard input while it is connected.
fn waiting(desk: &Desk) -> Result<Child, Error> {
    let mut command = desk.command("polybus log send -v --bus embedded:")?;
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?;
    let mut told = BufReader::new(child.stderr.take().ok_or("standard error is a pipe")?);
    let mut line = String::new();
    while !line.contains("connected") {
        line.clear();
        assert!(told.read_line(&mut line)? > 0, "it ended before it was connected");
    }
    child.stderr = Some(told.into_inner());
    Ok(child)
}

#[test]
fn signals_end_a_client_with_their_codes() -> Result<(), Error> {
    let desk = desk()?;
    for (signal, code) in [("-INT", 130), ("-TERM", 143)] {
        let mut child = waiting(&desk)?;
        // Waiting for a child closes its standard input, which would end it too.
        let open = child.stdin.take();
        assert!(Command::new("kill").args([signal, &child.id().to_string()]).status()?.success());
        assert_eq!(child.wait()?.code(), Some(code), "{signal}");
        drop(open);
    }
    let mut child = waiting(&desk)?;
    drop(child.stdin.take());
    assert_eq!(child.wait()?.code(), Some(0));
    let mut told = String::new();
    child.stderr.take().ok_or("standard error is a pipe")?.read_to_string(&mut told)?;
    assert!(told.contains("0 lines published"), "{told}");
    Ok(())
}
