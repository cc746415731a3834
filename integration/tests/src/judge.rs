//! Runs a case and compares what came out with what is expected.

use std::fs;
use std::path::Path;
use std::process::Output;

use data_encoding::HEXLOWER;
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::binary::output;
use crate::case::{Case, Compare, Expect};
use crate::{Error, Programs};

/// Runs a case in its folder; `stdin` takes the place of the case's own. Gives every fault in words, none if the
/// case passes.
///
/// # Errors
/// If the program cannot be run, or a file of the case cannot be read.
pub fn judge(
    case: &Case,
    programs: &Programs,
    folder: &Path,
    stdin: Option<&Path>,
) -> Result<Vec<String>, Error> {
    let mut command = programs.command(case.program(), folder, &case.env)?;
    command.args(&case.argv[1..]);
    let own = case.stdin.as_ref().map(|path| folder.join(path));
    let output = output(command, stdin.or(own.as_deref()))?;
    let mut faults = Vec::new();
    if output.status.code() != Some(case.expect.exit) {
        faults.push(format!("{}, expected exit {}", output.status, case.expect.exit));
    }
    if output.stderr.is_empty() != case.expect.stderr_empty {
        let wanted = if case.expect.stderr_empty { "nothing" } else { "something" };
        faults.push(format!("{wanted} must be on stderr: {:?}", String::from_utf8_lossy(&output.stderr)));
    }
    faults.extend(stdout_fault(&output, &case.expect, folder)?);
    Ok(faults)
}

fn stdout_fault(output: &Output, expect: &Expect, folder: &Path) -> Result<Option<String>, Error> {
    let made = &output.stdout;
    if let Some(file) = &expect.stdout {
        let wanted = fs::read(folder.join(file))?;
        return Ok(match expect.compare {
            Some(Compare::Json) => json_fault(made, &wanted),
            _ => bytes_fault(made, &wanted),
        });
    }
    if expect.stdout_sha256.is_some() {
        return Ok(large_fault(made, expect));
    }
    Ok((!made.is_empty()).then(|| format!("nothing may be on stdout, but {} bytes are", made.len())))
}

fn json_fault(made: &[u8], wanted: &[u8]) -> Option<String> {
    let read = |bytes| {
        serde_json::from_slice::<Value>(bytes).map_err(|error| format!("stdout is not JSON: {error}"))
    };
    match (read(made), read(wanted)) {
        (Ok(made_value), Ok(wanted_value)) if made_value == wanted_value => None,
        (Err(fault), _) => Some(fault),
        _ => bytes_fault(made, wanted).or_else(|| Some("stdout differs".to_owned())),
    }
}

fn bytes_fault(made: &[u8], wanted: &[u8]) -> Option<String> {
    let mut pairs = made.split(|byte| *byte == b'\n').zip(wanted.split(|byte| *byte == b'\n'));
    if made == wanted {
        return None;
    }
    let text = |line: &[u8]| String::from_utf8_lossy(line).chars().take(400).collect::<String>();
    let difference = pairs.position(|(made, wanted)| made != wanted);
    let lines = |line: usize| {
        let nth = |bytes: &[u8]| text(bytes.split(|byte| *byte == b'\n').nth(line).unwrap_or_default());
        format!("stdout line {}: {:?}, expected {:?}", line + 1, nth(made), nth(wanted))
    };
    Some(
        difference
            .map_or_else(|| format!("stdout has {} bytes, expected {}", made.len(), wanted.len()), lines),
    )
}

fn large_fault(made: &[u8], expect: &Expect) -> Option<String> {
    let right = expect.stdout_sha256.as_deref() == Some(&sha256(made))
        && expect.stdout_bytes.is_none_or(|bytes| bytes == made.len());
    if right {
        return None;
    }
    let block_lines = expect.block_lines.unwrap_or(usize::MAX);
    let lines: Vec<&[u8]> = made.split(|byte| *byte == b'\n').collect();
    let blocks = lines.chunks(block_lines).map(|block| sha256(&block.join(&b'\n'))[..16].to_owned());
    let wanted = expect.blocks_sha256.iter().flatten();
    let block = blocks.zip(wanted).position(|(made, wanted)| made != *wanted);
    let place = block
        .map(|block| format!(", first in the {block_lines} lines from line {}", block * block_lines + 1));
    Some(format!("stdout ({} bytes) differs{}", made.len(), place.unwrap_or_default()))
}

fn sha256(bytes: &[u8]) -> String {
    HEXLOWER.encode(&Sha256::digest(bytes))
}
