//! The runtime of a client, and how signals end it.

use std::future::Future;

use polybus::exit;
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{SignalKind, signal};

use crate::console::{Failure, Outcome};

/// Runs `work` until it is done, or until SIGINT (exit 130) or SIGTERM (exit 143) ends it.
///
/// # Errors
/// That of `work`, that of a signal, and exit 70 if the system gives no threads or signal handlers.
pub(crate) fn until_signal<T>(work: impl Future<Output = Outcome<T>>) -> Outcome<T> {
    let runtime = runtime()?;
    let done = runtime.block_on(async {
        tokio::select! {
            biased;
            code = signalled() => Err(code.map_or_else(|error| no_handler(&error), Failure::Ended)),
            done = work => done,
        }
    });
    // A job on another thread may not look at its cancellation at once; the program does not wait for it.
    runtime.shutdown_background();
    done
}

/// A runtime with room for a worker beside the client.
///
/// # Errors
/// Exit 70.
pub(crate) fn runtime() -> Outcome<Runtime> {
    let built = Builder::new_multi_thread().worker_threads(2).enable_all().build();
    built.map_err(|error| Failure::internal(format!("no threads: {error}")))
}

fn no_handler(error: &std::io::Error) -> Failure {
    Failure::internal(format!("no signal handlers: {error}"))
}

async fn signalled() -> std::io::Result<u8> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        _ = interrupt.recv() => Ok(exit::INTERRUPTED),
        _ = terminate.recv() => Ok(exit::TERMINATED),
    }
}
