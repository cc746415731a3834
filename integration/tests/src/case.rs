//! The command-line cases of the vectors.

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::Error;

/// A command line with what is expected of it.
#[derive(Clone, Debug, Deserialize)]
pub struct Case {
    /// Name of the case.
    pub id: String,
    /// Program name and arguments; paths are relative to the folder of the vectors.
    pub argv: Vec<String>,
    /// File on standard input; none means an empty input.
    pub stdin: Option<PathBuf>,
    /// The whole environment.
    pub env: BTreeMap<String, String>,
    /// What must come out.
    pub expect: Expect,
}

/// What a case must come to.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expect {
    /// Exit code.
    pub exit: i32,
    /// File with the whole standard output.
    pub stdout: Option<PathBuf>,
    /// How standard output is compared.
    pub compare: Option<Compare>,
    /// Length of a large standard output.
    pub stdout_bytes: Option<usize>,
    /// SHA-256 of a large standard output, hex.
    pub stdout_sha256: Option<String>,
    /// Lines in a block of a large output.
    pub block_lines: Option<usize>,
    /// First 16 hex digits of the SHA-256 of each block.
    pub blocks_sha256: Option<Vec<String>>,
    /// Whether standard error must be empty; if not, something must be on it.
    pub stderr_empty: bool,
}

/// How standard output is compared.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Compare {
    /// Byte for byte.
    Bytes,
    /// As JSON values, the order of keys free.
    Json,
}

/// The folder of the PRISEM vectors; `POLYBUS_VECTORS` names another one.
#[must_use]
pub fn vectors() -> PathBuf {
    let own = || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../vectors/prisem"));
    env::var_os("POLYBUS_VECTORS").map_or_else(own, PathBuf::from)
}

/// All cases of a folder of vectors.
///
/// # Errors
/// If `cases.jsonl` cannot be read or a line is no case.
pub fn cases(folder: &Path) -> Result<Vec<Case>, Error> {
    let text = fs::read_to_string(folder.join("cases.jsonl"))?;
    let case = |line| serde_json::from_str(line).map_err(|error| format!("{error}: {line}").into());
    text.lines().filter(|line| !line.trim().is_empty()).map(case).collect()
}

/// Options that take the next word, in the programs that read files.
const WITH_VALUE: [&str; 22] = [
    "-n",
    "--networks",
    "-I",
    "--iff",
    "--compat",
    "--method",
    "--tlp",
    "--label",
    "--map-format",
    "--classes",
    "--pseudonyms",
    "--mask-width",
    "--stats-to",
    "--tlds",
    "--pfx",
    "--key",
    "--scope",
    "--dns",
    "--top",
    "--friend",
    "--foe",
    "--cif",
];

impl Case {
    /// The program's name.
    #[must_use]
    pub fn program(&self) -> &str {
        self.argv.first().map_or("", String::as_str)
    }

    /// The same case with its input files on standard input instead, joined as one text. None if it names no input
    /// file, or one that does not exist.
    ///
    /// # Errors
    /// If an input file exists but cannot be read.
    pub fn on_stdin(&self, folder: &Path) -> Result<Option<(Self, Vec<u8>)>, Error> {
        let mut case = self.clone();
        let files =
            if self.program() == "cumdist" { case.take_values(&["-r", "--file"]) } else { case.take_files() };
        let paths: Vec<PathBuf> = files.iter().map(|file| folder.join(file)).collect();
        if paths.is_empty() || !paths.iter().all(|path| path.exists()) {
            return Ok(None);
        }
        let mut text = Vec::new();
        for path in paths {
            if text.last().is_some_and(|last| *last != b'\n') {
                text.push(b'\n');
            }
            text.extend(fs::read(path)?);
        }
        Ok(Some((case, text)))
    }

    fn take_files(&mut self) -> Vec<String> {
        let mut files = Vec::new();
        let mut kept = Vec::new();
        let mut value = true; // the program's name stays
        for word in std::mem::take(&mut self.argv) {
            if value || word.starts_with('-') {
                value = WITH_VALUE.contains(&word.as_str());
                kept.push(word);
            } else {
                files.push(word);
            }
        }
        self.argv = kept;
        files
    }

    fn take_values(&mut self, options: &[&str]) -> Vec<String> {
        let mut values = Vec::new();
        let mut words = std::mem::take(&mut self.argv).into_iter();
        while let Some(word) = words.next() {
            if options.contains(&word.as_str()) {
                values.extend(words.next());
            } else {
                self.argv.push(word);
            }
        }
        values
    }
}
