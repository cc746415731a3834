//! The map of a local tool: which one, how it is read, and what is told about it (PRISEM services specification,
//! 7.3).

use std::io;
use std::path::{Path, PathBuf};

use clap::Args;
use polybus_ipgrep::{Broken, LabelChoice, Loaded, Map, MapFormat, MapOptions, Tlp, find_map};

use crate::console::{Failure, Notices, Outcome};

/// Options about the map.
#[derive(Debug, Args)]
#[command(next_help_heading = "Map")]
pub(super) struct MapArguments {
    /// Networks and domains with their labels. Without it: the file named by `IPGREPNETWORKS`, else
    /// `/etc/ipgrep_networks.yml`, else `/etc/ipgrep_networks.txt`.
    #[arg(short, long, value_name = "FILE")]
    networks: Option<PathBuf>,
    /// Form of the map: auto, text (`CIDR_or_domain|SiteID|AnonString`) or yaml (site list, user attributes).
    #[arg(long, value_name = "FORM", default_value = "auto")]
    map_format: MapFormat,
    /// Audience of the labels of a site list: red, amber+strict, amber, green, white or clear. A label meant for
    /// a smaller audience is never used.
    #[arg(long, value_name = "LEVEL", default_value = "white")]
    tlp: Tlp,
    /// Which name of a rule is its label: anonymous (what outsiders may see) or site (who it is).
    #[arg(long, value_name = "WHICH", default_value = "anonymous")]
    label: LabelChoice,
}

impl MapArguments {
    /// Finds and reads the map; `None` if there is none at all.
    ///
    /// # Errors
    /// Exit 1 if a map exists but cannot be read.
    pub(super) fn load(&self, notices: &Notices) -> Outcome<Option<Map>> {
        let found = find_map(self.networks.as_deref()).map_err(|error| unreadable(&error))?;
        let Some((path, content)) = found else { return Ok(None) };
        self.parse(&path, &content, notices).map(Some)
    }

    /// Reads a map file that another option names.
    ///
    /// # Errors
    /// Exit 1 if it cannot be read.
    pub(super) fn load_file(&self, path: &Path, notices: &Notices) -> Outcome<Map> {
        match find_map(Some(path)).map_err(|error| unreadable(&error))? {
            Some((path, content)) => self.parse(&path, &content, notices),
            None => Err(no_map()),
        }
    }

    fn parse(&self, path: &Path, content: &[u8], notices: &Notices) -> Outcome<Map> {
        let options = MapOptions { format: self.map_format, tlp: self.tlp, label: self.label };
        let refused = |error| Failure::refused("bad-map", format!("{}: {error}", path.display()));
        let loaded = Map::parse(content, &options).map_err(refused)?;
        tell(path, &loaded, notices);
        Ok(loaded.map)
    }
}

/// What is said where there must be a map and is none.
pub(super) fn no_map() -> Failure {
    Failure::refused("no-map", "no map: name one with -n or IPGREPNETWORKS")
}

/// What is said where a map without rules would give clear text that looks finished (7.3.6).
pub(super) fn empty_map() -> Failure {
    Failure::refused("no-map", "the map has no valid rule")
}

/// The error names the file.
fn unreadable(error: &io::Error) -> Failure {
    Failure::refused("no-map", error.to_string())
}

fn tell(path: &Path, loaded: &Loaded, notices: &Notices) {
    tell_broken(path, &loaded.broken, notices);
    let map = &loaded.map;
    notices
        .progress(|| format!("{}: {} rules, {} labels", path.display(), map.rule_count(), map.label_count()));
}

/// Names the first skipped rows of a file and counts all of them.
pub(super) fn tell_broken(path: &Path, broken: &Broken, notices: &Notices) {
    let path = path.display();
    for row in broken.rows() {
        notices.warning(&format!("{path}:{}: skipped: {}", row.line, row.why));
    }
    if broken.count() > 0 {
        notices.warning(&format!("{path}: {} rows skipped", broken.count()));
    }
}
