//! What a program means to do on its bus.

use polybus::{Bus, Feature, Needs, Plan, Served};

use super::serving::configured;
use super::{BuiltIn, Place, wrong};
use crate::console::Outcome;
use crate::options::{Compat, Serving};

/// The services with these names, as `polybus serve` would serve them with the same words, and their log lines.
///
/// # Errors
/// Exit 2 for a name that is none.
pub(crate) fn planned(place: &Place, services: &[&BuiltIn], serving: &Serving) -> Outcome<Plan> {
    let own: Vec<Feature> = serving.server.require.clone();
    let all = served(place, services, &serving.server.frames.compat)?.into_iter().map(|planned| {
        let needs = own.iter().fold(planned.needs.clone(), |needs: Needs, feature| needs.and(*feature));
        planned.with_needs(needs).with_size_stated(place.limited)
    });
    Ok(Plan::default().with_services(all.collect::<Vec<_>>()).with_topics([place.log_topic()?]))
}

/// The services as they are served by the settings: their queues, jobs and limits.
///
/// # Errors
/// Exit 2 for a queue that cannot be named so.
pub(crate) fn served(place: &Place, services: &[&BuiltIn], compat: &[Compat]) -> Outcome<Vec<Served>> {
    // Nothing is connected: a server of any bus says what it would do.
    let bus = Bus::open("embedded:").map_err(|error| wrong(&error))?;
    let one = |built_in: &&BuiltIn| {
        let server = configured(&bus, place, built_in.make(&place.settings, compat), compat);
        server.served().map_err(|error| wrong(&error))
    };
    services.iter().map(one).collect()
}
