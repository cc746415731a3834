//! The time that is written into output documents.

use jiff::Zoned;

use super::{Failure, Outcome};

/// See [`polybus::output_time`].
///
/// # Errors
/// Exit 78 if `SOURCE_DATE_EPOCH` is set to something else than Unix seconds.
pub(crate) fn output_time() -> Outcome<Zoned> {
    polybus::output_time().map_err(|error| Failure::configuration(error.to_string()))
}
