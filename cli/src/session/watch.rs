//! A server's pages for probes and Prometheus, if they are asked for.

use std::net::SocketAddr;
use std::sync::Arc;

use polybus::log::Level;
use polybus::{Bus, Name, Observer, ServiceStatus, Shutdown, StatusPages};
use tokio::task::JoinSet;

use crate::console::{Failure, Notices, Outcome};

/// The pages, as long as this lives.
pub(super) struct Watch {
    status: Option<ServiceStatus>,
    _tasks: JoinSet<()>,
}

impl Watch {
    /// Opens the pages at this address, before there is a bus: whoever asks is told so.
    ///
    /// # Errors
    /// Exit 78 if the port cannot be had.
    pub(super) async fn open(
        program: &str,
        address: Option<SocketAddr>,
        shutdown: &Shutdown,
        notices: &Notices,
    ) -> Outcome<Self> {
        let mut tasks = JoinSet::new();
        let Some(address) = address else { return Ok(Self { status: None, _tasks: tasks }) };
        let status = ServiceStatus::new(program);
        let taken = |error| Failure::configuration(format!("cannot listen on {address}: {error}"));
        let pages = StatusPages::bind(address, status.clone()).await.map_err(taken)?;
        let address = pages.address().map_err(taken)?;
        if !address.ip().is_loopback() {
            notices.warning(&format!("whoever reaches {address} can read the figures of this server"));
        }
        notices.log(Level::Notice, &format!("status pages on http://{address}/"));
        tasks.spawn(async move {
            pages.serve().await;
        });
        let (shutdown, draining) = (shutdown.clone(), status.clone());
        tasks.spawn(async move {
            shutdown.draining().await;
            draining.draining();
        });
        Ok(Self { status: Some(status), _tasks: tasks })
    }

    /// Who counts what workers do.
    pub(super) fn observers(&self) -> impl Iterator<Item = Arc<dyn Observer>> {
        self.status.iter().map(ServiceStatus::observer)
    }

    /// From now on these queues are served.
    pub(super) fn serving(&self, bus: &Bus, queues: Vec<Name>) {
        if let Some(status) = &self.status {
            status.serving(bus, queues);
        }
    }
}
