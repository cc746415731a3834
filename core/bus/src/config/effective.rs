//! Every setting with its origin, for `--show-config`.

use super::Origin;
use crate::frame::{Json, Object};

/// One setting as it is in effect.
#[derive(Debug, Clone, PartialEq)]
pub struct EffectiveSetting {
    /// The key in `polybus.toml`.
    pub key: &'static str,
    /// The value; null if unset, `(hidden)` for a secret.
    pub value: Json,
    /// Where it came from.
    pub origin: Origin,
}

/// All settings as they are in effect, in the order of [`KEYS`](super::KEYS). Holds no secrets.
#[derive(Debug, Clone, PartialEq)]
pub struct Effective(pub(super) Vec<EffectiveSetting>);

impl Effective {
    /// The settings in order.
    #[must_use]
    pub fn settings(&self) -> &[EffectiveSetting] {
        &self.0
    }

    /// The setting with this key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&EffectiveSetting> {
        self.0.iter().find(|setting| setting.key == key)
    }

    /// One line for each setting: key, value, origin; values begin in one column.
    #[must_use]
    pub fn to_text(&self) -> String {
        let width = self.0.iter().map(|setting| setting.key.len()).max().unwrap_or(0);
        let lines = self.0.iter().map(|setting| {
            let value = if setting.value.is_null() { "-".to_owned() } else { setting.value.compact() };
            format!("{:width$} = {value}  # {}\n", setting.key, setting.origin)
        });
        lines.collect()
    }

    /// One JSON object: for each key its `value` and `origin`.
    #[must_use]
    pub fn to_json(&self) -> Json {
        let entries = self.0.iter().map(|setting| {
            let origin = setting.origin.to_string();
            (setting.key, Object::new().with("value", setting.value.clone()).with("origin", origin).into())
        });
        entries.collect::<Object>().into()
    }
}
