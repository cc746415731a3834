//! Replies to requests.

use crate::error::{Error, Kind, Operation};
use crate::incoming::End;
use crate::message::Message;
use crate::options::Replies;
use crate::target::Target;

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

/// For transports: what a caller still waits for. How many replies end a request, and what its deadline means, is the same
/// on every bus.
#[derive(Clone, Copy, Debug)]
pub struct Awaited {
    wanted: Replies,
    /// Responders that have ended.
    ended: u32,
}

impl Awaited {
    /// Nothing has come yet.
    #[must_use]
    pub const fn new(wanted: Replies) -> Self {
        Self { wanted, ended: 0 }
    }

    /// Counts a reply. Whether it is the last of all that were asked for.
    pub fn is_complete_with(&mut self, reply: &Reply) -> bool {
        if !reply.last {
            return false;
        }
        self.ended += 1;
        match self.wanted {
            Replies::One => true,
            Replies::Many(count) => count.is_some_and(|count| self.ended >= count),
        }
    }

    /// The end that the deadline brings: with several responders the usual one, else a failure.
    #[must_use]
    pub fn at_deadline(&self, target: &Target) -> End {
        match self.wanted {
            Replies::Many(_) => End::Complete,
            Replies::One => {
                End::Failed(Error::new(Kind::DeadlineExceeded, Operation::Request).with_target(target))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(last: bool) -> Reply {
        Reply { last, ..Reply::new(Message::new("x")) }
    }

    #[test]
    fn a_request_ends_with_the_last_part_or_with_enough_responders() {
        let mut one = Awaited::new(Replies::One);
        assert!(!one.is_complete_with(&reply(false)));
        assert!(one.is_complete_with(&reply(true)));
        let mut two = Awaited::new(Replies::Many(Some(2)));
        let seen: Vec<_> = [true, false, true].map(|last| two.is_complete_with(&reply(last))).into();
        assert_eq!(seen, [false, false, true]);
        let mut all = Awaited::new(Replies::Many(None));
        assert!((0..9).all(|_| !all.is_complete_with(&reply(true))));
    }

    #[test]
    fn a_deadline_fails_a_single_reply_only() {
        let target = Target::Queue(crate::Name::new("jobs").unwrap());
        assert!(matches!(Awaited::new(Replies::Many(None)).at_deadline(&target), End::Complete));
        let End::Failed(error) = Awaited::new(Replies::One).at_deadline(&target) else {
            panic!("no failure")
        };
        assert_eq!(error.kind(), Kind::DeadlineExceeded);
    }
}
