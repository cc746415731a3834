//! What is said between client and broker. The book describes it byte for byte (`docs/src/wire-zeromq.md`).

pub mod frame;

pub(crate) mod figures;
pub(crate) mod hello;
pub(crate) mod message;
pub(crate) mod options;
pub(crate) mod place;
pub(crate) mod topology;
pub(crate) mod verbs;
pub(crate) mod words;
