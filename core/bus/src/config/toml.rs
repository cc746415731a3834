//! `polybus.toml`.

use std::path::Path;

use figment::value::{Dict, Value};

use super::layer::Layer;
use super::{ConfigError, KEYS, Key, Origin};

/// Reads the text of a `polybus.toml`.
pub(super) fn read(path: &Path, text: &str) -> Result<Layer, ConfigError> {
    let origin = Origin::File(path.to_owned());
    let tables: Dict = ::toml::from_str(text).map_err(|error| not_toml(&origin, text, &error))?;
    from_tables(origin, &tables)
}

/// Settings from typed values, one table deep. Unknown keys are errors.
pub(super) fn from_tables(origin: Origin, tables: &Dict) -> Result<Layer, ConfigError> {
    let mut layer = Layer::new(origin);
    for (name, value) in tables {
        match value {
            Value::Dict(_, entries) if is_table(name) => {
                for (entry, value) in entries {
                    take(&mut layer, &format!("{name}.{entry}"), value)?;
                }
            }
            value => take(&mut layer, name, value)?,
        }
    }
    Ok(layer)
}

fn is_table(name: &str) -> bool {
    KEYS.iter().any(|key| key.path.split_once('.').is_some_and(|(table, _)| table == name))
}

fn take(layer: &mut Layer, path: &str, value: &Value) -> Result<(), ConfigError> {
    match Key::find(path) {
        Some(key) => layer.value(key, path, value),
        None if is_table(path) => Err(ConfigError::expected(&layer.origin, path, "a table")),
        None => Err(unknown(&layer.origin, path)),
    }
}

fn unknown(origin: &Origin, path: &str) -> ConfigError {
    let table = path.rsplit_once('.').map(|(table, _)| table);
    let siblings =
        KEYS.iter().map(|key| key.path).filter(|known| known.rsplit_once('.').map(|(t, _)| t) == table);
    let known = siblings.collect::<Vec<_>>().join(", ");
    let problem =
        if known.is_empty() { "unknown key".to_owned() } else { format!("unknown key, known are {known}") };
    ConfigError { key: Some(path.to_owned()), ..ConfigError::new(origin, problem) }
}

/// Only the place and the rule: the parser's own text shows the line, and with it perhaps a password.
fn not_toml(origin: &Origin, text: &str, error: &::toml::de::Error) -> ConfigError {
    let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before.chars().rev().take_while(|sign| *sign != '\n').count() + 1;
    let rule = error.message().lines().next().unwrap_or_default();
    ConfigError::new(origin, format!("line {line}, column {column}: not TOML: {rule}"))
}
