//! Times, and the words for what the contract says in types.

use std::time::Duration;

use polybus_contract::{AttemptGrade, Durability, Kind, LeaseGrade, Operation, SettleGrade, Status};

/// Whole milliseconds, rounded up: a floor must not sink on its way. What is longer than they can say is the most of them.
#[must_use]
pub fn millis(time: Duration) -> u64 {
    let whole = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    if time > Duration::from_millis(whole) { whole.saturating_add(1) } else { whole }
}

/// A value and its word, both ways.
macro_rules! words {
    ($vis:vis $to:ident $from:ident: $type:ty { $($value:path => $word:literal),* $(,)? } else $other:literal) => {
        #[doc = concat!("The word for this ", stringify!($type), "; `", $other, "` for one that has none yet.")]
        #[must_use]
        $vis const fn $to(value: $type) -> &'static str {
            // Types of the contract may grow.
            #[allow(unreachable_patterns)]
            match value {
                $($value => $word,)*
                _ => $other,
            }
        }

        #[doc = concat!("The ", stringify!($type), " of this word, if it is one.")]
        #[must_use]
        $vis fn $from(word: &str) -> Option<$type> {
            match word {
                $($word => Some($value),)*
                _ => None,
            }
        }
    };
}

words! {
    pub durability_word durability_of: Durability {
        Durability::Volatile => "volatile", Durability::Process => "process", Durability::Disk => "disk",
        Durability::Replicated => "replicated",
    } else "volatile"
}
words! {
    pub(crate) settle_word settle_of: SettleGrade {
        SettleGrade::None => "none", SettleGrade::Sent => "sent", SettleGrade::Confirmed => "confirmed",
    } else "none"
}
words! {
    pub(crate) attempts_word attempts_of: AttemptGrade {
        AttemptGrade::None => "none", AttemptGrade::Volatile => "volatile", AttemptGrade::Counted => "counted",
    } else "none"
}
words! {
    pub(crate) lease_word lease_of: LeaseGrade {
        LeaseGrade::None => "none", LeaseGrade::Connection => "connection", LeaseGrade::Timed => "timed",
    } else "none"
}
words! {
    pub(crate) status_word status_of: Status {
        Status::Permanent => "permanent", Status::Temporary => "temporary", Status::Unknown => "unknown",
    } else "unknown"
}
words! {
    pub(crate) plain_kind_word plain_kind_of: Kind {
        Kind::InvalidName => "invalid_name", Kind::InvalidMessage => "invalid_message",
        Kind::InvalidOption => "invalid_option", Kind::Unroutable => "unroutable",
        Kind::NoResponder => "no_responder", Kind::DeadlineExceeded => "deadline_exceeded", Kind::Full => "full",
        Kind::Stale => "stale", Kind::Unauthorized => "unauthorized", Kind::NotFound => "not_found",
        Kind::Conflict => "conflict", Kind::Closed => "closed", Kind::Disconnected => "disconnected",
        Kind::Remote => "remote", Kind::Protocol => "protocol", Kind::Configuration => "configuration",
        Kind::Internal => "internal",
    } else "internal"
}
words! {
    pub(crate) operation_word operation_of: Operation {
        Operation::Name => "name", Operation::Configure => "configure", Operation::Connect => "connect",
        Operation::Declare => "declare", Operation::Publish => "publish", Operation::Consume => "consume",
        Operation::Subscribe => "subscribe", Operation::Request => "request", Operation::Reply => "reply",
        Operation::Settle => "settle", Operation::Renew => "renew", Operation::Credit => "credit",
        Operation::Drain => "drain", Operation::Inspect => "inspect", Operation::Browse => "browse",
        Operation::Purge => "purge", Operation::Redrive => "redrive", Operation::Remove => "remove",
        Operation::Decode => "decode", Operation::Handle => "handle",
    } else "handle"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_rounded_up() {
        assert_eq!(millis(Duration::from_micros(1500)), 2);
        assert_eq!(millis(Duration::from_millis(2)), 2);
        assert_eq!(millis(Duration::MAX), u64::MAX);
    }
}
