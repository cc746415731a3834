//! The JSON reader: RFC 8259, nothing more, at most [`MAX_LEVELS`] levels deep.

use bytestring::ByteString;
use memchr::memchr2;
use thiserror::Error;

use super::{Json, Number, Object};

/// How many arrays and objects may stand inside one another (PRISEM services specification, 4.4).
pub const MAX_LEVELS: usize = 128;

/// How many values one text may hold. No peer sends a tenth of it, and each value takes far more memory than the two
/// bytes that it may be written with: without a bound a frame of the largest size could take gigabytes.
pub const MAX_VALUES: usize = 2_000_000;

/// Why a text is not JSON, and where.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{what} at byte {offset}")]
pub struct ParseError {
    what: &'static str,
    offset: usize,
}

impl ParseError {
    /// The byte of the text at which reading stopped.
    #[must_use]
    pub fn offset(&self) -> usize {
        self.offset
    }
}

impl Json {
    /// Reads a text that holds one JSON value and nothing else but white space around it.
    ///
    /// # Errors
    ///
    /// What is wrong, and at which byte: bad grammar, a lone surrogate escape, more than [`MAX_LEVELS`] levels or
    /// [`MAX_VALUES`] values.
    pub fn parse(text: impl Into<ByteString>) -> Result<Self, ParseError> {
        let source = text.into();
        let mut parser = Parser { source: &source, at: 0, level: 0, values: 0 };
        parser.skip_blanks();
        let value = parser.value()?;
        parser.skip_blanks();
        match parser.peek() {
            None => Ok(value),
            Some(_) => parser.fail("more after the value"),
        }
    }
}

struct Parser<'a> {
    source: &'a ByteString,
    at: usize,
    level: usize,
    values: usize,
}

impl Parser<'_> {
    fn bytes(&self) -> &[u8] {
        self.source.as_bytes()
    }

    fn peek(&self) -> Option<u8> {
        self.bytes().get(self.at).copied()
    }

    fn fail<T>(&self, what: &'static str) -> Result<T, ParseError> {
        Err(ParseError { what, offset: self.at })
    }

    fn eat(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    fn skip_blanks(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn value(&mut self) -> Result<Json, ParseError> {
        self.values += 1;
        if self.values > MAX_VALUES {
            return self.fail("more than 2000000 values");
        }
        match self.peek() {
            Some(b'{') => self.nested(Self::object),
            Some(b'[') => self.nested(Self::array),
            Some(b'"') => self.string().map(Json::String),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(b't') => self.word("true", Json::Bool(true)),
            Some(b'f') => self.word("false", Json::Bool(false)),
            Some(b'n') => self.word("null", Json::Null),
            Some(_) => self.fail("not a value"),
            None => self.fail("the text ends too early"),
        }
    }

    fn nested(&mut self, read: fn(&mut Self) -> Result<Json, ParseError>) -> Result<Json, ParseError> {
        if self.level == MAX_LEVELS {
            return self.fail("more than 128 levels");
        }
        self.level += 1;
        self.at += 1;
        self.skip_blanks();
        let value = read(self);
        self.level -= 1;
        value
    }

    fn object(&mut self) -> Result<Json, ParseError> {
        let mut object = Object::new();
        if self.eat(b'}') {
            return Ok(Json::Object(object));
        }
        loop {
            let key = if self.peek() == Some(b'"') { self.string()? } else { self.fail("not a key")? };
            self.skip_blanks();
            if !self.eat(b':') {
                return self.fail("no colon after a key");
            }
            self.skip_blanks();
            let value = self.value()?;
            object.insert(key, value);
            if self.ends_with(b'}')? {
                return Ok(Json::Object(object));
            }
        }
    }

    fn array(&mut self) -> Result<Json, ParseError> {
        let mut items = Vec::new();
        if self.eat(b']') {
            return Ok(Json::Array(items));
        }
        loop {
            items.push(self.value()?);
            if self.ends_with(b']')? {
                return Ok(Json::Array(items));
            }
        }
    }

    /// Behind an element: true at the closing sign, false at a comma, which it takes.
    fn ends_with(&mut self, close: u8) -> Result<bool, ParseError> {
        self.skip_blanks();
        if self.eat(close) {
            return Ok(true);
        }
        if !self.eat(b',') {
            return self.fail("neither comma nor end after an element");
        }
        self.skip_blanks();
        Ok(false)
    }

    fn word(&mut self, word: &'static str, value: Json) -> Result<Json, ParseError> {
        if !self.bytes()[self.at..].starts_with(word.as_bytes()) {
            return self.fail("not a value");
        }
        self.at += word.len();
        Ok(value)
    }

    fn number(&mut self) -> Result<Json, ParseError> {
        let start = self.at;
        self.eat(b'-');
        if !self.eat(b'0') {
            self.digits()?;
        }
        if self.eat(b'.') {
            self.digits()?;
        }
        if self.eat(b'e') || self.eat(b'E') {
            let _ = self.eat(b'+') || self.eat(b'-');
            self.digits()?;
        }
        Ok(Json::Number(Number::from_checked(self.source, &self.source[start..self.at])))
    }

    fn digits(&mut self) -> Result<(), ParseError> {
        let start = self.at;
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        if self.at == start { self.fail("not a number") } else { Ok(()) }
    }

    /// A text at its opening quote. Without escapes it is a slice of the source.
    fn string(&mut self) -> Result<ByteString, ParseError> {
        let open = self.at;
        let (close, escaped) = self.closing_quote()?;
        self.at = close + 1;
        if escaped {
            let quoted = &self.source[open..=close];
            let plain: Result<String, _> = serde_json::from_str(quoted);
            return plain
                .map(Into::into)
                .map_err(|_| ParseError { what: "a text with a bad escape or control sign", offset: open });
        }
        let inner = &self.source[open + 1..close];
        match inner.bytes().position(|byte| byte < 0x20) {
            None => Ok(self.source.slice_ref(inner)),
            Some(place) => Err(ParseError { what: "a control sign in a text", offset: open + 1 + place }),
        }
    }

    /// Where the text that begins here ends, and whether it holds escapes.
    fn closing_quote(&self) -> Result<(usize, bool), ParseError> {
        let (mut at, mut escaped) = (self.at + 1, false);
        loop {
            let rest = self.bytes().get(at..).unwrap_or_default();
            match memchr2(b'"', b'\\', rest) {
                None => return self.fail("a text without an end"),
                Some(place) if rest[place] == b'"' => return Ok((at + place, escaped)),
                Some(place) => at += place + 2,
            }
            escaped = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nested(levels: usize) -> String {
        format!("{}{}", "[".repeat(levels), "]".repeat(levels))
    }

    #[test]
    fn exactly_128_levels_are_allowed() {
        assert!(Json::parse(nested(128)).is_ok());
        let deep = Json::parse(nested(129)).unwrap_err();
        assert_eq!(deep.offset(), 128);
    }

    #[test]
    fn the_number_of_values_is_bounded() {
        let zeros = |count: usize| format!("[{}0]", "0,".repeat(count - 1));
        let many = Json::parse(zeros(MAX_VALUES)).unwrap_err();
        assert_eq!(many.to_string(), format!("more than {MAX_VALUES} values at byte {}", 2 * MAX_VALUES - 1));
    }

    #[test]
    fn text_without_escapes_shares_the_source() {
        let source = ByteString::from(r#"{"data":"MTkyLjAuMi4x"}"#.to_owned());
        let json = Json::parse(source.clone()).unwrap();
        let data = json.as_object().unwrap().get("data").unwrap().as_str().unwrap();
        assert!(source.as_bytes().as_ptr_range().contains(&data.as_ptr()));
    }

    #[test]
    fn grammar_of_rfc_8259_only() {
        for good in ["0", " -1.5e+3\r\n", "\"\\u00e9\\/\"", "[ ]", "{ }", "[1 , 2]", "1E400", "\"\u{7f}\""] {
            assert!(Json::parse(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "01",
            "1.",
            ".5",
            "+1",
            "-",
            "1e",
            "NaN",
            "-Infinity",
            "nul",
            "truex",
            "[1,]",
            "{,}",
            "[1 2]",
            "{\"a\" 1}",
            "{\"a\":}",
            "{a:1}",
            "\"",
            "\"\\",
            "\"\\\"",
            "\"\\x\"",
            "\"\\ud800\"",
            "\"\\udc00\\ud800\"",
            "\"a\nb\"",
            "\"\\n\n\"",
            "1 2",
            "\u{feff}1",
            "\u{a0}1",
            "[",
            "{\"a\":1",
        ] {
            assert!(Json::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn of_equal_keys_the_last_counts_at_the_first_place() {
        let json = Json::parse(r#"{"a":1,"b":2,"\u0061":3}"#).unwrap();
        assert_eq!(json.compact(), r#"{"a":3,"b":2}"#);
    }
}
