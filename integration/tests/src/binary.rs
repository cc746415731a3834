//! The command under test, under its old names.

use std::env;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Seek, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;

use tempfile::TempDir;

/// Why a test could not even begin.
pub type Error = Box<dyn std::error::Error + Send + Sync>;

/// Links to the built command, one for each program name.
#[derive(Debug)]
pub struct Programs {
    binary: PathBuf,
    links: TempDir,
}

impl Programs {
    /// The command named by `POLYBUS_BIN`, else the one of this source, which is built if it has to be.
    ///
    /// # Errors
    /// If it cannot be built, or the links cannot be made.
    pub fn new() -> Result<Self, Error> {
        let binary = env::var_os("POLYBUS_BIN").map_or_else(built, |path| Ok(PathBuf::from(path)))?;
        Ok(Self { binary: binary.canonicalize()?, links: TempDir::new()? })
    }

    /// The path of a program by its name.
    ///
    /// # Errors
    /// If the link cannot be made.
    pub fn path(&self, name: &str) -> io::Result<PathBuf> {
        let link = self.links.path().join(name);
        match std::os::unix::fs::symlink(&self.binary, &link) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
            _ => Ok(link),
        }
    }

    /// A program that has exactly this environment and runs in this folder.
    ///
    /// # Errors
    /// If the link cannot be made.
    pub fn command<'a>(
        &self,
        name: &str,
        folder: &Path,
        env: impl IntoIterator<Item = (&'a String, &'a String)>,
    ) -> io::Result<Command> {
        let mut command = Command::new(self.path(name)?);
        command.current_dir(folder).env_clear().envs(env);
        Ok(command)
    }
}

/// Runs a command to its end with these bytes on standard input.
///
/// # Errors
/// If it cannot be started or read.
pub fn feed(mut command: Command, input: &[u8]) -> io::Result<Output> {
    let mut file = tempfile::tempfile()?;
    file.write_all(input)?;
    file.rewind()?;
    command.stdin(file).output()
}

/// Runs a command to its end with a file, or nothing, on standard input.
///
/// # Errors
/// If it cannot be started or read.
pub(crate) fn output(mut command: Command, stdin: Option<&Path>) -> io::Result<Output> {
    let stdin = stdin.map_or_else(|| Ok(Stdio::null()), |path| File::open(path).map(Stdio::from))?;
    command.stdin(stdin).output()
}

/// The command of this source, built once for all tests of a process, whether that succeeds or not.
fn built() -> Result<PathBuf, Error> {
    static BUILT: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    Ok(BUILT.get_or_init(|| build().map_err(|error| error.to_string())).clone()?)
}

/// Builds the command beside this test's own executable.
fn build() -> Result<PathBuf, Error> {
    let own = env::current_exe()?;
    let profile = own.parent().and_then(Path::parent).ok_or("a test runs below its target folder")?;
    let target = profile.parent().ok_or("a test runs below its target folder")?;
    let cargo = env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
    let mut command = Command::new(cargo);
    command.args(["build", "--quiet", "--package", "polybus-cli"]).env("CARGO_TARGET_DIR", target);
    command.current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."));
    // What cargo says of this package to its tests would be taken for that of others by their build scripts: they would be
    // run anew, and all that depends on them be built anew, and once more for the next command without these words.
    for (word, _) in env::vars_os() {
        if ["CARGO_PKG_", "CARGO_MANIFEST_"].iter().any(|of| word.to_string_lossy().starts_with(of)) {
            command.env_remove(word);
        }
    }
    if profile.file_name().is_some_and(|name| name == "release") {
        command.arg("--release");
    }
    let status = command.status()?;
    if status.success() { Ok(profile.join("polybus")) } else { Err(format!("cargo build: {status}").into()) }
}
