//! The door of a server, if it is asked for.

use std::sync::Arc;

use polybus::{Bus, DoorService, Name, Shutdown};

use super::{BuiltIn, Place};
use crate::console::{Failure, Outcome};

/// Refuses a door on a bus that has none.
///
/// # Errors
/// Exit 78.
pub(super) fn require_door(bus: &Bus) -> Outcome {
    match bus.transport().door() {
        Some(_) => Ok(()),
        None => Err(Failure::configuration(format!(
            "--nats-door is for plain requests of NATS programs, and {bus} is no NATS bus"
        ))),
    }
}

/// How discovery shows a service.
pub(super) fn service(place: &Place, built_in: &BuiltIn, queue: Name) -> DoorService {
    let settings = &place.settings;
    DoorService::new(built_in.name, env!("CARGO_PKG_VERSION"), queue)
        .with_description(built_in.about)
        .with_within(settings.service.job_limit)
        .with_metadata("protocol", settings.protocol_version.as_str())
        .with_metadata("host", &place.identity.hostname)
}

/// Keeps the door until the shutdown begins.
pub(super) async fn keep(bus: Bus, service: DoorService, shutdown: Shutdown) {
    let Some(door) = bus.transport().door() else { return };
    tokio::select! {
        biased;
        () = shutdown.draining() => {}
        kept = door.keep(&service) => {
            if let Err(error) = kept {
                tracing::error!(queue = %service.queue, "the door is closed: {error}");
            }
        }
    }
}

/// Who counts for discovery.
pub(super) fn observer(service: &DoorService) -> Arc<dyn polybus::Observer> {
    service.tally.clone()
}
