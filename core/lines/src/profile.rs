//! What a bus is.

use std::time::Duration;

use polybus_contract::{Capability, Durability, Feature, Fidelity, Profile, Property};
use serde::{Deserialize, Serialize};

use crate::words::{
    attempts_of, attempts_word, durability_of, durability_word, lease_of, lease_word, millis, settle_of,
    settle_word,
};

/// What a bus says of itself: its `instance`, its `features` by the words of the contract, its grades and limits, and which
/// properties of a message it keeps (`fidelity`).
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ProfileLine {
    instance: String,
    features: Vec<String>,
    durability: String,
    settle: String,
    attempts: String,
    lease: String,
    lease_limit_ms: Option<u64>,
    max_message: Option<u64>,
    max_priority: u8,
    dedup_window_ms: Option<u64>,
    fidelity: Vec<String>,
}

/// Flags by their words. A flag of the contract that is missing here is found by the test below.
macro_rules! flags {
    ($($flag:ident),* $(,)?) => {
        /// Declares what this word of a feature stands for; whether it is one that is declared by a flag.
        pub fn set_flag(capability: &mut Capability, word: &str) -> bool {
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
    /// The words among the features that the contract does not know. A later bus may be able to do more; a wire that is read
    /// strictly refuses them.
    pub fn unknown_features(&self) -> impl Iterator<Item = &str> {
        self.features.iter().map(String::as_str).filter(|word| word.parse::<Feature>().is_err())
    }

    /// The profile of this kind of bus; [unknown features](Self::unknown_features) are passed over.
    ///
    /// # Errors
    /// Which grade or property is unknown.
    pub fn profile(&self, bus: &'static str) -> Result<Profile, String> {
        let mut capability = self.grades()?;
        for word in &self.features {
            // Grades are features too; they are read from their own words.
            let _ = set_flag(&mut capability, word);
        }
        let mut fidelity = Fidelity::none();
        for word in &self.fidelity {
            let found = Property::ALL.iter().find(|property| property.name() == word);
            fidelity = fidelity.with(*found.ok_or_else(|| format!("unknown property {word:?}"))?);
        }
        Ok(Profile::new(bus, self.instance.as_str(), capability, fidelity))
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

#[cfg(test)]
mod tests {
    use super::*;
    use polybus_contract::{AttemptGrade, LeaseGrade, SettleGrade};

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
        let profile = Profile::new("kind", "zmq:here", capability, Fidelity::all());
        let again = ProfileLine::from(&profile).profile("kind").unwrap();
        assert_eq!((again.capability, again.fidelity), (capability, Fidelity::all()));
    }
}
