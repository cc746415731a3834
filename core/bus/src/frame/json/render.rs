//! JSON written: compact, compact with sorted keys (for hashes), or for reading.

use super::{Json, Object};

/// How deep each level of [`Json::pretty_sorted`] is moved in.
const INDENT: &str = "    ";

impl Json {
    /// Compact JSON: no blanks, keys in order, shortest escapes, UTF-8 otherwise, numbers as written.
    #[must_use]
    pub fn compact(&self) -> String {
        render(self, Style::Compact)
    }

    /// Compact JSON with the keys of every object sorted by their bytes.
    #[must_use]
    pub fn compact_sorted(&self) -> String {
        render(self, Style::Sorted)
    }

    /// One value a line, sorted keys, four blanks a level.
    #[must_use]
    pub fn pretty_sorted(&self) -> String {
        render(self, Style::Pretty)
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Style {
    Compact,
    Sorted,
    Pretty,
}

fn render(value: &Json, style: Style) -> String {
    let mut writer = Writer { out: String::new(), style, level: 0 };
    writer.value(value);
    writer.out
}

/// `text` with quotes, as JSON writes it.
pub(crate) fn quoted(text: &str) -> String {
    // Writing a text to a String cannot fail.
    serde_json::to_string(text).unwrap_or_default()
}

struct Writer {
    out: String,
    style: Style,
    level: usize,
}

impl Writer {
    fn value(&mut self, value: &Json) {
        match value {
            Json::Null => self.out.push_str("null"),
            Json::Bool(true) => self.out.push_str("true"),
            Json::Bool(false) => self.out.push_str("false"),
            Json::Number(number) => self.out.push_str(&number.as_written()),
            Json::String(text) => self.out.push_str(&quoted(text)),
            Json::Array(items) => self.list('[', items.iter(), ']', Self::value),
            Json::Object(object) => self.object(object),
        }
    }

    fn object(&mut self, object: &Object) {
        if self.style == Style::Compact {
            self.list('{', object.iter(), '}', Self::entry);
        } else {
            self.list('{', object.sorted().into_iter(), '}', Self::entry);
        }
    }

    fn entry(&mut self, (key, value): (&str, &Json)) {
        self.out.push_str(&quoted(key));
        self.out.push(':');
        if self.style == Style::Pretty {
            self.out.push(' ');
        }
        self.value(value);
    }

    fn list<T>(
        &mut self,
        open: char,
        items: impl ExactSizeIterator<Item = T>,
        close: char,
        write: impl Fn(&mut Self, T),
    ) {
        self.out.push(open);
        self.level += 1;
        let count = items.len();
        for (place, item) in items.enumerate() {
            if place > 0 {
                self.out.push(',');
            }
            self.new_line();
            write(self, item);
        }
        self.level -= 1;
        if count > 0 {
            self.new_line();
        }
        self.out.push(close);
    }

    fn new_line(&mut self) {
        if self.style == Style::Pretty {
            self.out.push('\n');
            self.out.push_str(&INDENT.repeat(self.level));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_ways_to_write() {
        let json = Json::parse(r#" { "b" : [1.50, null], "a": {}, "é\u0001": "\"" } "#).unwrap();
        assert_eq!(json.compact(), "{\"b\":[1.50,null],\"a\":{},\"é\\u0001\":\"\\\"\"}");
        assert_eq!(json.compact_sorted(), "{\"a\":{},\"b\":[1.50,null],\"é\\u0001\":\"\\\"\"}");
        assert_eq!(
            json.pretty_sorted(),
            "{\n    \"a\": {},\n    \"b\": [\n        1.50,\n        null\n    ],\n    \"é\\u0001\": \"\\\"\"\n}"
        );
    }
}
