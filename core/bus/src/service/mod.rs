//! Services that speak PRISEM frames (PRISEM services specification, 4 to 5).

mod handler;
mod server;

use async_trait::async_trait;
use polybus_contract::UnixMillis;
use tokio_util::sync::CancellationToken;

use crate::frame::{Answer, Received, Refusal};
use crate::large::{Content, Outbox};

pub(crate) use handler::FrameHandler;
pub use server::{DeadLetterPolicy, Server};

/// One request of a service, its frame read and its version and name checked.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ServiceRequest {
    /// The frame.
    pub frame: Received,
    /// Which attempt this is, from 1.
    pub attempt: u32,
    /// When its sender stops waiting.
    pub deadline: Option<UnixMillis>,
    /// The content of the field that [`Service::streams`] names, if it came in parts: it is empty in the frame then.
    pub content: Option<Content>,
    /// Where a large result goes part by part, if whoever asked reads such.
    pub outbox: Option<Outbox>,
    /// Cancelled when the job is given up. Work on threads and in child processes must watch it.
    pub cancelled: CancellationToken,
}

/// A service: frames in, answers out.
///
/// Delivery is at least once, so serving must bear being run twice. A panic is contained and counts as a failed
/// attempt; dropping the future must be safe at any await.
#[async_trait]
pub trait Service: Send + Sync + 'static {
    /// The short name in its frames, such as `anon`. A request for another name is refused.
    fn name(&self) -> &str;

    /// The field whose content it reads part by part when there is much of it. Any other field, and that of a service
    /// without one, is in the frame: contents that are larger than a frame may be are refused then. Default none.
    fn streams(&self) -> Option<&str> {
        None
    }

    /// Serves one request.
    ///
    /// # Errors
    /// A [`Refusal`], which is answered at once; the request is then done.
    async fn serve(&self, request: ServiceRequest) -> Result<Answer, Refusal>;
}

#[async_trait]
impl Service for Box<dyn Service> {
    fn name(&self) -> &str {
        (**self).name()
    }

    fn streams(&self) -> Option<&str> {
        (**self).streams()
    }

    async fn serve(&self, request: ServiceRequest) -> Result<Answer, Refusal> {
        (**self).serve(request).await
    }
}
