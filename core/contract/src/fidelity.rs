//! Which properties of a message a bus carries.

use std::fmt;

/// A property of a message that a bus may be unable to carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
#[expect(missing_docs, reason = "each variant is the property of the message it names")]
pub enum Property {
    /// The id, when it was given on purpose.
    Id,
    ContentType,
    ContentEncoding,
    Headers,
    /// The types of header values; without it they arrive as text.
    HeaderTypes,
    CorrelationId,
    ReplyTo,
    Created,
    Expires,
    Priority,
    Sender,
    Deadline,
}

impl Property {
    /// Every property.
    pub const ALL: &'static [Self] = &[
        Self::Id,
        Self::ContentType,
        Self::ContentEncoding,
        Self::Headers,
        Self::HeaderTypes,
        Self::CorrelationId,
        Self::ReplyTo,
        Self::Created,
        Self::Expires,
        Self::Priority,
        Self::Sender,
        Self::Deadline,
    ];

    /// The word for it in manifests.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Id => "id",
            Self::ContentType => "content_type",
            Self::ContentEncoding => "content_encoding",
            Self::Headers => "headers",
            Self::HeaderTypes => "header_types",
            Self::CorrelationId => "correlation_id",
            Self::ReplyTo => "reply_to",
            Self::Created => "created",
            Self::Expires => "expires",
            Self::Priority => "priority",
            Self::Sender => "sender",
            Self::Deadline => "deadline",
        }
    }

    const fn bit(self) -> u32 {
        1 << self as u32
    }
}

/// A set of properties: what a bus carries, or what a caller agrees to lose (A9, R-55).
///
/// It is enforced: a message with a property the bus loses is refused unless its publisher agreed in writing with
/// [`PublishOptions::accept_loss`](crate::PublishOptions::accept_loss).
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Fidelity(u32);

impl Fidelity {
    /// No property.
    #[must_use]
    pub const fn none() -> Self {
        Self(0)
    }

    /// Every property.
    #[must_use]
    pub fn all() -> Self {
        Property::ALL.iter().copied().collect()
    }

    /// This set and `property`.
    #[must_use]
    pub const fn with(self, property: Property) -> Self {
        Self(self.0 | property.bit())
    }

    /// This set, and `property` if that is `wanted`.
    pub(crate) const fn with_if(self, wanted: bool, property: Property) -> Self {
        Self(self.0 | (wanted as u32) << property as u32)
    }

    /// This set without `property`.
    #[must_use]
    pub const fn without(self, property: Property) -> Self {
        Self(self.0 & !property.bit())
    }

    /// Whether `property` is in the set.
    #[must_use]
    pub const fn has(self, property: Property) -> bool {
        self.0 & property.bit() != 0
    }

    /// What is in this set and in neither of the others.
    #[must_use]
    pub const fn beyond(self, other: Self, another: Self) -> Self {
        Self(self.0 & !other.0 & !another.0)
    }

    /// Whether the set is empty.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The properties in the set.
    pub fn iter(self) -> impl Iterator<Item = Property> {
        Property::ALL.iter().copied().filter(move |property| self.has(*property))
    }
}

impl FromIterator<Property> for Fidelity {
    fn from_iter<I: IntoIterator<Item = Property>>(properties: I) -> Self {
        properties.into_iter().fold(Self::none(), Self::with)
    }
}

impl fmt::Display for Fidelity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.iter().map(Property::name).collect();
        f.write_str(&names.join(", "))
    }
}

impl fmt::Debug for Fidelity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{{{self}}}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn set_arithmetic() {
        let set = Fidelity::all().without(Property::Priority);
        assert!(!set.has(Property::Priority) && set.has(Property::Id));
        assert_eq!(Fidelity::all().beyond(set, Fidelity::none()).to_string(), "priority");
        assert_eq!(Fidelity::all().iter().count(), Property::ALL.len());
    }
}
