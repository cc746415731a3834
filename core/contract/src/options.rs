//! Options of every verb. Each wait has its bound here; durations run on a monotonic clock.

use std::time::Duration;

use crate::fidelity::Fidelity;
use crate::reply::RemoteError;
use crate::setters::setters;

/// How much a publish must be worth.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Confirm {
    /// Confirmed, or an error.
    #[default]
    Required,
    /// Confirmed where the bus can, else handed over.
    WhereAble,
    /// Handed over: faster, and it may get lost.
    No,
}

/// What a publish does at a bound.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WhenFull {
    /// [`Full`](crate::Kind::Full) at once.
    #[default]
    Fail,
    /// Wait for room within the bound of the publish.
    Wait,
}

/// Options of `publish`.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct PublishOptions {
    /// How much it must be worth. Default [`Confirm::Required`].
    pub confirm: Confirm,
    /// How long it may take, waiting for a connection or for room included. Default 10 s.
    pub within: Duration,
    /// What to do at a bound. Default [`WhenFull::Fail`].
    pub when_full: WhenFull,
    /// Visible only after this delay. Needs [`SendDelay`](crate::Feature::SendDelay). Default none.
    pub delay: Option<Duration>,
    /// Counts deliberate resends of one id: id and number together are the de-duplication key, so that a resend is
    /// never swallowed. Default 0.
    pub send_number: u32,
    /// Properties the publisher agrees to lose. Default none.
    pub accept_loss: Fidelity,
}

impl Default for PublishOptions {
    fn default() -> Self {
        Self {
            confirm: Confirm::default(),
            within: Duration::from_secs(10),
            when_full: WhenFull::default(),
            delay: None,
            send_number: 0,
            accept_loss: Fidelity::none(),
        }
    }
}

setters!(PublishOptions {
    /// Sets [`PublishOptions::confirm`].
    with_confirm => confirm: Confirm,
    /// Sets [`PublishOptions::within`].
    with_within => within: Duration,
    /// Sets [`PublishOptions::when_full`].
    with_when_full => when_full: WhenFull,
    /// Sets [`PublishOptions::delay`].
    with_delay => delay: Option<Duration>,
    /// Sets [`PublishOptions::send_number`].
    with_send_number => send_number: u32,
    /// Sets [`PublishOptions::accept_loss`].
    with_accept_loss => accept_loss: Fidelity,
});

/// When `consume` and `subscribe` return.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// Live, or an error, within this bound (F3).
    Live(Duration),
    /// At once: it becomes live when the bus is there (J6).
    Eventually,
}

impl Default for Start {
    fn default() -> Self {
        Self::Live(Duration::from_secs(10))
    }
}

/// Options of `consume`.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ConsumeOptions {
    /// How many unsettled deliveries may be out; never exceeded. At least 1. Default 1.
    pub credit: u32,
    /// The lease of each delivery. Default `None`: what the queue says. Refused where leases last as long as the
    /// connection.
    pub lease: Option<Duration>,
    /// When to return. Default live within 10 s.
    pub start: Start,
    /// A label for figures and logs. Default empty.
    pub label: String,
}

impl Default for ConsumeOptions {
    fn default() -> Self {
        Self { credit: 1, lease: None, start: Start::default(), label: String::new() }
    }
}

setters!(ConsumeOptions {
    /// Sets [`ConsumeOptions::credit`].
    with_credit => credit: u32,
    /// Sets [`ConsumeOptions::lease`].
    with_lease => lease: Option<Duration>,
    /// Sets [`ConsumeOptions::start`].
    with_start => start: Start,
    /// Sets [`ConsumeOptions::label`].
    with_label => label: String,
});

/// Options of `subscribe`.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SubscribeOptions {
    /// How many messages wait for this reader; beyond it the oldest are dropped and show as a gap. At least 1.
    /// Default 1024.
    pub buffer: u32,
    /// When to return. Default live within 10 s.
    pub start: Start,
    /// A label for figures and logs. Default empty.
    pub label: String,
}

impl Default for SubscribeOptions {
    fn default() -> Self {
        Self { buffer: 1024, start: Start::default(), label: String::new() }
    }
}

setters!(SubscribeOptions {
    /// Sets [`SubscribeOptions::buffer`].
    with_buffer => buffer: u32,
    /// Sets [`SubscribeOptions::start`].
    with_start => start: Start,
    /// Sets [`SubscribeOptions::label`].
    with_label => label: String,
});

/// How long a caller waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deadline {
    /// This long from now.
    Within(Duration),
    /// For ever. Nothing else has no deadline.
    Never,
}

impl Default for Deadline {
    fn default() -> Self {
        Self::Within(Duration::from_secs(30))
    }
}

impl From<Duration> for Deadline {
    fn from(within: Duration) -> Self {
        Self::Within(within)
    }
}

/// What a request does when nobody serves the queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Nobody {
    /// Wait for somebody: the request stays queued until the deadline.
    #[default]
    Wait,
    /// [`NoResponder`](crate::Kind::NoResponder) at once. Needs [`NoResponder`](crate::Feature::NoResponder).
    Fail,
}

/// How many replies end a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Replies {
    /// All parts of one responder.
    #[default]
    One,
    /// Those of several responders, until that many have ended or the deadline comes, which then is no error.
    Many(Option<u32>),
}

/// Options of `request`.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct RequestOptions {
    /// How long to wait. Default 30 s.
    pub deadline: Deadline,
    /// What to do if nobody serves the queue. Default [`Nobody::Wait`].
    pub nobody: Nobody,
    /// How many replies end it. Default [`Replies::One`].
    pub replies: Replies,
    /// As [`PublishOptions::send_number`]. Default 0.
    pub send_number: u32,
    /// Asks workers not to begin a second attempt. Default false.
    pub at_most_once: bool,
    /// As [`PublishOptions::accept_loss`]. Default none.
    pub accept_loss: Fidelity,
}

setters!(RequestOptions {
    /// Sets [`RequestOptions::deadline`].
    with_deadline => deadline: Deadline,
    /// Sets [`RequestOptions::nobody`].
    with_nobody => nobody: Nobody,
    /// Sets [`RequestOptions::replies`].
    with_replies => replies: Replies,
    /// Sets [`RequestOptions::send_number`].
    with_send_number => send_number: u32,
    /// Sets [`RequestOptions::at_most_once`].
    with_at_most_once => at_most_once: bool,
    /// Sets [`RequestOptions::accept_loss`].
    with_accept_loss => accept_loss: Fidelity,
});

/// Options of `reply`.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ReplyOptions {
    /// How long handing it over may take. Default 10 s.
    pub within: Duration,
    /// Counts the parts of a streamed reply from 0. Default 0.
    pub index: u32,
    /// Whether this is the last part. Default true.
    pub last: bool,
    /// The attempt that this answers. Default `None`.
    pub attempt: Option<u32>,
    /// Who answers. Default `None`.
    pub responder: Option<String>,
    /// Set to report a failure. Default `None`.
    pub error: Option<RemoteError>,
}

impl Default for ReplyOptions {
    fn default() -> Self {
        Self {
            within: Duration::from_secs(10),
            index: 0,
            last: true,
            attempt: None,
            responder: None,
            error: None,
        }
    }
}

setters!(ReplyOptions {
    /// Sets [`ReplyOptions::within`].
    with_within => within: Duration,
    /// Sets [`ReplyOptions::index`].
    with_index => index: u32,
    /// Sets [`ReplyOptions::last`].
    with_last => last: bool,
    /// Sets [`ReplyOptions::attempt`].
    with_attempt => attempt: Option<u32>,
    /// Sets [`ReplyOptions::responder`].
    with_responder => responder: Option<String>,
    /// Sets [`ReplyOptions::error`].
    with_error => error: Option<RemoteError>,
});
