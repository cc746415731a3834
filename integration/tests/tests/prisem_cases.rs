//! Every command-line case of the PRISEM vectors for the local tools, through the real command under its old names.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::Path;

use polybus_tests::{Case, Error, Programs, cases, judge, vectors};

/// The programs whose cases are run here.
const PROGRAMS: [&str; 3] = ["ipgrep", "crosscor", "cumdist"];

fn local_cases(folder: &Path) -> Result<Vec<Case>, Error> {
    let (run, left): (Vec<Case>, Vec<Case>) =
        cases(folder)?.into_iter().partition(|case| PROGRAMS.contains(&case.program()));
    assert!(!run.is_empty(), "{} holds no case for {PROGRAMS:?}", folder.display());
    let mut others: BTreeMap<&str, usize> = BTreeMap::new();
    for case in &left {
        *others.entry(case.program()).or_default() += 1;
    }
    let text = format!("{} cases are run; of other programs NOT RUN: {others:?}\n", run.len());
    // Not through a macro: a test that passes would hide it.
    io::stderr().write_all(text.as_bytes())?;
    Ok(run)
}

fn report(faults: &[String], run: usize) {
    assert!(faults.is_empty(), "{} faults in {run} cases:\n{}", faults.len(), faults.join("\n"));
}

#[test]
fn cases_of_the_local_tools() -> Result<(), Error> {
    let (folder, programs) = (vectors(), Programs::new()?);
    let cases = local_cases(&folder)?;
    let mut faults = Vec::new();
    for case in &cases {
        let found = judge(case, &programs, &folder, None)?;
        faults.extend(found.into_iter().map(|fault| format!("{}: {fault}", case.id)));
    }
    report(&faults, cases.len());
    Ok(())
}

#[test]
fn the_same_input_on_standard_input_gives_the_same_result() -> Result<(), Error> {
    let (folder, programs) = (vectors(), Programs::new()?);
    let (mut faults, mut run) = (Vec::new(), 0);
    for case in local_cases(&folder)? {
        let Some((case, text)) = case.on_stdin(&folder)? else { continue };
        let mut input = tempfile::NamedTempFile::new()?;
        input.write_all(&text)?;
        let found = judge(&case, &programs, &folder, Some(input.path()))?;
        faults.extend(found.into_iter().map(|fault| format!("{} on standard input: {fault}", case.id)));
        run += 1;
    }
    assert!(run > 0, "no case reads a file");
    report(&faults, run);
    Ok(())
}
