//! What a program needs of its bus, checked before it starts.

use std::fmt;

use crate::capability::{Capability, Feature};
use crate::setters::setters;

/// What a worker or client needs. It refuses to start with less.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Needs {
    /// Features.
    pub features: Vec<Feature>,
    /// The largest message it sends or accepts, in bytes.
    pub message_size: Option<u64>,
}

impl Needs {
    /// These features.
    #[must_use]
    pub fn of(features: impl IntoIterator<Item = Feature>) -> Self {
        features.into_iter().fold(Self::default(), Self::and)
    }

    /// And this feature; once, however many of what is put together need it.
    #[must_use]
    pub fn and(mut self, feature: Feature) -> Self {
        if !self.features.contains(&feature) {
            self.features.push(feature);
        }
        self
    }

    /// What `capability` does not meet; empty if all is well.
    #[must_use]
    pub fn unmet(&self, capability: &Capability) -> Vec<Unmet> {
        let missing = self.features.iter().filter(|feature| !capability.has(**feature));
        let mut unmet: Vec<_> = missing.map(|feature| Unmet::Feature(*feature)).collect();
        if let (Some(size), Some(limit)) = (self.message_size, capability.max_message)
            && size > limit
        {
            unmet.push(Unmet::MessageSize { size, limit });
        }
        unmet
    }
}

setters!(Needs {
    /// Sets [`Needs::message_size`].
    with_message_size => message_size: Option<u64>,
});

/// One need that a bus does not meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Unmet {
    /// A missing feature.
    Feature(Feature),
    /// A limit that is too low.
    MessageSize {
        /// The size that is needed, in bytes.
        size: u64,
        /// The limit of the bus, in bytes.
        limit: u64,
    },
}

impl Unmet {
    /// Whether `capability` would meet it.
    #[must_use]
    pub fn met_by(&self, capability: &Capability) -> bool {
        match self {
            Self::Feature(feature) => capability.has(*feature),
            Self::MessageSize { size, .. } => capability.max_message.is_none_or(|limit| *size <= limit),
        }
    }
}

impl fmt::Display for Unmet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Feature(feature) => write!(f, "{}: it has no {}", feature.name(), feature.text()),
            Self::MessageSize { size, limit } => {
                write!(f, "message_size: {size} bytes are needed, its limit is {limit}")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_feature_is_needed_once() {
        let needs = Needs::of([Feature::Queue, Feature::Queue]).and(Feature::Queue).and(Feature::Settle);
        assert_eq!(needs.features, [Feature::Queue, Feature::Settle]);
    }

    #[test]
    fn lists_every_unmet_need() {
        let bus = Capability { queue: true, max_message: Some(100), ..Capability::default() };
        let needs = Needs::of([Feature::Queue, Feature::Dedup, Feature::Topic]).with_message_size(101_u64);
        let unmet = needs.unmet(&bus);
        assert_eq!(unmet.len(), 3);
        assert!(unmet[0].to_string().contains("dedup"));
        let better = Capability { topic: true, max_message: None, ..bus };
        let met: Vec<_> = unmet.iter().map(|unmet| unmet.met_by(&better)).collect();
        assert_eq!(met, [false, true, true]);
    }
}
