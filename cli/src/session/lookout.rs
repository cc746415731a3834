//! Looking at a bus again and again.

use std::time::Duration;

use polybus::figures::{Look, Overview, intakes, look};
use polybus::{Error, Intake, Served, UnixMillis};

use super::desk::{Desk, refused};
use super::{BuiltIn, served};
use crate::console::Outcome;

/// How long one queue may take to tell its figures.
const WITHIN: Duration = Duration::from_secs(10);

/// A bus as it was seen last.
#[derive(Clone, Debug)]
pub(crate) struct Sight {
    /// The bus, without secrets.
    pub(crate) url: String,
    /// When it was looked at.
    pub(crate) at: UnixMillis,
    /// Its queues and services.
    pub(crate) overview: Overview,
    /// Attempts that a request gets.
    pub(crate) max_attempts: u32,
}

/// A place from which a bus is watched. Nothing on the bus is changed.
pub(crate) struct Lookout {
    desk: Desk,
    named: Vec<Intake>,
    services: Vec<Served>,
    last: Option<Look>,
}

impl Lookout {
    /// Watches these queues, or all if none is named, and the services of the settings.
    ///
    /// # Errors
    /// Exit 78 for a service that is none of this program, or if the bus has no desk; 2 for a queue that cannot be named
    /// so.
    pub(crate) fn new(desk: Desk, named: &[Intake]) -> Outcome<Self> {
        desk.admin()?;
        let services = served(&desk.place, &BuiltIn::configured(&desk.place.settings)?, &[])?;
        Ok(Self { desk, named: named.to_vec(), services, last: None })
    }

    /// The bus now. Rates are those since the look before; after the first look none is known.
    ///
    /// # Errors
    /// Exit 1 for a queue that was named and is not there, and those of the bus.
    pub(crate) async fn look(&mut self) -> Outcome<Sight> {
        let desk = self.desk.admin()?;
        let told = |error: Error| refused(&error);
        let all = intakes(desk, &self.named, &self.services).await.map_err(told)?;
        let now = look(desk, &all, WITHIN).await;
        if let Some(error) = self.missing(&now).or_else(|| now.trouble()) {
            return Err(refused(error));
        }
        let overview = Overview::of(&self.services, self.last.as_ref(), &now);
        self.last = Some(now);
        Ok(Sight {
            url: self.desk.bus.to_string(),
            at: UnixMillis::now(),
            overview,
            max_attempts: self.desk.place.settings.service.max_attempts,
        })
    }

    /// Why a queue that somebody asked for has no figures.
    fn missing<'a>(&self, look: &'a Look) -> Option<&'a Error> {
        let mut asked = look.queues.iter().filter(|(intake, _)| self.named.contains(intake));
        asked.find_map(|(_, told)| told.as_ref().err())
    }
}
