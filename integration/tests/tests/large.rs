//! Lines of any length and any bytes: the same result, no crash, nothing lost (PRISEM services specification, 7.1).

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests end at the first surprise")]

use std::io::{Read, Write};
use std::process::{Child, Stdio};
use std::thread;

use polybus_tests::{Error, Programs};

const MAP: &str = "192.0.2.0/24|ALPHA|CITYA\n.site.example|ALPHA|CITYA\n";

struct Stage {
    programs: Programs,
    folder: tempfile::TempDir,
}

impl Stage {
    fn new() -> Result<Self, Error> {
        let folder = tempfile::tempdir()?;
        std::fs::write(folder.path().join("map.txt"), MAP)?;
        Ok(Self { programs: Programs::new()?, folder })
    }

    fn start(&self, arguments: &[&str]) -> Result<Child, Error> {
        let none: [(&String, &String); 0] = [];
        let mut command = self.programs.command("ipgrep", self.folder.path(), none)?;
        command.args(["-n", "map.txt"]).args(arguments);
        Ok(command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?)
    }

    /// Feeds `unit` `count` times and gives each block of output to `check`.
    fn feed(
        &self,
        arguments: &[&str],
        unit: &'static [u8],
        count: usize,
        mut check: impl FnMut(&[u8]),
    ) -> Result<(), Error> {
        let mut child = self.start(arguments)?;
        let mut stdin = child.stdin.take().ok_or("no stdin")?;
        let mut stdout = child.stdout.take().ok_or("no stdout")?;
        let writer = thread::spawn(move || {
            let block = unit.repeat(1 + (1 << 20) / unit.len());
            let per_block = block.len() / unit.len();
            let (whole, rest) = (count / per_block, count % per_block);
            (0..whole).try_for_each(|_| stdin.write_all(&block))?;
            stdin.write_all(&block[..rest * unit.len()])
        });
        let mut buffer = vec![0; 1 << 20];
        loop {
            match stdout.read(&mut buffer)? {
                0 => break,
                read => check(&buffer[..read]),
            }
        }
        writer.join().map_err(|_| "the writer crashed")??;
        let status = child.wait()?;
        assert!(status.success(), "{status}");
        Ok(())
    }
}

/// Compares a stream with a repeated unit.
fn repeats(unit: &'static [u8], seen: &mut usize) -> impl FnMut(&[u8]) {
    move |block| {
        for byte in block {
            assert_eq!(*byte, unit[*seen % unit.len()], "at byte {seen}");
            *seen += 1;
        }
    }
}

#[test]
fn a_line_of_200_megabytes_is_masked() -> Result<(), Error> {
    let unit = b"src=192.0.2.200 dst=203.0.113.9 host=www.site.example \\n ";
    let masked = b"src=[__CITYA__] dst=203.0.113.9 host=[_____CITYA____] \\n ";
    assert_eq!(unit.len(), masked.len());
    let count = 200_000_000 / unit.len();
    let mut seen = 0;
    Stage::new()?.feed(&["-a", "--context"], unit, count, repeats(masked, &mut seen))?;
    assert_eq!(seen, count * unit.len(), "no newline is supplied at the very end");
    Ok(())
}

#[test]
fn nasty_bytes_pass_unchanged() -> Result<(), Error> {
    let stage = Stage::new()?;
    let units: [&'static [u8]; 12] = [
        b"1.",
        b"1.1.1.1.",
        b"a.",
        b":",
        b"1:",
        b"f::",
        b"%25",
        b"\\u0041",
        b"a@a",
        b"\x00\xff",
        b"xn--a-.",
        b"-._",
    ];
    for unit in units {
        let mut seen = 0;
        let count = 4_000_000 / unit.len();
        stage.feed(&["-a", "--context"], unit, count, repeats(unit, &mut seen))?;
        assert_eq!(seen, count * unit.len(), "{}", unit.escape_ascii());
    }
    Ok(())
}

#[test]
fn empty_lines_and_no_lines() -> Result<(), Error> {
    let stage = Stage::new()?;
    let mut seen = 0;
    stage.feed(&["-a", "--context"], b"\n", 3_000_000, repeats(b"\n", &mut seen))?;
    assert_eq!(seen, 3_000_000);
    stage.feed(&["-a", "--context"], b"\n", 0, |_| panic!("output of nothing"))?;
    Ok(())
}
