//! Builder methods for option structs.
//!
//! Options are `#[non_exhaustive]`, so outside this crate `..Default::default()` does not compile (E0639); a setter
//! for each field keeps them usable and lets a field be added without breaking anyone.

macro_rules! setters {
    ($type:ident { $($(#[$doc:meta])* $name:ident => $field:ident : $kind:ty),* $(,)? }) => {
        impl $type {
            $($(#[$doc])* #[must_use] pub fn $name(mut self, value: impl Into<$kind>) -> Self {
                self.$field = value.into();
                self
            })*
        }
    };
}

pub(crate) use setters;
