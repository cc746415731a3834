//! An earlier break report, to tell what is new.

use rustc_hash::FxHashSet;
use serde_json::Value;

use super::BreakError;

/// What an earlier report lists. Of a report that was cut, what was cut off counts as new.
#[derive(Clone, Debug, Default)]
pub struct Earlier(FxHashSet<(&'static str, String)>);

/// The lists of a report, with the key that names an entry.
const LISTS: [(&str, &str); 4] =
    [("both", "site"), ("friends", "site"), ("foes", "site"), ("unknown", "ip4")];

impl Earlier {
    /// Reads a report as [`super::BreakReport::write`] writes it.
    ///
    /// # Errors
    /// [`BreakError`] if the document is no break report.
    pub fn parse(document: &[u8]) -> Result<Self, BreakError> {
        let document: Value = serde_json::from_slice(document)?;
        if document.get("friends").and_then(Value::as_array).is_none() {
            return Err(BreakError::Shape("no array `friends`: not a break report"));
        }
        let mut listed = FxHashSet::default();
        for (list, key) in LISTS {
            let rows = document.get(list).and_then(Value::as_array).into_iter().flatten();
            listed.extend(rows.filter_map(|row| Some((list, row.get(key)?.as_str()?.to_owned()))));
        }
        Ok(Self(listed))
    }

    pub(super) fn has(&self, list: &'static str, name: &str) -> bool {
        self.0.contains(&(list, name.to_owned()))
    }
}
