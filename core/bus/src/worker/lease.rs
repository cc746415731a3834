//! Keeping a lease while work goes on.

use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use polybus_contract::{Error, Lease, LeaseTerms, Result};
use tokio::time::{Instant, sleep_until};

/// How often a lease that lasts as long as the connection is looked at.
const CONNECTION_CHECK: Duration = Duration::from_secs(5);

/// Runs `work` and renews the lease at a third of its term. Ends early if the lease is lost: the message may then be
/// with someone else, and going on would be double work.
///
/// # Errors
/// That of the renewal. A temporary one is tried again until the lease has run out.
pub(super) async fn keep<T>(lease: &Lease, work: impl Future<Output = T>) -> Result<T> {
    let mut work = pin!(work);
    let mut lost = pin!(renew_until_lost(lease));
    tokio::select! {
        biased;
        done = &mut work => Ok(done),
        error = &mut lost => Err(error),
    }
}

async fn renew_until_lost(lease: &Lease) -> Error {
    let mut term = match lease.terms() {
        LeaseTerms::Timed(term) => term,
        LeaseTerms::Connection => CONNECTION_CHECK * 3,
    };
    let mut ends = Instant::now() + term;
    loop {
        sleep_until(Instant::now() + ends.saturating_duration_since(Instant::now()) / 3).await;
        match lease.renew().await {
            Ok(renewed) => {
                term = renewed.unwrap_or(term);
                ends = Instant::now() + term;
            }
            Err(error) if Instant::now() + term / 20 >= ends || is_final(&error) => return error,
            Err(_) => {}
        }
    }
}

fn is_final(error: &Error) -> bool {
    use polybus_contract::Kind;
    matches!(error.kind(), Kind::Stale | Kind::Closed | Kind::NotFound)
}
