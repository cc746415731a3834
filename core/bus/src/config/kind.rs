//! The kinds of settings: what a value must be, whatever source it comes from.

use figment::value::{Num, Value};

use super::address;
use crate::frame::ProtocolVersion;

/// What a setting may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A text that is not empty.
    Text,
    /// A text that may be empty.
    AnyText,
    /// A text that is never shown.
    Secret,
    /// The name of a file.
    File,
    /// The URL of a bus; passwords in it are not shown.
    Url,
    /// `host`, `host:port` or `[v6]:port`.
    Server,
    /// Yes or no: `true`, `yes`, `on`, `1` or the opposite, in any case.
    Flag,
    /// An integer between these two.
    Integer(u64, u64),
    /// Seconds, with fraction, at most a year.
    Seconds,
    /// One of these words, in any case.
    Word(&'static [&'static str]),
    /// Names: an array of texts, or one text with commas between them. Blanks around them are cut off, empty ones left out.
    Names,
    /// A protocol version.
    Version,
    /// A level of the Traffic Light Protocol; a prefix `TLP:` is cut off, `clear` is `white`.
    Tlp,
}

const LEVELS: [&str; 5] = ["red", "amber+strict", "amber", "green", "white"];

const MAX_SECONDS: f64 = 31_536_000.0;

impl Kind {
    /// What is expected, for error texts and for help.
    #[must_use]
    pub fn expected(self) -> String {
        match self {
            Self::Text | Self::AnyText | Self::Secret => "a text".to_owned(),
            Self::File => "a file name".to_owned(),
            Self::Url => "a bus URL such as amqps://mq.example.org".to_owned(),
            Self::Server => "host, host:port or [v6]:port".to_owned(),
            Self::Flag => "true or false".to_owned(),
            Self::Integer(least, most) => format!("an integer from {least} to {most}"),
            Self::Seconds => "seconds from 0 to 31536000".to_owned(),
            Self::Word(words) => format!("one of {}", words.join(", ")),
            Self::Names => "names, in an array or with commas between them".to_owned(),
            Self::Version => "a protocol version such as 0.5.5".to_owned(),
            Self::Tlp => format!("one of {}", LEVELS.join(", ")),
        }
    }

    /// True if nobody may see the value.
    #[must_use]
    pub fn is_secret(self) -> bool {
        self == Self::Secret
    }

    /// The value of a text, as old files and environment variables give it. `Ok(None)` if an empty text leaves the
    /// setting unset; an error if the text is not of this kind.
    pub(super) fn of_text(self, text: &str) -> Result<Option<Value>, ()> {
        if text.is_empty() && self != Self::AnyText {
            return Ok(None);
        }
        let value = match self {
            Self::Flag => flag(text).map(Value::from),
            Self::Integer(..) => text.trim().parse().ok().and_then(|number| self.integer(number)),
            Self::Seconds => text.trim().parse().ok().and_then(seconds),
            Self::Names => Some(names(text.split(','))),
            _ => self.text(text).map(Value::from),
        };
        value.map(Some).ok_or(())
    }

    /// The value of a typed source. Texts are read as [`of_text`](Self::of_text) does.
    pub(super) fn of_value(self, value: &Value) -> Result<Option<Value>, ()> {
        let typed = match (self, value) {
            (_, Value::Empty(..)) => return Ok(None),
            (_, Value::String(_, text)) => return self.of_text(text),
            (Self::Flag, Value::Bool(_, flag)) => Some(Value::from(*flag)),
            (Self::Integer(..), Value::Num(_, number)) => {
                unsigned(*number).and_then(|number| self.integer(number))
            }
            (Self::Seconds, Value::Num(_, number)) => as_float(*number).and_then(seconds),
            (Self::Names, Value::Array(_, values)) => values
                .iter()
                .map(Value::as_str)
                .collect::<Option<Vec<_>>>()
                .map(|texts| names(texts.into_iter())),
            _ => None,
        };
        typed.map(Some).ok_or(())
    }

    fn integer(self, number: u64) -> Option<Value> {
        matches!(self, Self::Integer(least, most) if (least..=most).contains(&number))
            .then(|| Value::from(number))
    }

    fn text(self, text: &str) -> Option<String> {
        match self {
            Self::Url => (text.contains(':') && !text.contains(char::is_whitespace)).then(|| text.to_owned()),
            Self::Server => address::split(text).map(|_| text.to_owned()),
            Self::Word(words) => {
                words.iter().find(|word| word.eq_ignore_ascii_case(text)).map(|&word| word.to_owned())
            }
            Self::Version => text.parse::<ProtocolVersion>().ok().map(|version| version.to_string()),
            Self::Tlp => tlp(text),
            _ => Some(text.to_owned()),
        }
    }
}

fn flag(text: &str) -> Option<bool> {
    match text.trim().to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" | "1" => Some(true),
        "false" | "no" | "off" | "0" => Some(false),
        _ => None,
    }
}

fn names<'a>(texts: impl Iterator<Item = &'a str>) -> Value {
    Value::from(texts.map(str::trim).filter(|name| !name.is_empty()).collect::<Vec<_>>())
}

fn seconds(number: f64) -> Option<Value> {
    (0.0..=MAX_SECONDS).contains(&number).then(|| Value::from(number))
}

fn tlp(text: &str) -> Option<String> {
    let lower = text.trim().to_ascii_lowercase();
    let level = lower.strip_prefix("tlp:").map_or(lower.as_str(), str::trim);
    let level = if level == "clear" { "white" } else { level };
    LEVELS.contains(&level).then(|| level.to_owned())
}

fn unsigned(number: Num) -> Option<u64> {
    let wide = number.to_u128().or_else(|| number.to_i128().and_then(|number| u128::try_from(number).ok()));
    wide.and_then(|number| u64::try_from(number).ok())
}

fn as_float(number: Num) -> Option<f64> {
    match unsigned(number) {
        Some(whole) => u32::try_from(whole).ok().map(f64::from),
        None => number.to_f64(),
    }
}
