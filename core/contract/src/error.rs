//! The one error type of the contract.

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;

use crate::capability::Feature;
use crate::id::MessageId;

/// The result of everything in this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong. Match on this and on [`Status`], never on text.
///
/// Data is carried only where a caller acts on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// The bus cannot do this; it was refused before any I/O. The feature names the missing capability.
    Unsupported(Feature),
    /// A name outside the grammar, or a reserved one.
    InvalidName,
    /// A message that may not be sent as it is: reserved header, property the bus would lose, foreign reply address.
    InvalidMessage,
    /// An option that makes no sense, such as a credit of zero.
    InvalidOption,
    /// Larger than the bus takes.
    TooLarge {
        /// The limit in bytes.
        limit: u64,
        /// The size that was asked for, in bytes.
        size: u64,
    },
    /// No such queue to send to.
    Unroutable,
    /// Nobody serves the queue, and the caller asked to be told instead of waiting.
    NoResponder,
    /// The deadline passed.
    DeadlineExceeded,
    /// The bound of a queue, of a group, or of the sends in flight is reached.
    Full,
    /// The lease of this delivery has ended: someone else may have the message.
    Stale,
    /// Bad credentials, or a permission that is missing.
    Unauthorized,
    /// The named queue, topic or message does not exist.
    NotFound,
    /// An existing object differs from what is needed.
    Conflict,
    /// This handle, or the whole bus, was closed.
    Closed,
    /// The connection is lost or cannot be made.
    Disconnected,
    /// The other side answered with an error.
    Remote,
    /// The peer broke the protocol, or bytes could not be understood.
    Protocol,
    /// Configuration: a URL, a setting, a file.
    Configuration,
    /// A fault of our own: a task that panicked, an invariant that did not hold.
    Internal,
}

/// Whether trying again can help.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Status {
    /// It will fail again until something is changed.
    Permanent,
    /// It may succeed later. Nothing has happened.
    Temporary,
    /// Bytes may have left: it may have happened. Trying again is at worst a duplicate with the same id.
    Unknown,
}

/// What was being done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[expect(missing_docs, reason = "each variant is the verb it names")]
pub enum Operation {
    Name,
    Configure,
    Connect,
    Declare,
    Publish,
    Consume,
    Subscribe,
    Request,
    Reply,
    Settle,
    Renew,
    Credit,
    Drain,
    Inspect,
    Browse,
    Purge,
    Redrive,
    Remove,
    Decode,
    Handle,
}

impl Operation {
    /// The verb, in lower case.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Name => "name",
            Self::Configure => "configure",
            Self::Connect => "connect",
            Self::Declare => "declare",
            Self::Publish => "publish",
            Self::Consume => "consume",
            Self::Subscribe => "subscribe",
            Self::Request => "request",
            Self::Reply => "reply",
            Self::Settle => "settle",
            Self::Renew => "renew",
            Self::Credit => "set credit",
            Self::Drain => "drain",
            Self::Inspect => "inspect",
            Self::Browse => "browse",
            Self::Purge => "purge",
            Self::Redrive => "redrive",
            Self::Remove => "remove",
            Self::Decode => "decode",
            Self::Handle => "handle",
        }
    }
}

/// An error: one word wide, cheap to clone (an end reason is asked for many times), one line in `Display`.
///
/// Texts never hold a secret or a payload; what is put in with [`Error::with_detail`] must not either.
#[derive(Clone)]
pub struct Error(Arc<Inner>);

#[derive(Clone)]
struct Inner {
    kind: Kind,
    status: Status,
    operation: Operation,
    target: Option<Arc<str>>,
    message_id: Option<MessageId>,
    detail: Option<String>,
    source: Option<Arc<dyn StdError + Send + Sync>>,
}

impl Error {
    /// An error of this kind, with the status that is usual for it.
    #[must_use]
    pub fn new(kind: Kind, operation: Operation) -> Self {
        let status = usual_status(kind);
        Self(Arc::new(Inner {
            kind,
            status,
            operation,
            target: None,
            message_id: None,
            detail: None,
            source: None,
        }))
    }

    /// The bus does not have `feature`.
    #[must_use]
    pub fn unsupported(feature: Feature, operation: Operation, bus: &str) -> Self {
        let detail = format!("{bus} has no {} ({})", feature.text(), feature.name());
        Self::new(Kind::Unsupported(feature), operation).with_detail(detail)
    }

    /// What went wrong.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.0.kind
    }

    /// Whether trying again can help.
    #[must_use]
    pub fn status(&self) -> Status {
        self.0.status
    }

    /// What was being done.
    #[must_use]
    pub fn operation(&self) -> Operation {
        self.0.operation
    }

    /// The queue, topic or address it was done to.
    #[must_use]
    pub fn target(&self) -> Option<&str> {
        self.0.target.as_deref()
    }

    /// The message whose outcome this is about. With [`Status::Unknown`], send it again under this id.
    #[must_use]
    pub fn message_id(&self) -> Option<&MessageId> {
        self.0.message_id.as_ref()
    }

    /// The detail: one line for people.
    #[must_use]
    pub fn detail(&self) -> Option<&str> {
        self.0.detail.as_deref()
    }

    /// The same error with another status.
    #[must_use]
    pub fn with_status(self, status: Status) -> Self {
        self.change(|inner| inner.status = status)
    }

    /// The same error, naming what it was done to.
    #[must_use]
    pub fn with_target(self, target: impl fmt::Display) -> Self {
        self.change(|inner| inner.target = Some(target.to_string().into()))
    }

    /// The same error, naming the message.
    #[must_use]
    pub fn with_message_id(self, id: MessageId) -> Self {
        self.change(|inner| inner.message_id = Some(id))
    }

    /// The same error with a detail. Line breaks become blanks.
    #[must_use]
    pub fn with_detail(self, detail: impl Into<String>) -> Self {
        let detail: String = detail.into();
        self.change(|inner| inner.detail = Some(detail.replace(['\n', '\r'], " ")))
    }

    /// The same error with its cause.
    #[must_use]
    pub fn with_source(self, source: impl StdError + Send + Sync + 'static) -> Self {
        self.change(|inner| inner.source = Some(Arc::new(source)))
    }

    fn change(mut self, change: impl FnOnce(&mut Inner)) -> Self {
        change(Arc::make_mut(&mut self.0));
        self
    }
}

const fn usual_status(kind: Kind) -> Status {
    match kind {
        Kind::NoResponder | Kind::Full | Kind::Disconnected => Status::Temporary,
        Kind::DeadlineExceeded | Kind::Stale => Status::Unknown,
        _ => Status::Permanent,
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Self::Unsupported(_) => "not supported by this bus",
            Self::InvalidName => "invalid name",
            Self::InvalidMessage => "invalid message",
            Self::InvalidOption => "invalid option",
            Self::TooLarge { limit, size } => {
                return write!(f, "too large: {size} bytes, the limit is {limit}");
            }
            Self::Unroutable => "no such queue to send to",
            Self::NoResponder => "nobody serves this",
            Self::DeadlineExceeded => "deadline passed",
            Self::Full => "full",
            Self::Stale => "the lease has ended",
            Self::Unauthorized => "not permitted",
            Self::NotFound => "not found",
            Self::Conflict => "conflict with what exists",
            Self::Closed => "closed",
            Self::Disconnected => "disconnected",
            Self::Remote => "the other side answered with an error",
            Self::Protocol => "protocol violation",
            Self::Configuration => "configuration",
            Self::Internal => "internal error",
        };
        f.write_str(text)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.operation.as_str())?;
        if let Some(target) = self.target() {
            write!(f, " {target}")?;
        }
        write!(f, ": {}", self.0.kind)?;
        if let Some(detail) = &self.0.detail {
            write!(f, ": {detail}")?;
        }
        if self.0.status == Status::Unknown {
            f.write_str(" (outcome unknown)")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("kind", &self.0.kind)
            .field("status", &self.0.status)
            .field("operation", &self.0.operation)
            .field("target", &self.0.target)
            .field("message_id", &self.0.message_id)
            .field("detail", &self.0.detail)
            .field("source", &self.0.source)
            .finish()
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|source| source as &(dyn StdError + 'static))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_and_one_word() {
        let error = Error::new(Kind::TooLarge { limit: 10, size: 11 }, Operation::Publish)
            .with_target("anon_0.5.5")
            .with_detail("two\nlines");
        assert_eq!(error.to_string(), "publish anon_0.5.5: too large: 11 bytes, the limit is 10: two lines");
        assert_eq!(size_of::<Error>(), size_of::<usize>());
    }

    #[test]
    fn unknown_outcome_shows() {
        let error = Error::new(Kind::Disconnected, Operation::Publish).with_status(Status::Unknown);
        assert!(error.to_string().ends_with("(outcome unknown)"));
        assert_eq!(error.clone().status(), Status::Unknown);
    }
}
