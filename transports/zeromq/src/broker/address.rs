//! Reply addresses as clients see them: who was not given one cannot make one.

use data_encoding::HEXLOWER;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// Bytes of the seal that are said: enough that nobody guesses one.
const SEAL: usize = 16;

/// Seals the addresses of one run of the broker. Those of an earlier run are nobody's.
pub(super) struct Addresses {
    /// In front of each: a look at the address alone tells whether it is of this run.
    epoch: String,
    keyed: Hmac<Sha256>,
}

impl Addresses {
    pub(super) fn new() -> Self {
        let random = || uuid::Uuid::new_v4().simple().to_string();
        let key = random() + &random();
        // HMAC takes keys of any length.
        let keyed = Hmac::new_from_slice(key.as_bytes())
            .unwrap_or_else(|_| Hmac::new(&hmac::digest::Key::<Hmac<Sha256>>::default()));
        Self { epoch: random()[..16].to_owned(), keyed }
    }

    fn seal(&self, inner: &str) -> Hmac<Sha256> {
        let mut seal = self.keyed.clone();
        seal.update(inner.as_bytes());
        seal
    }

    /// An address of the bus inside, for clients.
    pub(super) fn outside(&self, inner: &str) -> String {
        let seal = self.seal(inner).finalize().into_bytes();
        format!("{}.{inner}.{}", self.epoch, HEXLOWER.encode(&seal[..SEAL]))
    }

    /// The address of the bus inside, if it was given out in this run.
    pub(super) fn inside<'a>(&self, address: &'a str) -> Option<&'a str> {
        let own = address.strip_prefix(self.epoch.as_str())?.strip_prefix('.')?;
        let (inner, said) = own.rsplit_once('.')?;
        let said = HEXLOWER.decode(said.as_bytes()).ok().filter(|said| said.len() == SEAL)?;
        self.seal(inner).verify_truncated_left(&said).ok().map(|()| inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_given_out_is_an_address() {
        let (addresses, earlier) = (Addresses::new(), Addresses::new());
        let address = addresses.outside("41");
        assert_eq!(addresses.inside(&address), Some("41"));
        assert_eq!(addresses.inside(&addresses.outside("a.b")), Some("a.b"));
        let [epoch, _, seal]: [&str; 3] = address.split('.').collect::<Vec<_>>().try_into().unwrap();
        for forged in [
            format!("{epoch}.42.{seal}"),
            format!("{epoch}.41"),
            format!("{epoch}.41."),
            format!("{epoch}.41.{}", &seal[..2]),
            format!("{epoch}.41.{seal}00"),
            format!("{epoch}.41.{}", seal.to_uppercase().replace(|digit: char| digit.is_numeric(), "A")),
            format!(".41.{seal}"),
            earlier.outside("41"),
            String::new(),
        ] {
            assert_eq!(addresses.inside(&forged), None, "{forged}");
        }
    }
}
