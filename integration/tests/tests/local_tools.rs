//! The local tools at their edges: what the vectors do not show.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Command, Output, Stdio};

use polybus_tests::{Error, Programs, feed};
use serde_json::{Value, json};
use tempfile::TempDir;

const MAP: &str = "192.0.2.0/26|ALPHA|CITYA\n192.0.2.64/26|BRAVO|CITYB\n.city-a.example|ALPHA|CITYA\n";

/// A folder with a map, and the programs.
struct Desk {
    programs: Programs,
    folder: TempDir,
}

impl Desk {
    fn new() -> Result<Self, Error> {
        let desk = Self { programs: Programs::new()?, folder: TempDir::new()? };
        desk.file("map.txt", MAP)?;
        Ok(desk)
    }

    fn file(&self, name: &str, content: &str) -> Result<(), Error> {
        Ok(fs::write(self.folder.path().join(name), content)?)
    }

    fn run(&self, line: &str, input: &[u8]) -> Result<Output, Error> {
        let mut words = line.split(' ');
        let program = words.next().unwrap_or_default();
        let mut command = self.programs.command(program, self.folder.path(), &BTreeMap::new())?;
        command.args(words);
        Ok(feed(command, input)?)
    }

    /// Standard output of a run that must succeed.
    fn text(&self, line: &str, input: &str) -> Result<String, Error> {
        let output = self.run(line, input.as_bytes())?;
        assert!(output.status.success(), "{line}: {output:?}");
        Ok(String::from_utf8(output.stdout)?)
    }
}

#[test]
fn usage_errors_are_one_line_and_exit_2() -> Result<(), Error> {
    let desk = Desk::new()?;
    let lines = [
        "ipgrep --nonsense",
        "ipgrep -n",
        "ipgrep -l -a -n map.txt",
        "ipgrep -a --dns loose -n map.txt",
        "ipgrep -a --method a -n map.txt",
        "ipgrep -a --mask-width 2 -n map.txt",
        "ipgrep --mask-width 9 -n map.txt",
        "ipgrep --pseudonyms map.txt -n map.txt",
        "ipgrep -a --pfx crypto-pan -n map.txt",
        "ipgrep --classes ip5 -n map.txt",
        "ipgrep --tlp blue -n map.txt",
        "ipgrep --build-map asn",
        "ipgrep --json-lines -n map.txt",
        "crosscor --iff neutral -n map.txt",
        "crosscor --compat short -n map.txt",
        "crosscor --break --friend map.txt",
        "crosscor --top 3 -n map.txt",
        "cumdist stray",
        "cumdist -r",
        "polybus nobody",
    ];
    for line in lines {
        let output = desk.run(line, b"192.0.2.1\n")?;
        let said = String::from_utf8(output.stderr)?;
        let program = line.split(' ').next().unwrap_or_default();
        assert_eq!(output.status.code(), Some(2), "{line}: {said}");
        assert!(output.stdout.is_empty(), "{line}");
        assert!(said.starts_with(&format!("{program}: ")) && said.lines().count() == 1, "{line}: {said}");
    }
    Ok(())
}

#[test]
fn help_version_and_usage_need_nothing_else() -> Result<(), Error> {
    let desk = Desk::new()?;
    for program in ["ipgrep", "crosscor", "cumdist"] {
        for option in ["-h", "--help", "--usage"] {
            assert!(desk.text(&format!("{program} {option}"), "")?.contains(program));
        }
        let version = desk.text(&format!("{program} -V"), "")?;
        assert_eq!(version, desk.text(&format!("{program} --version"), "")?);
        let words: Vec<&str> = version.trim_end().split(' ').collect();
        assert!(
            matches!(words[..], [name, _, build] if name == program && build.starts_with('(')),
            "{version}"
        );
    }
    Ok(())
}

#[test]
fn refusals_leave_standard_output_empty() -> Result<(), Error> {
    let desk = Desk::new()?;
    desk.file("empty.txt", "# nobody\n")?;
    desk.file("bad.json", "{\"matchingstats\":{\"A\":-1}}")?;
    desk.file("short.key", "abcd")?;
    desk.file("equal.key", &"ab".repeat(32))?;
    let cases = [
        ("ipgrep -n map.txt nofile", 1),
        ("ipgrep -n map.txt .", 1),
        ("ipgrep -n nofile", 1),
        ("ipgrep -l", 1),
        ("ipgrep -a -n empty.txt", 1),
        ("crosscor -n empty.txt", 1),
        ("crosscor", 1),
        ("crosscor --break --friend map.txt --foe empty.txt", 1),
        ("cumdist -r bad.json", 65),
        ("ipgrep -a --pseudonyms short.key -n map.txt", 78),
        ("ipgrep -a --pfx ipcrypt-pfx --key equal.key -n map.txt", 78),
        ("ipgrep -a --pfx crypto-pan --key nofile -n map.txt", 1),
        ("ipgrep --build-map asn map.txt", 65),
    ];
    for (line, code) in cases {
        let output = desk.run(line, b"192.0.2.1\n")?;
        assert_eq!(output.status.code(), Some(code), "{line}: {output:?}");
        assert!(output.stdout.is_empty() && !output.stderr.is_empty(), "{line}");
    }
    Ok(())
}

#[test]
fn skipped_rows_are_all_counted_and_ten_named() -> Result<(), Error> {
    let desk = Desk::new()?;
    desk.file("broken.txt", &format!("{MAP}{}", "80|a|b\n".repeat(25)))?;
    let output = desk.run("ipgrep -l -n broken.txt", b"192.0.2.1\n")?;
    let said = String::from_utf8(output.stderr)?;
    assert_eq!((output.stdout.as_slice(), output.status.code()), (&b"192.0.2.1\n"[..], Some(0)));
    assert_eq!(said.lines().count(), 11);
    assert!(said.starts_with("ipgrep: broken.txt:4: ") && said.contains("25 rows skipped"), "{said}");
    let output = desk.run("ipgrep --json-errors -l -n broken.txt", b"")?;
    for line in String::from_utf8(output.stderr)?.lines() {
        let line: Value = serde_json::from_str(line)?;
        assert_eq!((&line["program"], &line["code"]), (&json!("ipgrep"), &json!("warning")));
    }
    Ok(())
}

#[test]
fn a_closed_standard_output_ends_quietly() -> Result<(), Error> {
    let desk = Desk::new()?;
    let mut command = desk.programs.command("ipgrep", desk.folder.path(), &BTreeMap::new())?;
    command.args(["-a", "--context", "-n", "map.txt"]).stdin(Stdio::piped());
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let mut input = child.stdin.take().ok_or("no input")?;
    input.write_all(b"192.0.2.1 first\n")?;
    let mut out = BufReader::new(child.stdout.take().ok_or("no output")?);
    let mut line = String::new();
    out.read_line(&mut line)?;
    assert_eq!(line, "[_CITYA_] first\n");
    drop(out);
    // The program notices with its next write, and does not wait for the input, which stays open.
    input.write_all(b"192.0.2.2 second\n")?;
    let status = child.wait()?;
    let mut said = String::new();
    child.stderr.take().ok_or("no errors")?.read_to_string(&mut said)?;
    assert_eq!((status.code(), said.as_str()), (Some(0), ""));
    drop(input);
    Ok(())
}

#[test]
fn statistics_can_go_elsewhere() -> Result<(), Error> {
    let desk = Desk::new()?;
    let block = "Site/host counts\nCITYA: 1 (100.00%)\nALLSITES: 1 (100%)\n";
    assert_eq!(desk.text("ipgrep -s --stats-to stats.out -n map.txt", "192.0.2.1")?, "192.0.2.1");
    assert_eq!(fs::read_to_string(desk.folder.path().join("stats.out"))?, block);
    let output = desk.run("ipgrep --quiet --stats-to stderr -n map.txt", b"192.0.2.1")?;
    assert_eq!((output.stdout, String::from_utf8(output.stderr)?), (vec![], block.to_owned()));
    assert_eq!(desk.text("ipgrep -s -n map.txt", "192.0.2.1")?, format!("192.0.2.1\n\n\n{block}"));
    assert_eq!(desk.text("ipgrep -s -v -n map.txt", "192.0.2.1")?, format!("\n\n{block}"));
    Ok(())
}

#[test]
fn lists_as_json_lines() -> Result<(), Error> {
    let desk = Desk::new()?;
    let text = "192.0.2.1 WWW.city-a.example 2001:db8::1 192.0.2.1\n";
    let listed = "{\"value\":\"192.0.2.1\",\"kind\":\"ip4\",\"label\":\"CITYA\"}\n\
                  {\"value\":\"www.city-a.example\",\"kind\":\"host\",\"label\":\"CITYA\"}\n";
    assert_eq!(desk.text("ipgrep -l --json-lines -n map.txt", text)?, listed);
    let others = "{\"value\":\"2001:db8::1\",\"kind\":\"ip6\",\"label\":null}\n";
    assert_eq!(desk.text("ipgrep -vl --json-lines -n map.txt", text)?, others);
    Ok(())
}

#[test]
fn a_large_input_gives_the_same_from_a_file_and_from_a_pipe() -> Result<(), Error> {
    let desk = Desk::new()?;
    let lines = (0..120_000)
        .map(|n| format!("{n} 192.0.2.{} h{}.city-a.example 203.0.113.{}\n", n % 256, n % 997, n % 251));
    let text: String = lines.collect();
    assert!(text.len() > 5 << 20, "large enough for several threads");
    desk.file("large.log", &text)?;
    for options in ["-a --context -s", "-l", "-v -l", "--json", "-v", "-s --quiet"] {
        let from_file = desk.text(&format!("ipgrep {options} -n map.txt large.log"), "")?;
        let from_pipe = desk.text(&format!("ipgrep {options} -n map.txt"), &text)?;
        assert!(from_file == from_pipe, "{options}");
    }
    let masked = desk.text("ipgrep -a --context -n map.txt large.log", "")?;
    assert_eq!(masked.len(), text.len());
    assert!(masked.starts_with("0 [_CITYA_] [_____CITYA_____] 203.0.113.0\n"), "{}", &masked[..80]);
    Ok(())
}

/// What a command line shows at a terminal, where both of its outputs are.
fn at_a_terminal(desk: &Desk, line: &str) -> Result<String, Error> {
    let (program, options) = line.split_once(' ').unwrap_or((line, ""));
    let line = format!("{} {options}", desk.programs.path(program)?.display());
    let mut command = Command::new("script");
    command.args(["-qec", &line, "/dev/null"]).env("TERM", "xterm");
    let output = command.current_dir(desk.folder.path()).stdin(Stdio::null()).output()?;
    assert!(output.status.success(), "{line}: {output:?}");
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[test]
fn a_progress_bar_is_for_large_inputs_at_a_terminal_that_shows_no_lines() -> Result<(), Error> {
    let desk = Desk::new()?;
    desk.file("large", &"192.0.2.1 and others\n".repeat(400_000))?;
    desk.file("small", "192.0.2.1 and others\n")?;
    for (line, wanted) in [
        ("ipgrep --json -n map.txt large", true),
        ("ipgrep --json -n map.txt small", false),
        ("ipgrep -n map.txt large", false),
    ] {
        let shown = at_a_terminal(&desk, line)?;
        assert_eq!(
            shown.contains(" left"),
            wanted,
            "{line}: {}",
            shown.chars().take(200).collect::<String>()
        );
    }
    let piped = desk.run("ipgrep --json -n map.txt large", b"")?;
    assert!(piped.stderr.is_empty());
    Ok(())
}

#[test]
fn who_met_whom() -> Result<(), Error> {
    let desk = Desk::new()?;
    desk.file("foe.txt", "203.0.113.0/27|X|EVIL\n")?;
    desk.file(
        "cif.json",
        r#"{"program":"cifbulk","results":[{"searchitem":"198.51.100.7","results":[{"cc":"ZZ"}]}]}"#,
    )?;
    let text = "2014-02-20 06:00:00 192.0.2.1 203.0.113.5\n2014-02-20 07:00:00 192.0.2.65 198.51.100.7 198.51.100.8\n";
    let line = "crosscor --break --friend map.txt --foe foe.txt --cif cif.json";
    let report: Value = serde_json::from_str(&desk.text(line, text)?)?;
    assert_eq!(report["span"], json!({"first": "2014-02-20T06:00:00", "last": "2014-02-20T07:00:00"}));
    assert_eq!(report["foes"][0], json!({"site": "EVIL", "identifiers": 1, "talked_to": ["CITYA"]}));
    assert_eq!(report["foes"][1], json!({"site": "cifbulk", "identifiers": 1, "talked_to": ["CITYB"]}));
    assert_eq!(report["unknown"], json!([{"ip4": "198.51.100.8", "lines": 1, "talked_to": ["CITYB"]}]));
    desk.file("earlier.json", &report.to_string())?;
    let again: Value = serde_json::from_str(&desk.text(&format!("{line} --since earlier.json"), text)?)?;
    assert_eq!(again, report, "nothing is new");
    let line = "crosscor --break --friend map.txt --cif cif.json";
    let report: Value = serde_json::from_str(&desk.text(line, text)?)?;
    assert_eq!(report["foes"], json!([{"site": "cifbulk", "identifiers": 1, "talked_to": ["CITYB"]}]));
    let nobody = desk.run("crosscor --break --friend map.txt", text.as_bytes())?;
    assert_eq!(nobody.status.code(), Some(2), "{nobody:?}");
    Ok(())
}

#[test]
fn a_map_from_a_feed() -> Result<(), Error> {
    let desk = Desk::new()?;
    desk.file("feed.txt", "asn|prefix|asn_desc|cc|rir\n64500|203.0.113.0/27|EVILNET, ZZ|ZZ|arin\n|x|||\n")?;
    let map = desk.text("ipgrep --build-map asn feed.txt", "")?;
    assert_eq!(map, "203.0.113.0/27|64500_EVILNET|64500_EVILNET\n");
    desk.file("built.txt", &map)?;
    assert_eq!(
        desk.text("ipgrep -a -n built.txt", "203.0.113.99 203.0.113.9\n")?,
        "203.0.113.99 [64500_EVI]\n"
    );
    assert_eq!(desk.text("ipgrep --build-map rir feed.txt", "")?, "203.0.113.0/27|arin_ZZ|arin_ZZ\n");
    Ok(())
}
