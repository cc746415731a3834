//! The map of a request: the one it brings, else this server's own (PRISEM services specification, 6.2 and 7.3).

use std::path::PathBuf;

use polybus::frame::{Refusal, RefusalCode};
use polybus_ipgrep::{BrokenRow, Loaded, Map, MapOptions, find_map};

/// Which map a server uses for requests that bring none, and whom its labels are for.
#[derive(Clone, Debug, Default)]
pub struct ServerMap {
    /// The file. `None`: the one named by `IPGREPNETWORKS`, else those in `/etc`, read anew for each request.
    pub file: Option<PathBuf>,
    /// Form, audience and choice of labels.
    pub options: MapOptions,
}

impl ServerMap {
    /// The map for a request with this `netmap`.
    ///
    /// # Errors
    /// `no-map` if there is none, or if it cannot be read as one.
    pub fn for_request(&self, netmap: &[u8]) -> Result<Loaded, Refusal> {
        if !netmap.is_empty() {
            return self.parse("the request's map", netmap);
        }
        let found = find_map(self.file.as_deref()).map_err(|error| refused(error.to_string()))?;
        let (path, content) =
            found.ok_or_else(|| refused("no map given, and this server has none of its own"))?;
        self.parse(&path.display().to_string(), &content)
    }

    fn parse(&self, name: &str, content: &[u8]) -> Result<Loaded, Refusal> {
        Map::parse(content, &self.options).map_err(|error| refused(format!("{name}: {error}")))
    }
}

/// One line for each of the first skipped rows, and their count.
pub(crate) fn notices(program: &str, loaded: &Loaded) -> Vec<u8> {
    let row = |row: &BrokenRow| format!("{program}: map line {}: skipped: {}\n", row.line, row.why);
    let mut lines: Vec<_> = loaded.broken.rows().iter().map(row).collect();
    if loaded.broken.count() > 0 {
        lines.push(format!("{program}: map: {} rows skipped\n", loaded.broken.count()));
    }
    lines.concat().into_bytes()
}

pub(crate) fn refused(text: impl Into<String>) -> Refusal {
    Refusal::new(RefusalCode::NoMap, text)
}
