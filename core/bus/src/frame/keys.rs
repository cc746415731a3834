//! Finding the keys of a frame whose spelling varies (PRISEM services specification, 4.4, step 5).

use std::collections::HashMap;

use super::{Json, Object};

/// The keys of any generation's frames.
const NAMES: [&str; 12] = [
    "name",
    "release",
    "protocolver",
    "hostname",
    "platform",
    "pika_version",
    "pid",
    "time",
    "appdata",
    "protocol_version",
    "command",
    "result",
];

/// No spelling of a name is longer, also with signs of several bytes.
const LONGEST: usize = 64;

/// The top level of a frame, looked up in lower case with `-` read as `_`.
pub(super) struct Keys<'a> {
    object: &'a Object,
    variants: HashMap<String, &'a str>,
}

impl<'a> Keys<'a> {
    /// Looks through `object` once, so that many unknown keys cost little.
    pub(super) fn of(object: &'a Object) -> Self {
        let mut variants = HashMap::new();
        for (key, _) in object.iter().filter(|(key, _)| key.len() <= LONGEST) {
            let name = folded(key);
            if NAMES.contains(&name.as_str()) {
                variants.entry(name).or_insert(key);
            }
        }
        Self { object, variants }
    }

    /// How `name` is spelled in this frame: exactly so if it is there, else as the first variant.
    pub(super) fn spelling(&self, name: &'a str) -> Option<&'a str> {
        match self.object.get(name) {
            Some(_) => Some(name),
            None => self.variants.get(name).copied(),
        }
    }

    /// The value of `name`; null and missing are the same.
    pub(super) fn get(&self, name: &'a str) -> Option<&'a Json> {
        self.object.get(self.spelling(name)?).filter(|value| !value.is_null())
    }
}

fn folded(key: &str) -> String {
    key.to_lowercase().replace('-', "_")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str, name: &str) -> Option<String> {
        let json = Json::parse(text.to_owned()).unwrap();
        let keys = Keys::of(json.as_object().unwrap());
        keys.get(name).map(Json::compact)
    }

    #[test]
    fn exact_spelling_wins_then_the_first_variant() {
        let text = r#"{"PID":1,"Pid":2,"pid":3,"Pika-Version":4,"PIKA_VERSION":5}"#;
        assert_eq!(found(text, "pid").as_deref(), Some("3"));
        assert_eq!(found(text, "pika_version").as_deref(), Some("4"));
        assert_eq!(found(r#"{"PID":1,"pid":null}"#, "pid"), None);
        assert_eq!(found(text, "name"), None);
    }
}
