//! Settings from environment variables.

use super::files::Environment;
use super::layer::Layer;
use super::{ConfigError, Family, KEYS, Key, Origin};

/// Variables that configure configuration itself.
const CONFIG: &str = "POLYBUS_CONFIG";

/// One layer for each variable of `family` that is set.
pub(super) fn layers(environment: &Environment, family: Family) -> Result<Vec<Layer>, ConfigError> {
    let mut layers = Vec::new();
    for key in KEYS {
        let Some(variable) = variable(key, family) else { continue };
        if let Some(text) = environment.get(&variable) {
            let mut layer = Layer::new(Origin::Environment(variable.clone()));
            layer.text(key, key.path, text)?;
            layers.push(layer);
        }
    }
    Ok(layers)
}

/// Variables that look like ours and are not.
pub(super) fn unknown(environment: &Environment) -> Vec<String> {
    let ours = environment.keys().filter(|name| name.starts_with("POLYBUS_") && *name != CONFIG);
    ours.filter(|name| KEYS.iter().all(|key| key.variable() != **name)).cloned().collect()
}

fn variable(key: &Key, family: Family) -> Option<String> {
    match family {
        Family::Polybus => Some(key.variable()),
        Family::Prisem => key.old_variable().map(str::to_owned),
    }
}
