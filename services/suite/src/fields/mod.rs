//! Fields of requests: read as their kinds, canonical, hashed (PRISEM services specification, 6.1 and 11.2).
//!
//! Each service has one declaration in `services.rs`: the order of its fields is the order in which they are
//! checked, and the first bad one is named in the refusal. Unknown fields are ignored.
//!
//! ```
//! use polybus::frame::Object;
//! use polybus_suite::fields::{AnonFields, RequestFields};
//!
//! let fields = AnonFields::read(&Object::new().with("data", "MTkyLjAuMi45NQo=").with("json", "TRUE "))?;
//! assert_eq!((&fields.data[..], fields.json, fields.stats), (&b"192.0.2.95\n"[..], true, false));
//! assert_eq!(fields.query_sha256().len(), 64);
//! # Ok::<(), polybus::frame::Refusal>(())
//! ```

mod kind;
mod query;
mod services;

#[cfg(test)]
mod tests;

pub use kind::{Iff, content, flag, iff, int, text};
pub use query::{Canonical, RequestFields, canonical};
pub use services::{AnonFields, CifbulkFields, CrosscorFields, LmsearchFields, RwfindFields};
