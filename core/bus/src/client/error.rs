//! Why a call brought no reply.

use std::fmt;

use polybus_contract::{Error, Kind};
use thiserror::Error as ThisError;

use crate::exit;
use crate::frame::WriteError;

/// Why a call brought no reply.
#[derive(Clone, Debug, ThisError)]
#[non_exhaustive]
pub enum CallError {
    /// The bus failed, nobody answered, or the deadline passed.
    #[error(transparent)]
    Bus(#[from] Error),
    /// The request cannot be written: too large, or not what its fields promise. Nothing was sent.
    #[error("the request cannot be sent: {0}")]
    Unwritable(#[from] WriteError),
    /// A reply came that is no reply frame.
    #[error("the reply cannot be read: {0}")]
    NotUnderstood(String),
}

impl CallError {
    pub(super) fn not_understood(why: &dyn fmt::Display) -> Self {
        Self::NotUnderstood(why.to_string())
    }

    /// What a program ends with (PRISEM services specification, 3.3).
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Bus(error) => exit::code(error),
            Self::Unwritable(WriteError::TooLarge { .. }) => exit::DATA,
            Self::Unwritable(WriteError::NotStrict { .. }) => exit::INTERNAL,
            Self::NotUnderstood(_) => exit::PROTOCOL,
        }
    }

    /// The kind of the bus's error, if it was the bus.
    #[must_use]
    pub fn kind(&self) -> Option<Kind> {
        match self {
            Self::Bus(error) => Some(error.kind()),
            _ => None,
        }
    }
}
