//! Replies to requests.

use crate::message::Message;

/// An error that the responder reports instead of a result (G6).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteError {
    /// A short word that programs act on.
    pub code: String,
    /// One line for people.
    pub text: String,
}

/// One reply, as the caller gets it.
#[derive(Clone, Debug)]
pub struct Reply {
    /// The message.
    pub message: Message,
    /// Who answered, where that is known; tells responders of a scatter apart.
    pub responder: Option<String>,
    /// The attempt of the request that this answers, where it is known.
    pub attempt: Option<u32>,
    /// Counts the replies of one responder from 0, so that a hole shows.
    pub index: u32,
    /// Whether this responder sends no more.
    pub last: bool,
    /// Set if the responder failed.
    pub error: Option<RemoteError>,
}

impl Reply {
    /// A single, complete reply.
    #[must_use]
    pub const fn new(message: Message) -> Self {
        Self { message, responder: None, attempt: None, index: 0, last: true, error: None }
    }
}
