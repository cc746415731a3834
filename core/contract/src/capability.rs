//! What a bus can do, as values.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::topology::Durability;

/// How a settled delivery is known to be settled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum SettleGrade {
    /// There is nothing to settle.
    #[default]
    None,
    /// The word is sent; if it gets lost, the message comes back.
    Sent,
    /// `Ok` means consumed (D11).
    Confirmed,
}

/// How hand-outs are counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum AttemptGrade {
    /// Not at all: every delivery says 1.
    #[default]
    None,
    /// Counted, but forgotten when the bus restarts.
    Volatile,
    /// Never too low, also after a crash of the bus.
    Counted,
}

/// How long a consumer may keep a delivery.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum LeaseGrade {
    /// There is no lease.
    #[default]
    None,
    /// Until the connection ends.
    Connection,
    /// For a time from the hand-out, renewed as needed.
    Timed,
}

/// Fields, features and their texts come from this one list, so that a need cannot name what the struct lacks and
/// the refusal, the table in the book and the kit's negative twins agree.
macro_rules! capabilities {
    (
        flags { $($(#[$fdoc:meta])* $flag:ident => $fvariant:ident $ftext:literal),* $(,)? }
        fields { $($(#[$ldoc:meta])* $field:ident : $type:ty),* $(,)? }
        grades { $($(#[$gdoc:meta])* $gvariant:ident $gname:literal $gtext:literal => $test:expr),* $(,)? }
    ) => {
        /// What a bus can do: a flat struct of flags, grades and limits. `Default` can do nothing.
        ///
        /// Read twice: before connecting it is the most the transport can ever offer, after connecting what this
        /// server gives. It only shrinks.
        ///
        /// Build it with `..Capability::default()`: fields may be added.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct Capability {
            $($(#[$fdoc])* pub $flag: bool,)*
            $($(#[$ldoc])* pub $field: $type,)*
        }

        /// A thing a caller may need: every flag of [`Capability`], and the steps of its grades.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[non_exhaustive]
        pub enum Feature {
            $($(#[$fdoc])* $fvariant,)*
            $($(#[$gdoc])* $gvariant,)*
        }

        impl Feature {
            /// Every feature, in the order of the tables.
            pub const ALL: &'static [Self] = &[$(Self::$fvariant,)* $(Self::$gvariant,)*];

            /// The word for it in settings and tables.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$fvariant => stringify!($flag),)*
                    $(Self::$gvariant => $gname,)*
                }
            }

            /// What it is, for people.
            #[must_use]
            pub const fn text(self) -> &'static str {
                match self {
                    $(Self::$fvariant => $ftext,)*
                    $(Self::$gvariant => $gtext,)*
                }
            }
        }

        impl Capability {
            /// Whether the bus has `feature`.
            #[must_use]
            pub fn has(&self, feature: Feature) -> bool {
                match feature {
                    $(Feature::$fvariant => self.$flag,)*
                    $(Feature::$gvariant => { let test: fn(&Self) -> bool = $test; test(self) })*
                }
            }
        }
    };
}

capabilities! {
    flags {
        /// Work queues: consumers compete, each message goes to one of them under a lease.
        queue => Queue "work queues",
        /// A sent message is confirmed when the bus has taken responsibility for it.
        confirm => Confirm "confirmed sends",
        /// `retry` comes back not before the delay that was asked for.
        retry_delay => RetryDelay "delayed retries",
        /// A message may be sent to become visible only after a delay.
        send_delay => SendDelay "delayed sends",
        /// Spent and rejected messages are kept, with their reason, in `<queue>.dead`.
        dead_letters => DeadLetters "dead letters",
        /// Giving back a delivery that nobody looked at does not count as an attempt.
        uncounted_release => UncountedRelease "releases that do not count as attempts",
        /// The credit of a running consumer can be changed.
        set_credit => SetCredit "changing a consumer's credit",
        /// Higher priority comes first (E6).
        priority => Priority "obeyed priorities",
        /// Expired messages are not delivered (E4).
        expiry => Expiry "obeyed expiry",
        /// First in, first out per sender, with one consumer and no redelivery (C9).
        sender_order => SenderOrder "order per sender",
        /// Topics: every subscriber gets a copy.
        topic => Topic "topics",
        /// Durable subscriptions: named groups that keep what they have not read.
        topic_group => TopicGroup "durable groups on topics",
        /// A publish to a durable topic is confirmed for all its groups.
        topic_confirm => TopicConfirm "confirmed publishes to topics",
        /// A gap says how many messages were missed.
        gap_count => GapCount "counted gaps",
        /// `subscribe` returns only when the next publish will be received (F3).
        live_subscribe => LiveSubscribe "subscriptions that are live when they return",
        /// Requests with replies.
        request => Request "requests and replies",
        /// It is known at once when nobody serves a queue (G3).
        no_responder => NoResponder "knowing that nobody serves a queue",
        /// A reply is confirmed to have reached the caller's side before the request is settled.
        reply_confirm => ReplyConfirm "confirmed replies",
        /// One request may have many replies.
        reply_stream => ReplyStream "streamed replies",
        /// A request may go to a topic and be answered by every subscriber.
        scatter => Scatter "requests to all subscribers of a topic",
        /// Bodies above the message limit, as parts beside the queue.
        large_body => LargeBody "large bodies beside the queue",
        /// Figures of a queue.
        inspect => Inspect "queue figures",
        /// A look at waiting messages without taking them.
        browse_ready => BrowseReady "browsing waiting messages",
        /// A look at dead letters without taking them.
        browse_dead => BrowseDead "browsing dead letters",
        /// Emptying a queue.
        purge => Purge "purging a queue",
        /// Dead letters back to their queue, same ids.
        redrive => Redrive "redriving dead letters",
        /// Removing queues, topics and groups.
        remove => Remove "removing objects",
        /// A queue can survive a kill of the bus: [`Durability::Process`].
        durability_process => SurvivesProcess "queues that survive a kill of the bus",
        /// A queue can survive the loss of power, of all machines at once: [`Durability::Disk`]. Replicas alone do not give
        /// that, since a machine may confirm what is not on its disk yet.
        durability_disk => SurvivesPower "queues that survive the loss of power",
        /// A queue can survive the loss of a machine: [`Durability::Replicated`].
        durability_replicated => Replicated "replicated queues",
    }
    fields {
        /// What a settled delivery is worth.
        settle: SettleGrade,
        /// How hand-outs are counted.
        attempts: AttemptGrade,
        /// What kind of lease a delivery has.
        lease: LeaseGrade,
        /// The longest lease, renewed or not; `None` if there is no such limit.
        lease_limit: Option<Duration>,
        /// The largest message in bytes, body and properties; `None` if unknown.
        max_message: Option<u64>,
        /// The highest priority that has an effect; 0 without [`Capability::priority`].
        max_priority: u8,
        /// How long a repeated send of the same id is recognised; `None` if it is not.
        dedup_window: Option<Duration>,
    }
    grades {
        /// Deliveries can be settled at all.
        Settle "settle" "settlement" => |c| c.settle >= SettleGrade::Sent,
        /// `Ok` from a settle means consumed.
        SettleConfirmed "settle_confirmed" "confirmed settlement" => |c| c.settle >= SettleGrade::Confirmed,
        /// Attempts are counted.
        Attempts "attempts" "counted attempts" => |c| c.attempts >= AttemptGrade::Volatile,
        /// Attempts survive a crash of the bus.
        AttemptsCounted "attempts_counted" "attempts that survive a restart"
            => |c| c.attempts >= AttemptGrade::Counted,
        /// Leases end after a stated time unless renewed.
        TimedLease "lease_timed" "timed leases" => |c| c.lease >= LeaseGrade::Timed,
        /// A repeated send is recognised.
        Dedup "dedup" "recognising a repeated send" => |c| c.dedup_window.is_some(),
    }
}

impl Capability {
    /// This capability with queues that survive what `durability` says, and all that the grades below it say as well. Where
    /// one of those does not hold, its flag is set apart.
    #[must_use]
    pub const fn surviving(mut self, durability: Durability) -> Self {
        let grade = durability as u8;
        self.durability_process = grade >= Durability::Process as u8;
        self.durability_disk = grade >= Durability::Disk as u8;
        self.durability_replicated = grade >= Durability::Replicated as u8;
        self
    }

    /// The highest grade of what a queue can survive here. Which of the lower ones hold, their flags say.
    #[must_use]
    pub const fn durability(&self) -> Durability {
        match self {
            Self { durability_replicated: true, .. } => Durability::Replicated,
            Self { durability_disk: true, .. } => Durability::Disk,
            Self { durability_process: true, .. } => Durability::Process,
            _ => Durability::Volatile,
        }
    }

    /// Whether `self` offers nothing that `other` lacks: what a profile after connecting must be to the one before.
    #[must_use]
    pub fn within(&self, other: &Self) -> bool {
        Feature::ALL.iter().all(|feature| !self.has(*feature) || other.has(*feature))
            && at_most(self.max_message, other.max_message)
            && self.max_priority <= other.max_priority
    }
}

fn at_most(smaller: Option<u64>, larger: Option<u64>) -> bool {
    match (smaller, larger) {
        (_, None) => true,
        (None, Some(_)) => false,
        (Some(smaller), Some(larger)) => smaller <= larger,
    }
}

impl fmt::Display for Feature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Feature {
    type Err = crate::Error;

    fn from_str(text: &str) -> crate::Result<Self> {
        let found = Self::ALL.iter().copied().find(|feature| feature.name() == text);
        found.ok_or_else(|| {
            let names: Vec<_> = Self::ALL.iter().map(|feature| feature.name()).collect();
            crate::Error::new(crate::Kind::InvalidOption, crate::Operation::Configure)
                .with_detail(format!("unknown feature \"{text}\"; known: {}", names.join(", ")))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn names_are_unique_and_parse() {
        let names: HashSet<_> = Feature::ALL.iter().map(|feature| feature.name()).collect();
        assert_eq!(names.len(), Feature::ALL.len());
        for feature in Feature::ALL {
            assert_eq!(feature.name().parse::<Feature>().unwrap(), *feature);
        }
        assert!("warp_drive".parse::<Feature>().is_err());
    }

    #[test]
    fn replicas_are_not_disks() {
        let both = Capability::default().surviving(Durability::Replicated);
        assert!(both.durability_process && both.durability_disk && both.durability_replicated);
        let replicas = Capability { durability_disk: false, ..both };
        assert_eq!(replicas.durability(), Durability::Replicated);
        assert!(!replicas.has(Feature::SurvivesPower) && replicas.within(&both) && !both.within(&replicas));
        for grade in [Durability::Volatile, Durability::Process, Durability::Disk] {
            assert_eq!(both.surviving(grade).durability(), grade);
        }
    }

    #[test]
    fn nothing_by_default_and_shrinking_shows() {
        let none = Capability::default();
        assert!(Feature::ALL.iter().all(|feature| !none.has(*feature)));
        let some = Capability { queue: true, max_message: Some(10), ..Capability::default() };
        let less = Capability { max_message: Some(5), ..some };
        assert!(less.within(&some));
        assert!(!some.within(&less));
        assert!(!Capability { topic: true, ..some }.within(&some));
    }
}
