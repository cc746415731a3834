//! What the contract says in types, as JSON: for wires that speak it.
//!
//! Each type here is a *line*: a struct or an enum with the names and words of the wire, made from a type of
//! `polybus-contract` by `From` or `of`, and turned back by a method that says which part cannot be read. A wire puts
//! lines into its own messages: packets of `polybus-zeromq`, lines of a process that the conformance kit judges.
//!
//! * Times are whole milliseconds, rounded up ([`millis`]); points in time are milliseconds since 1970.
//! * Bytes are base64, and numbers in headers are text: not every language keeps 64 bits.
//! * Names that are not known are ignored, and what has a usual value may be left out, so that later versions can say
//!   more.
//! * A body stands beside its message: in a frame of its own, or in a field of the wire's own struct around
//!   [`MessageLine`]. What a reply address looks like is the wire's as well.
//!
//! Reading never panics, and what it makes is as large as what was read: whoever reads bounds that.
//!
//! ```
//! use polybus_contract::{Message, ReplyTo};
//! use polybus_lines::{MessageLine, Names};
//!
//! let message = Message::new("one log line").with_id("m-1").with_priority(4);
//! let line: MessageLine = MessageLine::of(&message, ReplyTo::to_string);
//! let text = serde_json::to_string(&line)?;
//! assert_eq!(text, r#"{"id":"m-1","priority":4}"#);
//!
//! let line: MessageLine = serde_json::from_str(&text)?;
//! let here = |address: &String| ReplyTo::new("here", address.as_str());
//! let again = line.message("one log line", Names::Checked, here)?;
//! assert_eq!(again.priority(), Some(4));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod error;
mod figures;
mod gap;
mod header;
mod message;
mod options;
mod place;
mod profile;
mod topology;
mod words;

pub use error::{ErrorLine, RemoteErrorLine};
pub use figures::{InfoLine, RedrivenLine, browse_of, redrive_of};
pub use gap::GapLine;
pub use header::{DEPTH, Names};
pub use message::MessageLine;
pub use options::{AnswerLine, AskLine, PublishLine};
pub use place::{IntakeLine, ObjectLine, PlaceLine, TargetLine, name};
pub use profile::{ProfileLine, set_flag};
pub use topology::{DeclaredLine, TopologyLine};
pub use words::{durability_of, durability_word, millis};
