//! Prefix-preserving anonymization of addresses (PRISEM services specification, 7.9).
//!
//! Two addresses that share exactly n leading bits share exactly n leading bits afterwards. Every output bit
//! depends on the address bits before it alone, so all blocks of an address are ciphered in one batch.

use std::fmt;
use std::str::FromStr;

use aes::Aes128;
use aes::cipher::{Array, BlockCipherEncrypt, KeyInit};

use crate::key::{KeyError, SecretKey};

/// The construction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PfxMode {
    /// ipcrypt-pfx: two AES-128 keys, IPv4 as IPv4-mapped IPv6.
    IpcryptPfx,
    /// Crypto-PAn: one AES-128 key and a secret pad.
    CryptoPan,
}

/// A word that names no construction.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("no prefix-preserving cipher `{0}` (ipcrypt-pfx or crypto-pan)")]
pub struct UnknownMode(String);

impl FromStr for PfxMode {
    type Err = UnknownMode;

    fn from_str(word: &str) -> Result<Self, UnknownMode> {
        match word {
            "ipcrypt-pfx" => Ok(Self::IpcryptPfx),
            "crypto-pan" => Ok(Self::CryptoPan),
            _ => Err(UnknownMode(word.to_owned())),
        }
    }
}

/// A keyed cipher for addresses.
#[derive(Clone)]
pub struct Pfx(Keyed);

#[derive(Clone)]
enum Keyed {
    CryptoPan { cipher: Box<Aes128>, pad: u128 },
    IpcryptPfx(Box<[Aes128; 2]>),
}

type Blocks = [Array<u8, aes::cipher::consts::U16>; 128];

impl Pfx {
    /// A cipher with a key of 32 bytes.
    ///
    /// # Errors
    /// [`KeyError::Not32`]; [`KeyError::EqualHalves`] for ipcrypt-pfx.
    pub fn new(mode: PfxMode, key: &SecretKey) -> Result<Self, KeyError> {
        let [first, second] = key.halves()?;
        let cipher = Aes128::new(&first.into());
        Ok(Self(match mode {
            PfxMode::CryptoPan => {
                let mut pad = second.into();
                cipher.encrypt_block(&mut pad);
                Keyed::CryptoPan { cipher: Box::new(cipher), pad: u128::from_be_bytes(pad.0) }
            }
            PfxMode::IpcryptPfx if first == second => return Err(KeyError::EqualHalves),
            PfxMode::IpcryptPfx => Keyed::IpcryptPfx(Box::new([cipher, Aes128::new(&second.into())])),
        }))
    }

    /// The pseudonymous IPv4 address.
    #[must_use]
    #[allow(clippy::cast_possible_truncation)] // the address stands in 32 of 128 bits
    pub fn ip4(&self, address: u32) -> u32 {
        match &self.0 {
            Keyed::CryptoPan { .. } => (self.mask(u128::from(address) << 96, 0, 32) >> 96) as u32 ^ address,
            Keyed::IpcryptPfx(_) => self.mask(0xffff << 32 | u128::from(address), 96, 128) as u32 ^ address,
        }
    }

    /// The pseudonymous IPv6 address.
    #[must_use]
    pub fn ip6(&self, address: u128) -> u128 {
        address ^ self.mask(address, 0, 128)
    }

    /// The bits to flip, at positions `from` to `to` counted from the highest.
    fn mask(&self, address: u128, from: usize, to: usize) -> u128 {
        match &self.0 {
            Keyed::CryptoPan { cipher, pad } => {
                let block = |i: u32| {
                    let rest = u128::MAX >> i;
                    address & !rest | pad & rest
                };
                ciphered(cipher, from, to, block, |bytes| bytes[0] >> 7)
            }
            Keyed::IpcryptPfx(ciphers) => {
                let [first, second] = &**ciphers;
                let block = |i| 1u128 << i | address.checked_shr(128 - i).unwrap_or(0);
                let low = |bytes: &[u8; 16]| bytes[15] & 1;
                ciphered(first, from, to, block, low) ^ ciphered(second, from, to, block, low)
            }
        }
    }
}

/// Ciphers one block a position and collects one bit of each.
fn ciphered(
    cipher: &Aes128,
    from: usize,
    to: usize,
    block: impl Fn(u32) -> u128,
    bit: impl Fn(&[u8; 16]) -> u8,
) -> u128 {
    let mut blocks: Blocks = [Array::default(); 128];
    for (i, place) in (0..).zip(&mut blocks[..to]).skip(from) {
        place.0 = block(i).to_be_bytes();
    }
    cipher.encrypt_blocks(&mut blocks[from..to]);
    let mut bits = 0;
    for (i, block) in blocks[from..to].iter().enumerate() {
        bits |= u128::from(bit(&block.0)) << (127 - from - i);
    }
    bits
}

impl fmt::Debug for Pfx {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Keyed::CryptoPan { .. } => "Pfx(CryptoPan)",
            Keyed::IpcryptPfx(_) => "Pfx(IpcryptPfx)",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ident::Address;
    use crate::vectors;
    use proptest::prelude::*;
    use std::net::IpAddr;

    fn keyed(mode: &str, key: &str) -> Pfx {
        Pfx::new(mode.parse().unwrap(), &SecretKey::parse(key.as_bytes()).unwrap()).unwrap()
    }

    fn ciphered_text(pfx: &Pfx, address: &str) -> String {
        let result = match address.parse().unwrap() {
            IpAddr::V4(address) => Address::Ip4(pfx.ip4(address.into())),
            IpAddr::V6(address) => Address::Ip6(pfx.ip6(address.into())),
        };
        let mut out = Vec::new();
        result.write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn known_answers() {
        let pan = keyed("crypto-pan", "1522178d33a4cf80130a5b1649907d10d8988f837979652762574c2d2a842202");
        assert_eq!(ciphered_text(&pan, "192.0.2.1"), "252.255.2.112");
        assert_eq!(ciphered_text(&pan, "192.0.2.2"), "252.255.2.114");
        assert_eq!(ciphered_text(&pan, "2001:db8::1"), "4401:2bc:603f:d91d:27f:ff8e:e6f1:dc1e");
        let pfx = keyed("ipcrypt-pfx", "0123456789abcdeffedcba98765432101032547698badcfeefcdab8967452301");
        assert_eq!(ciphered_text(&pfx, "192.0.2.1"), "100.115.72.131");
        assert_eq!(ciphered_text(&pfx, "192.0.2.2"), "100.115.72.129");
        assert_eq!(ciphered_text(&pfx, "2001:db8::1"), "c180:5dd4:2587:3524:30ab:fa65:6ab6:f88");
    }

    #[test]
    fn table() {
        for vector in vectors::table("pfx.jsonl") {
            let text = |field: &str| vector[field].as_str().unwrap();
            let pfx = keyed(text("mode"), text("key"));
            assert_eq!(ciphered_text(&pfx, text("in")), text("out"), "{}", vector["id"]);
        }
    }

    #[test]
    fn keys_that_do_not_fit() {
        let mode = |word: &str| word.parse().unwrap();
        let equal = SecretKey::parse(&[7; 32]).unwrap();
        assert_eq!(Pfx::new(mode("ipcrypt-pfx"), &equal).unwrap_err(), KeyError::EqualHalves);
        assert!(Pfx::new(mode("crypto-pan"), &equal).is_ok());
        let long = SecretKey::parse(&[7; 33]).unwrap();
        assert_eq!(Pfx::new(mode("crypto-pan"), &long).unwrap_err(), KeyError::Not32(33));
        assert!("pan".parse::<PfxMode>().is_err());
    }

    proptest! {
        #[test]
        fn exactly_the_common_prefix_stays(a: u128, shared in 0u32..=128, b: u128, pan: bool) {
            let pfx = keyed(
                if pan { "crypto-pan" } else { "ipcrypt-pfx" },
                "0123456789abcdeffedcba98765432101032547698badcfeefcdab8967452301",
            );
            let tail = u128::MAX.checked_shr(shared).unwrap_or(0);
            let b = a & !tail | b & tail;
            prop_assert_eq!((pfx.ip6(a) ^ pfx.ip6(b)).leading_zeros(), (a ^ b).leading_zeros());
            let (a, b) = ((a >> 96) as u32, (b >> 96) as u32);
            prop_assert_eq!((pfx.ip4(a) ^ pfx.ip4(b)).leading_zeros(), (a ^ b).leading_zeros());
        }
    }
}
