//! Secret keys of pseudonyms and of prefix-preserving anonymization (PRISEM services specification, 7.8.5 and 7.9).

use std::fmt;

use data_encoding::HEXLOWER_PERMISSIVE;
use thiserror::Error;

/// A secret key. It is never shown, not even for debugging.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretKey(Vec<u8>);

/// Why the content of a key file is refused.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum KeyError {
    /// Hex digits, but an odd number of them: one was lost or doubled.
    #[error("the key has an odd number of hex digits")]
    OddHex,
    /// Too few bytes to be a secret.
    #[error("the key has {0} bytes, at least 16 are needed")]
    TooShort(usize),
    /// Prefix-preserving ciphers take keys of one length.
    #[error("the key has {0} bytes, exactly 32 are needed")]
    Not32(usize),
    /// With two equal halves ipcrypt-pfx would give back every address unchanged.
    #[error("the two halves of the key are equal, which would leave addresses in clear")]
    EqualHalves,
}

impl SecretKey {
    /// Reads the content of a key file: an even number of hex digits (blanks and line ends around them do not
    /// matter), or raw bytes.
    ///
    /// # Errors
    /// [`KeyError::OddHex`] and [`KeyError::TooShort`].
    pub fn parse(content: &[u8]) -> Result<Self, KeyError> {
        let trimmed = content.trim_ascii();
        let hex = !trimmed.is_empty() && trimmed.iter().all(u8::is_ascii_hexdigit);
        let bytes = match HEXLOWER_PERMISSIVE.decode(trimmed) {
            Ok(bytes) if hex => bytes,
            _ if hex => return Err(KeyError::OddHex),
            _ => content.to_owned(),
        };
        if bytes.len() < 16 { Err(KeyError::TooShort(bytes.len())) } else { Ok(Self(bytes)) }
    }

    /// The bytes of the key.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// The two AES-128 keys of a prefix-preserving cipher.
    ///
    /// # Errors
    /// [`KeyError::Not32`].
    pub(crate) fn halves(&self) -> Result<[[u8; 16]; 2], KeyError> {
        let (halves, rest) = self.0.as_chunks::<16>();
        match halves {
            [first, second] if rest.is_empty() => Ok([*first, *second]),
            _ => Err(KeyError::Not32(self.0.len())),
        }
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretKey({} bytes)", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hex_and_raw() {
        let hex = SecretKey::parse(b" 00112233445566778899AAbbccddeeff\r\n").unwrap();
        assert_eq!(hex.bytes()[..3], [0, 0x11, 0x22]);
        assert_eq!(SecretKey::parse(&[200; 33]).unwrap().bytes().len(), 33);
        assert_eq!(SecretKey::parse(&[b'a'; 33]), Err(KeyError::OddHex));
        assert_eq!(SecretKey::parse(&[b'a'; 30]), Err(KeyError::TooShort(15)));
        assert_eq!(SecretKey::parse(b""), Err(KeyError::TooShort(0)));
    }

    #[test]
    fn a_key_is_not_shown() {
        let key = SecretKey::parse(&[b'a'; 64]).unwrap();
        assert_eq!(format!("{key:?}"), "SecretKey(32 bytes)");
        assert!(key.halves().is_ok());
        assert_eq!(SecretKey::parse(&[1; 31]).unwrap().halves(), Err(KeyError::Not32(31)));
    }
}
