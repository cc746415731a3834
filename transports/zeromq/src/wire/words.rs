//! The words of the protocol for what the contract says in types: errors, capabilities, grades.

use std::time::Duration;

use polybus_contract::{
    AttemptGrade, Capability, Durability, Error, Feature, Fidelity, Kind, LeaseGrade, MessageId, Operation,
    Profile, Property, SettleGrade, Status,
};
use serde::{Deserialize, Serialize};

/// Whole milliseconds, rounded up: a floor must not sink on its way.
pub(crate) fn millis(time: Duration) -> u64 {
    let whole = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    if time > Duration::from_millis(whole) { whole.saturating_add(1) } else { whole }
}

/// A value and its word, both ways.
macro_rules! words {
    ($(#[$doc:meta])* $to:ident $from:ident: $type:ty { $($value:path => $word:literal),* $(,)? } else $other:literal) => {
        $(#[$doc])*
        pub(crate) const fn $to(value: $type) -> &'static str {
            // Types of the contract may grow.
            #[allow(unreachable_patterns)]
            match value {
                $($value => $word,)*
                _ => $other,
            }
        }

        pub(crate) fn $from(word: &str) -> Option<$type> {
            match word {
                $($word => Some($value),)*
                _ => None,
            }
        }
    };
}

words! {
    durability_word durability_of: Durability {
        Durability::Volatile => "volatile", Durability::Process => "process", Durability::Disk => "disk",
        Durability::Replicated => "replicated",
    } else "volatile"
}
words! {
    settle_word settle_of: SettleGrade {
        SettleGrade::None => "none", SettleGrade::Sent => "sent", SettleGrade::Confirmed => "confirmed",
    } else "none"
}
words! {
    attempts_word attempts_of: AttemptGrade {
        AttemptGrade::None => "none", AttemptGrade::Volatile => "volatile", AttemptGrade::Counted => "counted",
    } else "none"
}
words! {
    lease_word lease_of: LeaseGrade {
        LeaseGrade::None => "none", LeaseGrade::Connection => "connection", LeaseGrade::Timed => "timed",
    } else "none"
}
words! {
    status_word status_of: Status {
        Status::Permanent => "permanent", Status::Temporary => "temporary", Status::Unknown => "unknown",
    } else "unknown"
}
words! {
    plain_kind_word plain_kind_of: Kind {
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
    operation_word operation_of: Operation {
        Operation::Name => "name", Operation::Configure => "configure", Operation::Connect => "connect",
        Operation::Declare => "declare", Operation::Publish => "publish", Operation::Consume => "consume",
        Operation::Subscribe => "subscribe", Operation::Request => "request", Operation::Reply => "reply",
        Operation::Settle => "settle", Operation::Renew => "renew", Operation::Credit => "credit",
        Operation::Drain => "drain", Operation::Inspect => "inspect", Operation::Browse => "browse",
        Operation::Purge => "purge", Operation::Redrive => "redrive", Operation::Remove => "remove",
        Operation::Decode => "decode", Operation::Handle => "handle",
    } else "handle"
}

/// An error on the wire.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct ErrorLine {
    pub(crate) kind: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) feature: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) limit: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) size: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) status: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) operation: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) target: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) message_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) detail: Option<String>,
}

impl From<&Error> for ErrorLine {
    fn from(error: &Error) -> Self {
        let mut line = Self {
            kind: plain_kind_word(error.kind()).to_owned(),
            status: Some(status_word(error.status()).to_owned()),
            operation: Some(operation_word(error.operation()).to_owned()),
            target: error.target().map(str::to_owned),
            message_id: error.message_id().map(MessageId::to_string),
            detail: error.detail().map(str::to_owned),
            ..Self::default()
        };
        match error.kind() {
            Kind::Unsupported(feature) => {
                "unsupported".clone_into(&mut line.kind);
                line.feature = Some(feature.name().to_owned());
            }
            Kind::TooLarge { limit, size } => {
                "too_large".clone_into(&mut line.kind);
                (line.limit, line.size) = (Some(limit), Some(size));
            }
            _ => {}
        }
        line
    }
}

impl ErrorLine {
    fn kind(&self) -> Option<Kind> {
        match self.kind.as_str() {
            "unsupported" => self.feature.as_deref()?.parse().ok().map(Kind::Unsupported),
            "too_large" => Some(Kind::TooLarge { limit: self.limit?, size: self.size? }),
            word => plain_kind_of(word),
        }
    }

    /// The error; one that this cannot read is itself a fault of the protocol.
    pub(crate) fn error(&self, during: Operation) -> Error {
        let operation = self.operation.as_deref().and_then(operation_of).unwrap_or(during);
        let Some(kind) = self.kind() else {
            let detail = format!("the broker answered with an error of unknown kind {:?}", self.kind);
            return Error::new(Kind::Protocol, operation).with_status(Status::Unknown).with_detail(detail);
        };
        let mut error = Error::new(kind, operation);
        if let Some(status) = self.status.as_deref().and_then(status_of) {
            error = error.with_status(status);
        }
        if let Some(target) = &self.target {
            error = error.with_target(target);
        }
        if let Some(id) = &self.message_id {
            error = error.with_message_id(MessageId::from(id.as_str()));
        }
        match &self.detail {
            Some(detail) => error.with_detail(detail.as_str()),
            None => error,
        }
    }
}

/// What a bus says of itself, on the wire.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct ProfileLine {
    pub(crate) instance: String,
    pub(crate) features: Vec<String>,
    pub(crate) durability: String,
    pub(crate) settle: String,
    pub(crate) attempts: String,
    pub(crate) lease: String,
    pub(crate) lease_limit_ms: Option<u64>,
    pub(crate) max_message: Option<u64>,
    pub(crate) max_priority: u8,
    pub(crate) dedup_window_ms: Option<u64>,
    pub(crate) fidelity: Vec<String>,
}

/// Flags by their words. A flag of the contract that is missing here is found by the test below.
macro_rules! flags {
    ($($flag:ident),* $(,)?) => {
        fn set_flag(capability: &mut Capability, word: &str) -> bool {
            match word {
                $(stringify!($flag) => capability.$flag = true,)*
                _ => return false,
            }
            true
        }
    };
}

flags! {
    queue, confirm, retry_delay, send_delay, dead_letters, uncounted_release, set_credit, priority, expiry,
    sender_order, topic, topic_group, topic_confirm, gap_count, live_subscribe, request, no_responder, reply_confirm,
    reply_stream, scatter, large_body, inspect, browse_ready, browse_dead, purge, redrive, remove,
    durability_process, durability_disk, durability_replicated,
}

impl From<&Profile> for ProfileLine {
    fn from(profile: &Profile) -> Self {
        let capability = &profile.capability;
        let declared = Feature::ALL.iter().filter(|feature| capability.has(**feature));
        Self {
            instance: profile.instance.to_string(),
            features: declared.map(|feature| feature.name().to_owned()).collect(),
            durability: durability_word(capability.durability()).to_owned(),
            settle: settle_word(capability.settle).to_owned(),
            attempts: attempts_word(capability.attempts).to_owned(),
            lease: lease_word(capability.lease).to_owned(),
            lease_limit_ms: capability.lease_limit.map(millis),
            max_message: capability.max_message,
            max_priority: capability.max_priority,
            dedup_window_ms: capability.dedup_window.map(millis),
            fidelity: profile.fidelity.iter().map(|property| property.name().to_owned()).collect(),
        }
    }
}

impl ProfileLine {
    /// The profile, or which of its words is none.
    pub(crate) fn profile(&self) -> Result<Profile, String> {
        let mut capability = self.grades()?;
        for word in &self.features {
            // Grades are features too; they are read from their own words.
            // A later broker may be able to do more.
            let _ = set_flag(&mut capability, word);
        }
        let mut fidelity = Fidelity::none();
        for word in &self.fidelity {
            let found = Property::ALL.iter().find(|property| property.name() == word);
            fidelity = fidelity.with(*found.ok_or_else(|| format!("unknown property {word:?}"))?);
        }
        Ok(Profile::new(BUS, self.instance.as_str(), capability, fidelity))
    }

    fn grades(&self) -> Result<Capability, String> {
        let unknown = |what: &str, word: &str| format!("unknown grade {word:?} of {what}");
        let durability =
            durability_of(&self.durability).ok_or_else(|| unknown("durability", &self.durability))?;
        // The word says the highest grade alone; the features say which there are.
        let listed = self.features.iter().any(|word| word.starts_with("durability_"));
        Ok(Capability {
            settle: settle_of(&self.settle).ok_or_else(|| unknown("settle", &self.settle))?,
            attempts: attempts_of(&self.attempts).ok_or_else(|| unknown("attempts", &self.attempts))?,
            lease: lease_of(&self.lease).ok_or_else(|| unknown("lease", &self.lease))?,
            lease_limit: self.lease_limit_ms.map(Duration::from_millis),
            max_message: self.max_message,
            max_priority: self.max_priority,
            dedup_window: self.dedup_window_ms.map(Duration::from_millis),
            ..Capability::default().surviving(if listed { Durability::Volatile } else { durability })
        })
    }
}

/// The kind of this bus.
pub(crate) const BUS: &str = "zmq";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_feature_has_its_word() {
        let mut capability = Capability {
            settle: SettleGrade::Confirmed,
            attempts: AttemptGrade::Counted,
            lease: LeaseGrade::Timed,
            max_priority: 9,
            dedup_window: Some(Duration::from_secs(5)),
            ..Capability::default()
        };
        for feature in Feature::ALL {
            set_flag(&mut capability, feature.name());
        }
        let missing: Vec<_> = Feature::ALL.iter().filter(|feature| !capability.has(**feature)).collect();
        assert!(missing.is_empty(), "flags of the contract are missing in the list of words: {missing:?}");
        let profile = Profile::new(BUS, "zmq:here", capability, Fidelity::all());
        let again = ProfileLine::from(&profile).profile().unwrap();
        assert_eq!((again.capability, again.fidelity), (capability, Fidelity::all()));
    }

    #[test]
    fn errors_are_the_same_on_both_sides() {
        let kinds = [Kind::Full, Kind::Unsupported(Feature::Scatter), Kind::TooLarge { limit: 5, size: 7 }];
        for kind in kinds {
            let error = Error::new(kind, Operation::Publish)
                .with_target("jobs")
                .with_status(Status::Unknown)
                .with_detail("why")
                .with_message_id(MessageId::fresh());
            let again = ErrorLine::from(&error).error(Operation::Drain);
            assert_eq!(format!("{again:?}"), format!("{error:?}"));
        }
        let strange = ErrorLine { kind: "warp".to_owned(), ..ErrorLine::default() };
        assert_eq!(strange.error(Operation::Drain).kind(), Kind::Protocol);
    }

    #[test]
    fn times_are_rounded_up() {
        assert_eq!(millis(Duration::from_micros(1500)), 2);
        assert_eq!(millis(Duration::from_millis(2)), 2);
        assert_eq!(millis(Duration::MAX), u64::MAX);
    }
}
