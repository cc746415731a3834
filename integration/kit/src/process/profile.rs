//! What a process says of its bus.

use std::sync::Arc;
use std::time::Duration;

use polybus_contract::{AttemptGrade, Capability, Feature, Fidelity, LeaseGrade, Profile, SettleGrade};
use polybus_lines::{ProfileLine, set_flag};

use super::MAX_MESSAGE;

/// The kind of bus that a process is.
pub(super) const BUS: &str = "process";

/// The most that any process could offer: what a handle says before it has asked.
pub(super) fn most() -> Profile {
    let mut capability = Capability {
        settle: SettleGrade::Confirmed,
        attempts: AttemptGrade::Counted,
        lease: LeaseGrade::Timed,
        max_message: Some(MAX_MESSAGE),
        max_priority: u8::MAX,
        dedup_window: Some(Duration::MAX),
        ..Capability::default()
    };
    for feature in Feature::ALL {
        set_flag(&mut capability, feature.name());
    }
    capability.large_body = false;
    Profile::new(BUS, Arc::from("not connected"), capability, Fidelity::all())
}

/// What a process says of its bus, within what the protocol can carry. A feature that nobody knows is a fault of the
/// process that is judged.
pub(super) fn profile_of(line: &ProfileLine) -> Result<Profile, String> {
    let mut profile = line.profile(BUS)?;
    if let Some(word) = line.unknown_features().next() {
        return Err(format!("unknown feature {word:?}"));
    }
    let max_message = profile.capability.max_message.map_or(MAX_MESSAGE, |max| max.min(MAX_MESSAGE));
    profile.capability.max_message = Some(max_message);
    profile.capability.large_body = false;
    Ok(profile)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn k9_every_feature_has_its_word() {
        let profile = most();
        let missing: Vec<_> =
            Feature::ALL.iter().filter(|feature| !profile.capability.has(**feature)).collect();
        assert_eq!(missing, [&Feature::LargeBody], "a flag of the contract is missing in the list of words");
        let again = profile_of(&ProfileLine::from(&profile)).unwrap();
        assert_eq!(again.fidelity, profile.fidelity);
        let same = Capability { dedup_window: again.capability.dedup_window, ..profile.capability };
        assert_eq!(again.capability, same);
    }

    #[test]
    fn k9_a_profile_is_read_within_what_the_protocol_can_carry() {
        let line: ProfileLine = serde_json::from_str(
            r#"{"features":["large_body"],"durability":"volatile","settle":"none","attempts":"none","lease":"none",
                "max_message":1000000000}"#,
        )
        .unwrap();
        let capability = profile_of(&line).unwrap().capability;
        assert_eq!((capability.max_message, capability.large_body), (Some(MAX_MESSAGE), false));
    }
}
