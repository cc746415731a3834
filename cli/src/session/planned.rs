//! What a program means to do on its bus.

use polybus::{Bus, Feature, Needs, Plan};

use super::serving::configured;
use super::{BuiltIn, Place, wrong};
use crate::console::Outcome;
use crate::options::Serving;

/// The services with these names, as `polybus serve` would serve them with the same words, and their log lines.
///
/// # Errors
/// Exit 2 for a name that is none.
pub(crate) fn planned(place: &Place, services: &[&BuiltIn], serving: &Serving) -> Outcome<Plan> {
    // Nothing is connected: a server of any bus says what it would do.
    let bus = Bus::open("embedded:").map_err(|error| wrong(&error))?;
    let own: Vec<Feature> = serving.server.require.clone();
    let mut all = Vec::new();
    for built_in in services {
        let compat = &serving.server.frames.compat;
        let server = configured(&bus, place, built_in.make(&place.settings, compat), compat);
        let planned = server.served().map_err(|error| wrong(&error))?;
        let needs = own.iter().fold(planned.needs.clone(), |needs: Needs, feature| needs.and(*feature));
        all.push(planned.with_needs(needs).with_size_stated(place.limited));
    }
    Ok(Plan::default().with_services(all).with_topics([place.log_topic()?]))
}
