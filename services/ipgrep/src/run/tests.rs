//! Runs against the published cases, and against each other.

use std::fs;
use std::num::NonZeroUsize;

use proptest::prelude::*;

use super::*;
use crate::key::SecretKey;
use crate::map::MapOptions;
use crate::mask::{MaskOptions, Masker, PfxScope};
use crate::pfx::{Pfx, PfxMode};
use crate::scan::Dns;
use crate::vectors;

fn map_of(name: &str) -> Map {
    let file = fs::read(vectors::folder().join("inputs").join(name)).unwrap();
    Map::parse(&file, &MapOptions::default()).unwrap().map
}

fn run_on(text: &[u8], map: &Map, options: &RunOptions<'_>) -> (Vec<u8>, Report) {
    let mut out = Vec::new();
    let report = run([text], &mut out, map, options).unwrap();
    assert_eq!(report.written, out.len() as u64);
    (out, report)
}

fn outputs(masker: &Masker) -> Vec<Output<'_>> {
    let selects = [Select::Matching, Select::NonMatching, Select::All];
    let lines = selects
        .iter()
        .flat_map(|select| [Output::Lines(*select, None), Output::Lines(*select, Some(masker))]);
    lines.chain([Output::Nothing, Output::Matching, Output::NonMatching]).collect()
}

#[test]
fn published_cases() {
    let map = map_of("map.txt");
    let masker = Masker::new(&map, MaskOptions::default());
    let text = fs::read(vectors::folder().join("inputs/mixed.log")).unwrap();
    for (case, output) in [
        ("ipgrep-grep", Output::Lines(Select::Matching, None)),
        ("ipgrep-anon", Output::Lines(Select::Matching, Some(&masker))),
        ("ipgrep-context", Output::Lines(Select::All, Some(&masker))),
        ("ipgrep-context-only", Output::Lines(Select::All, None)),
        ("ipgrep-revert", Output::Lines(Select::NonMatching, None)),
        ("ipgrep-list", Output::Matching),
        ("ipgrep-list-rev", Output::NonMatching),
    ] {
        let want = fs::read(vectors::folder().join("expected").join(format!("{case}.out"))).unwrap();
        let (out, _) = run_on(&text, &map, &RunOptions { output, ..RunOptions::default() });
        assert_eq!(String::from_utf8_lossy(&out), String::from_utf8_lossy(&want), "{case}");
    }
}

fn rows(tally: &Tally) -> Vec<String> {
    let show = |entry: Entry<'_>| {
        let mut value = Vec::new();
        entry.write_value(&mut value);
        format!("{} {:?} {}", String::from_utf8_lossy(&value), entry.label(), entry.count())
    };
    tally.entries().map(show).chain(["beside".to_owned()]).chain(tally.beside().map(show)).collect()
}

#[test]
fn beside_a_match_in_order_of_such_appearance() {
    let map = map_of("map.txt");
    let text =
        b"a.example.net\nb.example.net c.example.net 192.0.2.1 b.example.net a.example.net\nd.example.net\n";
    let (_, report) = run_on(text, &map, &RunOptions { count: Count::Beside, ..RunOptions::default() });
    let beside: Vec<String> = rows(&report.tally).split_off(6);
    assert_eq!(beside, ["b.example.net None 2", "c.example.net None 1", "a.example.net None 2"]);
    assert_eq!((report.identifiers, report.matches, report.bytes), (7, 1, text.len() as u64));
}

#[test]
fn the_last_line_may_be_unfinished() {
    let map = map_of("map.txt");
    let all = RunOptions { output: Output::Lines(Select::All, None), ..RunOptions::default() };
    assert!(run_on(b"a\nb", &map, &all).1.unfinished_line);
    assert!(!run_on(b"a\nb\n", &map, &all).1.unfinished_line);
    assert!(!run_on(b"", &map, &all).1.unfinished_line);
    let mut out = Vec::new();
    run([&b"a"[..], b"", b"b"], &mut out, &map, &all).unwrap();
    assert_eq!(out, b"a\nb");
}

#[test]
fn encrypting_every_address_keeps_to_the_selected_lines() {
    let map = map_of("map.txt");
    let key = SecretKey::parse(b"0123456789abcdeffedcba98765432101032547698badcfeefcdab8967452301").unwrap();
    let pfx = Some((Pfx::new(PfxMode::IpcryptPfx, &key).unwrap(), PfxScope::All));
    let masker = Masker::new(&map, MaskOptions { pfx, ..MaskOptions::default() });
    let text = b"203.0.113.5\n203.0.113.5 192.0.2.1 www.city-a.example\n203.0.113.6\n";
    let out = |select| {
        let output = Output::Lines(select, Some(&masker));
        let (out, _) = run_on(text, &map, &RunOptions { output, ..RunOptions::default() });
        String::from_utf8(out).unwrap()
    };
    let (all, with, without) = (out(Select::All), out(Select::Matching), out(Select::NonMatching));
    let lines: Vec<&str> = all.split_inclusive('\n').collect();
    assert!(lines[1].contains(" 100.115.72.131 [") && !all.contains("203.0.113"), "{all}");
    assert_eq!(with, lines[1]);
    assert_eq!(without, [lines[0], lines[2]].concat());
}

struct Full;

impl Write for Full {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(io::Error::from(io::ErrorKind::BrokenPipe))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_full_output_ends_the_run() {
    let map = map_of("map.txt");
    for threads in [1, 3] {
        let options = RunOptions {
            output: Output::Lines(Select::All, None),
            threads: NonZeroUsize::new(threads).unwrap(),
            ..RunOptions::default()
        };
        let endless = io::repeat(b'\n');
        assert!(matches!(run([endless], &mut Full, &map, &options), Err(RunError::Write(_))));
    }
}

#[test]
fn a_read_error_comes_after_what_was_read() {
    struct Broken;
    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::other("worn out"))
        }
    }
    let map = map_of("map.txt");
    for threads in [1, 2] {
        let options = RunOptions {
            output: Output::Lines(Select::All, None),
            threads: NonZeroUsize::new(threads).unwrap(),
            ..RunOptions::default()
        };
        let inputs: [Box<dyn Read + Send>; 2] = [Box::new(&b"a\nb\n"[..]), Box::new(Broken)];
        let mut out = Vec::new();
        let error = run(inputs, &mut out, &map, &options).unwrap_err();
        assert!(matches!(error, RunError::Read { input: 2, .. }));
        assert_eq!(out, b"a\nb\n");
    }
}

fn text() -> impl Strategy<Value = Vec<u8>> {
    let words = [
        "192.0.2.1",
        "192.0.2.77",
        "198.51.100.9",
        "203.0.113.5",
        "www.city-a.example",
        "out.example.net",
        "2001:db8:a::1",
        "2001:db8:f00d::1",
        " ",
        " ",
        "\n",
        "\n",
        "x",
        "06:00:03",
        "::",
        "\\n",
        "%41",
        "é",
        "report.txt",
        "\r\n",
    ];
    proptest::collection::vec(proptest::sample::select(words.to_vec()), 0..60)
        .prop_map(|words| words.concat().into_bytes())
}

proptest! {
    #[test]
    fn any_number_of_threads_gives_the_same(text in text(), threads in 2..9_usize, chunk in 1..64_usize, beside: bool) {
        let map = map_of("map.txt");
        let masker = Masker::new(&map, MaskOptions::default());
        for output in outputs(&masker) {
            let count = if beside { Count::Beside } else { Count::Matching };
            let whole = RunOptions { output, count, ..RunOptions::default() };
            let parts = RunOptions {
                threads: NonZeroUsize::new(threads).unwrap(),
                chunk: NonZeroUsize::new(chunk).unwrap(),
                ..whole.clone()
            };
            let ((one, first), (many, second)) = (run_on(&text, &map, &whole), run_on(&text, &map, &parts));
            prop_assert_eq!(one, many);
            prop_assert_eq!(rows(&first.tally), rows(&second.tally));
            prop_assert_eq!((first.matches, first.bytes), (second.matches, second.bytes));
        }
    }

    #[test]
    fn what_does_not_match_is_copied(text in proptest::collection::vec(any::<u8>(), 0..300), loose: bool) {
        let map = Map::empty();
        let masker = Masker::new(&map, MaskOptions::default());
        let mut options = RunOptions { output: Output::Lines(Select::All, Some(&masker)), ..RunOptions::default() };
        options.grammar.dns = if loose { Dns::Loose } else { Dns::Strict };
        prop_assert_eq!(run_on(&text, &map, &options).0, text.clone());
        options.output = Output::Lines(Select::NonMatching, Some(&masker));
        prop_assert_eq!(run_on(&text, &map, &options).0, text);
    }

    #[test]
    fn lines_with_and_without_a_match_are_all_lines(text in text()) {
        let map = map_of("map.txt");
        let lines = |select| {
            let options = RunOptions { output: Output::Lines(select, None), ..RunOptions::default() };
            run_on(&text, &map, &options).0
        };
        let (with, without) = (lines(Select::Matching), lines(Select::NonMatching));
        prop_assert_eq!(with.len() + without.len(), text.len());
        for line in with.split_inclusive(|byte| *byte == b'\n') {
            prop_assert!(run_on(line, &map, &RunOptions::default()).1.matches > 0);
        }
        prop_assert_eq!(run_on(&without, &map, &RunOptions::default()).1.matches, 0);
    }
}
