//! The beginning: greeting, hello, welcome, and how a shared secret is proven without being said.

use std::fmt;

use data_encoding::HEXLOWER;
use hmac::{Hmac, KeyInit, Mac};
use polybus_lines::ProfileLine;
use serde::{Deserialize, Serialize};
use sha2::Sha256;

/// What the broker says first.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct GreetingLine {
    /// The versions that it speaks.
    pub(crate) versions: Vec<u8>,
    /// Random, new for each connection.
    pub(crate) nonce: String,
    /// Whether a proof is needed.
    pub(crate) proof_needed: bool,
    /// What it is.
    pub(crate) broker: String,
}

/// What the client answers.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct HelloLine {
    /// Chosen by the client, the same for as long as it lives: 32 hexadecimal digits.
    pub(crate) client: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) user: Option<String>,
    /// Random, new for each connection.
    pub(crate) nonce: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) proof: Option<String>,
    /// Will come back after a lost connection: what it has in hand is kept for it for a while.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) keep: bool,
    /// Wants to go on where it was.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) resume: bool,
    /// The deliveries that it still has; whatever else it was sent goes back unseen.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) holding: Vec<u64>,
    /// The requests whose replies it still waits for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) asking: Vec<u64>,
}

/// What the broker says to a hello that is fine.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct WelcomeLine {
    /// Whether the client goes on where it was.
    pub(crate) resumed: bool,
    /// The requests of `asking` that the broker still knows.
    pub(crate) asking: Vec<u64>,
    pub(crate) profile: ProfileLine,
    /// The size of the parts of large bodies.
    pub(crate) part: u32,
    /// How often the broker says something at least.
    pub(crate) heartbeat_ms: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) proof: Option<String>,
}

/// Who proves something, so that one proof cannot be sent back as the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Client,
    Broker,
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Client => "client",
            Self::Broker => "broker",
        })
    }
}

/// What both nonces and the user are bound into.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Challenge<'a> {
    pub(crate) user: &'a str,
    pub(crate) client: &'a str,
    pub(crate) client_nonce: &'a str,
    pub(crate) broker_nonce: &'a str,
}

impl Challenge<'_> {
    fn mac(&self, side: Side, secret: &[u8]) -> Hmac<Sha256> {
        let Self { user, client, client_nonce, broker_nonce } = self;
        let text = format!("polybus zeromq 1 {side}\n{user}\n{client}\n{client_nonce}\n{broker_nonce}\n");
        // HMAC takes a key of any length.
        let mut mac = Hmac::<Sha256>::new_from_slice(secret)
            .unwrap_or_else(|_| Hmac::new(&hmac::digest::Key::<Hmac<Sha256>>::default()));
        mac.update(text.as_bytes());
        mac
    }

    /// The proof that this side knows the secret: 64 hexadecimal digits.
    pub(crate) fn prove(&self, side: Side, secret: &[u8]) -> String {
        HEXLOWER.encode(&self.mac(side, secret).finalize().into_bytes())
    }

    /// Whether the other side knows the secret; takes the same time for every wrong proof.
    pub(crate) fn is_proven(&self, side: Side, secret: &[u8], proof: &str) -> bool {
        let Ok(proof) = HEXLOWER.decode(proof.as_bytes()) else { return false };
        self.mac(side, secret).verify_slice(&proof).is_ok()
    }
}

/// 32 random bytes as hexadecimal digits.
pub(crate) fn nonce() -> String {
    let (one, other) = (uuid::Uuid::new_v4(), uuid::Uuid::new_v4());
    format!("{}{}", one.simple(), other.simple())
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHALLENGE: Challenge<'_> =
        Challenge { user: "alice", client: "c", client_nonce: "n1", broker_nonce: "n2" };

    #[test]
    fn a_proof_is_of_one_side_one_secret_and_one_connection() {
        let proof = CHALLENGE.prove(Side::Client, b"s3cret");
        assert!(CHALLENGE.is_proven(Side::Client, b"s3cret", &proof));
        assert!(!CHALLENGE.is_proven(Side::Broker, b"s3cret", &proof));
        assert!(!CHALLENGE.is_proven(Side::Client, b"secret", &proof));
        let later = Challenge { broker_nonce: "n3", ..CHALLENGE };
        assert!(!later.is_proven(Side::Client, b"s3cret", &proof));
        assert!(!CHALLENGE.is_proven(Side::Client, b"s3cret", "no proof"));
        assert_ne!(nonce(), nonce());
    }

    /// The vector in the book.
    #[test]
    fn the_proof_of_the_book() {
        let challenge = Challenge {
            user: "alice",
            client: "00112233445566778899aabbccddeeff",
            client_nonce: "aa",
            broker_nonce: "bb",
        };
        let page = include_str!("../../../../docs/src/wire-zeromq.md");
        for side in [Side::Client, Side::Broker] {
            let proof = challenge.prove(side, b"open sesame");
            assert!(page.contains(&proof), "{side}: {proof}");
        }
    }
}
