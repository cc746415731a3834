//! Finding and reading configuration files.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::{ConfigError, Origin};

/// Environment variables by name.
pub(super) type Environment = BTreeMap<String, String>;

/// No configuration file is larger, in bytes.
const MAX_FILE: u64 = 1 << 20;

/// The new programs' file.
const NEW_FILE: &str = "polybus.toml";

/// The old programs' file.
const OLD_FILE: &str = "rpc_config.yml";

/// Where files are looked for.
#[derive(Debug, Clone)]
pub(super) struct Places {
    pub(super) directory: PathBuf,
    pub(super) system: PathBuf,
}

impl Places {
    /// The `polybus.toml` to read. One that the environment names must exist; it is then the only candidate.
    pub(super) fn new_file(&self, environment: &Environment) -> Option<PathBuf> {
        if let Some(named) = set(environment, "POLYBUS_CONFIG") {
            return Some(self.directory.join(expanded(named, environment)));
        }
        let home = home(environment);
        let user =
            set(environment, "XDG_CONFIG_HOME").map(PathBuf::from).or_else(|| Some(home?.join(".config")));
        let candidates = [
            Some(self.directory.join(NEW_FILE)),
            user.map(|user| user.join("polybus").join(NEW_FILE)),
            Some(self.system.clone()),
        ];
        candidates.into_iter().flatten().find(|path| exists(path))
    }

    /// The `rpc_config.yml` to read: the first that exists.
    pub(super) fn old_file(&self, environment: &Environment) -> Option<PathBuf> {
        let candidates = [
            self.named_old_file(environment),
            Some(self.directory.join(OLD_FILE)),
            home(environment).map(|home| home.join(format!(".{OLD_FILE}"))),
        ];
        candidates.into_iter().flatten().find(|path| exists(path))
    }

    /// The file that `RPC_CONFIG` names, or that lies in the folder it names.
    pub(super) fn named_old_file(&self, environment: &Environment) -> Option<PathBuf> {
        let named = self.directory.join(expanded(set(environment, "RPC_CONFIG")?, environment));
        Some(if named.is_dir() { named.join(OLD_FILE) } else { named })
    }
}

/// Reads a whole configuration file, of at most 1 MiB.
pub(super) fn read(path: &Path) -> Result<String, ConfigError> {
    let origin = Origin::File(path.to_owned());
    let unreadable = |error: std::io::Error| ConfigError::new(&origin, format!("cannot be read: {error}"));
    let mut content = Vec::new();
    let file = File::open(path).map_err(unreadable)?;
    file.take(MAX_FILE + 1).read_to_end(&mut content).map_err(unreadable)?;
    if content.len() as u64 > MAX_FILE {
        return Err(ConfigError::new(&origin, "is larger than 1 MiB"));
    }
    let text = String::from_utf8(content).map_err(|_| ConfigError::new(&origin, "is not UTF-8"))?;
    Ok(text.strip_prefix('\u{feff}').map_or(text.clone(), str::to_owned))
}

/// True also for a file that is there but may not be looked at: reading it then says why.
fn exists(path: &Path) -> bool {
    path.try_exists().unwrap_or(true)
}

fn set<'a>(environment: &'a Environment, variable: &str) -> Option<&'a str> {
    environment.get(variable).map(String::as_str).filter(|value| !value.is_empty())
}

fn home(environment: &Environment) -> Option<PathBuf> {
    set(environment, "HOME").map(PathBuf::from)
}

/// A leading `~` is the home folder.
fn expanded(path: &str, environment: &Environment) -> PathBuf {
    match (path.strip_prefix('~'), home(environment)) {
        (Some(""), Some(home)) => home,
        (Some(rest), Some(home)) if rest.starts_with('/') => home.join(&rest[1..]),
        _ => PathBuf::from(path),
    }
}
