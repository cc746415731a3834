//! Keyed stable pseudonyms (PRISEM services specification, 7.8.5).

use data_encoding::BASE32_NOPAD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::key::SecretKey;

/// How many signs of base32 a pseudonym has.
const SIGNS: usize = 8;

/// Pseudonyms of the identifiers of one label: the same value has the same one in every document made with the
/// key.
#[derive(Clone)]
pub struct Pseudonyms(Hmac<Sha256>);

impl Pseudonyms {
    /// Pseudonyms for a label. The label takes part as it is, not cleaned as in a mask.
    #[must_use]
    pub fn new(key: &SecretKey, label: &str) -> Self {
        // HMAC takes keys of any length; without one there is nothing to hash with.
        let mut mac = Hmac::new_from_slice(key.bytes()).unwrap_or_else(|_| Hmac::new(&[0; 64].into()));
        mac.update(b"polybus-pseudonym-v1\0");
        mac.update(label.as_bytes());
        mac.update(b"\0");
        Self(mac)
    }

    /// The pseudonym of a value (7.2.5): eight lower-case letters and digits.
    #[must_use]
    pub fn of(&self, value: &[u8]) -> [u8; SIGNS] {
        let mut mac = self.0.clone();
        mac.update(value);
        let hash = mac.finalize().into_bytes();
        let mut signs = [0; SIGNS];
        // Five bytes are exactly eight signs.
        BASE32_NOPAD.encode_mut(&hash[..5], &mut signs);
        signs.make_ascii_lowercase();
        signs
    }
}

impl std::fmt::Debug for Pseudonyms {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Pseudonyms")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vectors;

    #[test]
    fn table() {
        for vector in vectors::table("pseudonyms.jsonl") {
            let text = |field: &str| vector[field].as_str().unwrap();
            let key = SecretKey::parse(text("key").as_bytes()).unwrap();
            let pseudonym = Pseudonyms::new(&key, text("label")).of(text("value").as_bytes());
            assert_eq!(pseudonym, text("pseudonym").as_bytes(), "{}", vector["id"]);
        }
    }
}
