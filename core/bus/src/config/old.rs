//! `rpc_config.yml` of the old programs (PRISEM services specification, 3.1).

use std::collections::BTreeMap;
use std::path::Path;

use saphyr_parser::{Event, Parser, ScalarStyle};

use super::keys::WITHOUT_EFFECT;
use super::layer::Layer;
use super::{ConfigError, KEYS, Origin};

/// A value of the mapping: a scalar as written, or none for something nested.
type Scalars = BTreeMap<String, Option<String>>;

/// Reads the text of an `rpc_config.yml`; also gives the keys it does not know.
pub(super) fn read(path: &Path, text: &str) -> Result<(Layer, Vec<String>), ConfigError> {
    let origin = Origin::File(path.to_owned());
    let mut scalars = scalars(&origin, text)?;
    let mut layer = Layer::new(origin);
    for key in KEYS {
        // All spellings are taken out, the one with the prefix counts.
        let found: Vec<_> = key.old.iter().filter_map(|name| scalars.remove_entry(*name)).collect();
        match found.into_iter().next() {
            Some((name, Some(text))) => layer.text(key, &name, &text)?,
            Some((name, None)) => {
                return Err(ConfigError::expected(&layer.origin, &name, &key.kind.expected()));
            }
            None => {}
        }
    }
    let unknown = scalars.into_keys().filter(|name| !WITHOUT_EFFECT.contains(&name.as_str())).collect();
    Ok((layer, unknown))
}

/// The entries of the first document. Nothing is typed, no alias is followed, nested values are skipped.
fn scalars(origin: &Origin, text: &str) -> Result<Scalars, ConfigError> {
    let mut events = Events { parser: Parser::new_from_str(text), origin };
    loop {
        match events.next()? {
            Event::StreamStart | Event::DocumentStart(_) => {}
            Event::MappingStart(..) => break,
            _ => return Err(ConfigError::new(origin, "is not a mapping of keys to values")),
        }
    }
    let mut entries = Scalars::new();
    loop {
        let key = match events.next()? {
            Event::MappingEnd => return Ok(entries),
            Event::Scalar(key, ..) => Some(key.into_owned()),
            other => events.skip(&other).map(|()| None)?,
        };
        let value = match events.next()? {
            Event::Scalar(text, style, ..) => Some(unless_null(&text, style)),
            other => events.skip(&other).map(|()| None)?,
        };
        entries.extend(key.map(|key| (key, value)));
    }
}

/// A plain `~`, `null` or nothing leaves a key unset.
fn unless_null(text: &str, style: ScalarStyle) -> String {
    let is_null = style == ScalarStyle::Plain && matches!(text, "~" | "null" | "Null" | "NULL");
    if is_null { String::new() } else { text.to_owned() }
}

struct Events<'a> {
    parser: Parser<'a, saphyr_parser::StrInput<'a>>,
    origin: &'a Origin,
}

impl<'a> Events<'a> {
    fn next(&mut self) -> Result<Event<'a>, ConfigError> {
        match self.parser.next_event() {
            Some(Ok((event, _))) => Ok(event),
            Some(Err(error)) => {
                let place = error.marker();
                let problem = format!("line {}, column {}: not YAML", place.line(), place.col() + 1);
                Err(ConfigError::new(self.origin, problem))
            }
            None => Err(ConfigError::new(self.origin, "ends too early")),
        }
    }

    /// Passes over a nested value whose first event this is.
    fn skip(&mut self, first: &Event<'_>) -> Result<(), ConfigError> {
        let mut open = opened(first);
        while open > 0 {
            open += opened(&self.next()?);
        }
        Ok(())
    }
}

fn opened(event: &Event<'_>) -> i64 {
    match event {
        Event::SequenceStart(..) | Event::MappingStart(..) => 1,
        Event::SequenceEnd | Event::MappingEnd => -1,
        _ => 0,
    }
}
