//! Taking connections, of which anybody may make one.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::sleep;

use super::session;
use super::shared::Shared;
use crate::pipe::{Broken, shake};
use crate::socket::{Listener, Stream};
use crate::zmtp::Socket;

/// How long the handshake below the protocol may take.
const SHAKE: Duration = Duration::from_secs(5);

/// The pause after the system gave no connection: it has no more descriptors, say.
const PAUSE: Duration = Duration::from_millis(50);

/// One connection, counted as long as it lives.
pub(super) struct Counted(Arc<Shared>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::AcqRel);
        self.0.left.notify_waiters();
        self.0.left.notify_one();
    }
}

pub(super) async fn accept(shared: Arc<Shared>, listener: Listener) {
    let mut closing = shared.closing.subscribe();
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_) = connections.join_next() => continue,
            _ = closing.wait_for(|closing| *closing) => break,
        };
        let Ok(stream) = accepted else {
            sleep(PAUSE).await;
            continue;
        };
        let many = shared.config.max_clients as u64;
        if shared.connections.fetch_add(1, Ordering::AcqRel) >= many {
            shared.refused.fetch_add(1, Ordering::Relaxed);
            drop(Counted(shared.clone()));
            continue;
        }
        connections.spawn(serve(shared.clone(), stream));
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

async fn serve(shared: Arc<Shared>, stream: Stream) {
    let _counted = Counted(shared.clone());
    let served = async {
        let (pipe, inlet) = shake(stream, Socket::Router, SHAKE).await?;
        session::run(shared.clone(), pipe, inlet).await
    };
    if let Err(broken) = served.await {
        if !matches!(broken, Broken::Closed | Broken::Io(_)) {
            shared.cut.fetch_add(1, Ordering::Relaxed);
        }
        tracing::debug!(%broken, "a connection ended");
    }
}
