//! Getting to a bus, which may not be there yet.

use std::pin::pin;
use std::time::{Duration, Instant};

use polybus::{Bus, CONNECT_WITHIN, Error, Link, is_away, pause};

use super::Place;
use crate::console::{Notices, Outcome};

/// When somebody who waits is told what for.
const TELL_AFTER: Duration = Duration::from_secs(2);

/// How long a program waits for its bus.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Patience {
    /// As long as one attempt takes, at most 10 s.
    Once,
    /// This long.
    For(Duration),
    /// Until a signal comes.
    Forever,
}

impl Patience {
    fn left(self, since: Instant) -> Duration {
        match self {
            Self::Once => Duration::ZERO,
            Self::For(whole) => whole.saturating_sub(since.elapsed()),
            Self::Forever => Duration::MAX,
        }
    }
}

/// A connected bus.
pub(crate) struct Arrival {
    /// The bus.
    pub(crate) bus: Bus,
    /// Whether it was away when it was looked for first: its servers may not be there yet either.
    pub(crate) waited: bool,
}

impl Place {
    /// The bus, connected. Waits for it if it is away, and says so on standard error; what connecting found and should be
    /// known is said there too.
    ///
    /// # Errors
    /// As [`Place::open`]; exit 69 if it is still away at the end of the patience; those of connecting.
    pub(crate) async fn connect(&self, patience: Patience, notices: &Notices) -> Outcome<Arrival> {
        let bus = self.open()?;
        let began = Instant::now();
        let mut told = false;
        for attempt in 1.. {
            let failure = match tried(&bus, patience, began, &mut told, notices).await {
                Ok(()) => break,
                Err(failure) => failure,
            };
            let left = patience.left(began);
            if left.is_zero() || !is_away(&failure) {
                return Err(self.unreachable(&failure.with_target(&bus)));
            }
            tell(&bus, failure.detail().unwrap_or("no answer"), patience, &mut told, notices);
            tokio::time::sleep(pause(attempt).min(left)).await;
        }
        bus.transport().health().notes.iter().for_each(|note| notices.warning(note));
        Ok(Arrival { bus, waited: told })
    }
}

async fn tried(
    bus: &Bus,
    patience: Patience,
    began: Instant,
    told: &mut bool,
    notices: &Notices,
) -> Result<(), Error> {
    // What is left may be less than anything takes; one attempt is always a fair one.
    let within = patience.left(began).clamp(TELL_AFTER, CONNECT_WITHIN);
    let within = if patience == Patience::Once { CONNECT_WITHIN } else { within };
    let mut attempt = pin!(bus.transport().connect(within));
    if let Ok(done) = tokio::time::timeout(TELL_AFTER, &mut attempt).await {
        return done;
    }
    if patience != Patience::Once {
        tell(bus, &reason(bus), patience, told, notices);
    }
    attempt.await
}

fn reason(bus: &Bus) -> String {
    match bus.transport().health().link {
        Link::Down { reason, .. } => reason,
        _ => "no answer yet".to_owned(),
    }
}

fn tell(bus: &Bus, why: &str, patience: Patience, told: &mut bool, notices: &Notices) {
    if std::mem::replace(told, true) {
        return;
    }
    let until = match patience {
        Patience::For(whole) => format!("for {} s", whole.as_secs_f64()),
        _ => "until it is there".to_owned(),
    };
    notices.warning(&format!("cannot connect to {bus}: {why}; trying again {until}"));
}
