//! Stopping: first drain, then abort.

use std::io;

use tokio::sync::watch;

/// How far a shutdown has come. It only goes forward.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Running.
    #[default]
    Running,
    /// Intake stops; what is in hand is finished.
    Draining,
    /// What is in hand is given up and will be delivered again.
    Aborting,
}

/// Starts a shutdown. Dropping it starts nothing.
#[derive(Clone, Debug)]
pub struct ShutdownTrigger(watch::Sender<Phase>);

impl ShutdownTrigger {
    /// Asks for a drain.
    pub fn drain(&self) {
        self.advance(Phase::Draining);
    }

    /// Ends at once.
    pub fn abort(&self) {
        self.advance(Phase::Aborting);
    }

    fn advance(&self, phase: Phase) {
        self.0.send_if_modified(|now| {
            let further = phase > *now;
            *now = phase.max(*now);
            further
        });
    }
}

/// What workers and monitors watch to know when to stop. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Shutdown(watch::Receiver<Phase>);

impl Shutdown {
    /// A shutdown that the trigger starts.
    #[must_use]
    pub fn manual() -> (ShutdownTrigger, Self) {
        let (sender, receiver) = watch::channel(Phase::Running);
        (ShutdownTrigger(sender), Self(receiver))
    }

    /// A shutdown that the process's signals start: the first SIGTERM or SIGINT drains, the second aborts.
    ///
    /// # Errors
    /// If the signal handlers cannot be installed.
    ///
    /// # Panics
    /// Outside a tokio runtime with I/O enabled.
    pub fn on_signals() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        let mut term = signal(SignalKind::terminate())?;
        let mut int = signal(SignalKind::interrupt())?;
        let (trigger, shutdown) = Self::manual();
        tokio::spawn(async move {
            for step in [ShutdownTrigger::drain, ShutdownTrigger::abort] {
                tokio::select! {
                    _ = term.recv() => {},
                    _ = int.recv() => {},
                }
                step(&trigger);
            }
            trigger.0.closed().await;
        });
        Ok(shutdown)
    }

    /// How far it has come.
    #[must_use]
    pub fn phase(&self) -> Phase {
        *self.0.borrow()
    }

    /// Returns when a drain (or more) is asked for. Cancel safe.
    pub async fn draining(&self) {
        self.reached(Phase::Draining).await;
    }

    /// Returns when an abort is asked for. Cancel safe.
    pub async fn aborting(&self) {
        self.reached(Phase::Aborting).await;
    }

    async fn reached(&self, phase: Phase) {
        let mut receiver = self.0.clone();
        if receiver.wait_for(|now| *now >= phase).await.is_err() {
            // No trigger is left, so nobody can ask any more.
            std::future::pending::<()>().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn goes_forward_only() {
        let (trigger, shutdown) = Shutdown::manual();
        assert_eq!(shutdown.phase(), Phase::Running);
        trigger.abort();
        trigger.drain();
        assert_eq!(shutdown.phase(), Phase::Aborting);
        shutdown.draining().await;
        shutdown.aborting().await;
    }
}
