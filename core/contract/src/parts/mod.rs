//! Bodies larger than the bus takes: ordered parts that lie beside the queue, and the manifest that travels in it.
//!
//! What lies where, byte for byte, is in `docs/src/wire-parts.md`.

mod manifest;
mod store;
mod stored;
mod upload;

use std::time::Duration;

pub use manifest::{Manifest, PartsId};
pub use store::{Part, PartSink, PartSource, PartStore};
pub use stored::StoredParts;
pub(crate) use stored::Unreadable;
pub use upload::Upload;

/// The carried header with the [`Manifest`] of the parts that belong behind the body.
pub const PARTS: &str = "x-polybus-parts";

/// The carried header of a request whose sender reads replies in parts. Nobody else is sent any.
pub const TAKES_PARTS: &str = "x-polybus-takes-parts";

/// How long parts live that nobody touches, unless a shorter time is known: whatever waits longer has lost them.
pub const PARTS_LIVE: Duration = Duration::from_hours(24);
