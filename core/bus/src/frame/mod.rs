//! The PRISEM frame: written strictly, read tolerantly (PRISEM services specification, 4).
//!
//! Pure: bytes in, values out. [`Frame`] writes what we send, [`Received`] reads whatever any generation of peers
//! sends, [`check_strict`] tells what a frame of somebody else does wrong.
//!
//! ```
//! use polybus::frame::{Appdata, Frame, Identity, Received, DEFAULT_MAX_BYTES};
//!
//! let identity = Identity::new("anon_client", "example.org");
//! let appdata = Appdata::new().bytes("data", "192.0.2.1\n").flag("json", true);
//! let body = Frame::request("anon", appdata, &identity).write(DEFAULT_MAX_BYTES)?;
//!
//! let frame = Received::read(&body.into(), DEFAULT_MAX_BYTES)?;
//! assert_eq!(frame.name(), Some("anon"));
//! assert_eq!(frame.appdata().get("json").and_then(|json| json.as_str()), Some("true"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod appdata;
pub mod base64;
mod convert;
mod generation0;
mod identity;
mod json;
mod keys;
mod read;
mod refusal;
mod reply;
mod strict;
pub(crate) mod terse;
mod version;
mod write;

#[cfg(test)]
pub(crate) mod tests;

pub use appdata::Appdata;
pub use convert::{integer, unsigned};
pub use identity::Identity;
pub(crate) use json::decimal;
pub use json::{Json, MAX_LEVELS, MAX_VALUES, Number, Object, ParseError};
pub use read::{ReadFault, Received};
pub use refusal::{Refusal, RefusalCode};
pub use reply::{Answer, BadField, RemoteError, Reply};
pub use strict::check_strict;
pub use terse::{terse_body, terse_frame, terse_text};
pub use version::{InvalidVersion, KNOWN_VERSIONS, ProtocolVersion, is_compatible};
pub use write::{Frame, WriteError};

/// The largest frame sent or accepted unless told otherwise, in bytes (PRISEM services specification, 3.2).
pub const DEFAULT_MAX_BYTES: u64 = 67_108_864;
