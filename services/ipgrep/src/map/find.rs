//! Which map is used when none is named (PRISEM services specification, 7.3.1).

use std::env;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// The environment variable that names the map.
const VARIABLE: &str = "IPGREPNETWORKS";

/// Where a map is looked for when none is named.
const DEFAULT_MAPS: [&str; 2] = ["/etc/ipgrep_networks.yml", "/etc/ipgrep_networks.txt"];

/// Finds and reads the map: `named`, else the file that `IPGREPNETWORKS` names, else `/etc/ipgrep_networks.yml`, else
/// `/etc/ipgrep_networks.txt`. `None` if there is none at all.
///
/// # Errors
/// If a map that is named, or one that exists, cannot be read; the error names the file.
pub fn find_map(named: Option<&Path>) -> io::Result<Option<(PathBuf, Vec<u8>)>> {
    let by_environment = || env::var_os(VARIABLE).filter(|name| !name.is_empty()).map(PathBuf::from);
    if let Some(path) = named.map(Path::to_owned).or_else(by_environment) {
        return read(&path).map(|content| Some((path, content)));
    }
    for path in DEFAULT_MAPS.map(Path::new) {
        match read(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            found => return found.map(|content| Some((path.to_owned(), content))),
        }
    }
    Ok(None)
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    fs::read(path).map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))
}
