//! What travels in the queue for the parts that lie beside it.

use std::fmt;
use std::str::FromStr;

use data_encoding::HEXLOWER;
use uuid::Uuid;

use crate::error::{Error, Kind, Operation};

/// The name of the parts of one body: a UUID nobody can guess, written as 32 lower-case hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PartsId(Uuid);

impl PartsId {
    /// A fresh one (UUID version 4).
    #[must_use]
    pub fn fresh() -> Self {
        Self(Uuid::new_v4())
    }
}

impl fmt::Display for PartsId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.simple().fmt(f)
    }
}

impl FromStr for PartsId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let right = text.len() == 32 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        let id = Uuid::try_parse(text).ok().filter(|_| right);
        id.map(Self).ok_or_else(|| broken("id"))
    }
}

/// What the parts of a body are: enough to fetch them and to know that they are the right ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// Their name.
    pub id: PartsId,
    /// How many there are.
    pub parts: u32,
    /// The size of each in bytes, but for the last one, which may be smaller and is not empty.
    pub part: u32,
    /// The size of all together in bytes.
    pub bytes: u64,
    /// SHA-256 of the SHA-256 digests of all parts in order, 32 bytes each: it binds number, order and content.
    pub sha256: [u8; 32],
}

impl Manifest {
    /// The size of the part `index`; 0 behind the last one.
    #[must_use]
    pub fn size_of(&self, index: u32) -> u64 {
        let before = u64::from(index).saturating_mul(u64::from(self.part));
        self.bytes.saturating_sub(before).min(u64::from(self.part))
    }

    fn is_sound(&self) -> bool {
        let part = u64::from(self.part);
        part > 0 && self.bytes.div_ceil(part) == u64::from(self.parts)
    }
}

impl fmt::Display for Manifest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { id, parts, part, bytes, sha256 } = self;
        let sha256 = HEXLOWER.encode(sha256);
        write!(f, "v=1 id={id} parts={parts} part={part} bytes={bytes} sha256={sha256}")
    }
}

/// Reads the words in this order; later versions may add more behind them.
impl FromStr for Manifest {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let mut words = text.split(' ');
        let mut word = |key: &'static str| {
            let value = words.next().and_then(|word| word.strip_prefix(key)?.strip_prefix('='));
            value.ok_or_else(|| broken(key))
        };
        if word("v")? != "1" {
            return Err(broken("v"));
        }
        let id = word("id")?.parse()?;
        let (parts, part, bytes) = (number(word("parts")?)?, number(word("part")?)?, number(word("bytes")?)?);
        let digest = HEXLOWER.decode(word("sha256")?.as_bytes()).ok();
        let sha256 = digest.and_then(|digest| digest.try_into().ok()).ok_or_else(|| broken("sha256"))?;
        let manifest = Self { id, parts, part, bytes, sha256 };
        if manifest.is_sound() { Ok(manifest) } else { Err(broken("parts")) }
    }
}

fn number<T: FromStr>(text: &str) -> Result<T, Error> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| digits).ok_or_else(|| broken("number"))
}

fn broken(word: &str) -> Error {
    let detail = format!("the manifest of a large body cannot be read: {word}");
    Error::new(Kind::Protocol, Operation::Decode).with_detail(detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "v=1 id=0123456789abcdef0123456789abcdef parts=3 part=1000 bytes=2001 \
                        sha256=00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

    #[test]
    fn written_as_it_is_read() {
        let manifest: Manifest = TEXT.parse().unwrap();
        assert_eq!(manifest.to_string(), TEXT);
        assert_eq!([0, 1, 2, 3].map(|index| manifest.size_of(index)), [1000, 1000, 1, 0]);
        assert_eq!(format!("{TEXT} later=1").parse::<Manifest>().unwrap(), manifest);
        let id = PartsId::fresh();
        assert_eq!(id.to_string().parse::<PartsId>().unwrap(), id);
    }

    #[test]
    fn whatever_does_not_fit_together_is_refused() {
        for (from, to) in [
            ("v=1", "v=2"),
            ("parts=3", "parts=4"),
            ("part=1000", "part=0"),
            ("part=1000", "part=1001"),
            ("bytes=2001", "bytes=+2001"),
            ("bytes=2001", "bytes=99999999999999999999"),
            ("id=0", "id=A"),
            ("id=0", "id="),
            ("sha256=00", "sha256=0"),
            (" parts", "  parts"),
        ] {
            let error = TEXT.replacen(from, to, 1).parse::<Manifest>().unwrap_err();
            assert_eq!(error.kind(), Kind::Protocol, "{from} {to}");
        }
        assert!("".parse::<Manifest>().is_err());
    }
}
