//! Running the ipgrep engine for a service: off the async threads, and stopped when the job is given up.

use std::io::{self, Read};
use std::num::NonZeroUsize;

use bytes::{Buf, Bytes};
use polybus::frame::{Refusal, RefusalCode};
use polybus_ipgrep::RunError;
use tokio_util::sync::CancellationToken;

use crate::large::unavailable;

/// Below this a second thread costs more than it saves.
const PARALLEL_FROM: usize = 8 << 20;

/// Runs blocking work on its own thread.
///
/// # Errors
/// Its refusal. A panic in it goes on in the caller, where the worker contains it.
pub(crate) async fn off_thread<T, F>(work: F) -> Result<T, Refusal>
where
    T: Send + 'static,
    F: FnOnce() -> Result<T, Refusal> + Send + 'static,
{
    match tokio::task::spawn_blocking(work).await {
        Ok(answer) => answer,
        Err(failure) => match failure.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => Err(Refusal::new(RefusalCode::Internal, "the service is ending")),
        },
    }
}

/// The text of a request as an input of the engine. Reading fails once the job is given up, so that its thread ends.
pub(crate) struct Text {
    data: Bytes,
    cancelled: CancellationToken,
}

impl Text {
    pub(crate) const fn new(data: Bytes, cancelled: CancellationToken) -> Self {
        Self { data, cancelled }
    }
}

impl Read for Text {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.cancelled.is_cancelled() {
            return Err(io::Error::other("the job was given up"));
        }
        let count = buffer.len().min(self.data.len());
        self.data.copy_to_slice(&mut buffer[..count]);
        Ok(count)
    }
}

pub(crate) fn threads(bytes: usize) -> NonZeroUsize {
    if bytes < PARALLEL_FROM {
        return NonZeroUsize::MIN;
    }
    std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN)
}

pub(crate) fn failed(error: &RunError) -> Refusal {
    match error {
        RunError::Read { error, .. } | RunError::Write(error) => unwritten(error),
        RunError::Thread(why) => Refusal::new(RefusalCode::Internal, why.clone()),
    }
}

/// Where the bus is at fault, it says why; a file or a pipe it is not.
pub(crate) fn unwritten(error: &io::Error) -> Refusal {
    let of_the_bus = error.get_ref().and_then(|source| source.downcast_ref::<polybus::Error>());
    of_the_bus.map_or_else(|| Refusal::new(RefusalCode::Internal, error.to_string()), unavailable)
}
