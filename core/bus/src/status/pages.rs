//! A small HTTP server: `/health`, `/ready`, `/metrics`.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tracing::debug;

use super::ServiceStatus;
use super::page::Page;

/// Connections at the same time; more wait in the system's queue.
const CONNECTIONS: usize = 16;

/// The longest life of a connection, which serves one request: for slow readers and for those who never ask.
const PATIENCE: Duration = Duration::from_secs(10);

/// The longest head of a request.
const HEAD: usize = 8192;

/// A pause after a connection could not be taken: the process may be out of file handles.
const PAUSE: Duration = Duration::from_millis(200);

const METRICS: HeaderValue =
    HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");
const JSON: HeaderValue = HeaderValue::from_static("application/json");
const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");

/// The pages of a [`ServiceStatus`] on a port. There is no password and no TLS: bind it to the loopback, or to a network whose
/// members may read figures.
#[derive(Debug)]
pub struct StatusPages {
    listener: TcpListener,
    status: ServiceStatus,
}

impl StatusPages {
    /// Takes the port; nobody is answered before [`StatusPages::serve`].
    ///
    /// # Errors
    /// If the port cannot be had.
    pub async fn bind(address: SocketAddr, status: ServiceStatus) -> io::Result<Self> {
        Ok(Self { listener: TcpListener::bind(address).await?, status })
    }

    /// Where it listens.
    ///
    /// # Errors
    /// If the system does not say.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Answers, at most 16 connections at a time, each for one request and 10 s. Does not return; dropping the future
    /// ends all connections.
    pub async fn serve(self) -> Infallible {
        let mut open = JoinSet::new();
        loop {
            tokio::select! {
                Some(_) = open.join_next(), if !open.is_empty() => {}
                taken = self.listener.accept(), if open.len() < CONNECTIONS => match taken {
                    Ok((stream, _)) => {
                        open.spawn(converse(stream, self.status.clone()));
                    }
                    Err(error) => {
                        debug!("no connection for status pages: {error}");
                        tokio::time::sleep(PAUSE).await;
                    }
                },
            }
        }
    }
}

async fn converse(stream: TcpStream, status: ServiceStatus) {
    let answers = service_fn(move |request| {
        let status = status.clone();
        async move { Ok::<_, Infallible>(answer(&request, &status).await) }
    });
    let conversation = http1::Builder::new()
        .keep_alive(false)
        .max_buf_size(HEAD)
        .serve_connection(TokioIo::new(stream), answers);
    // Whatever goes wrong here is the reader's loss alone.
    if let Ok(Err(error)) = tokio::time::timeout(PATIENCE, conversation).await {
        debug!("a reader of status pages: {error}");
    }
}

async fn answer(request: &Request<Incoming>, status: &ServiceStatus) -> Response<Full<Bytes>> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut refused = page(StatusCode::METHOD_NOT_ALLOWED, TEXT, "only GET\n".into());
        refused.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return refused;
    }
    match request.uri().path() {
        "/health" => probe(&status.health_page()),
        "/ready" => probe(&status.ready_page()),
        "/metrics" => page(StatusCode::OK, METRICS, status.metrics().await),
        _ => page(StatusCode::NOT_FOUND, TEXT, "/health, /ready or /metrics\n".into()),
    }
}

fn probe(found: &Page) -> Response<Full<Bytes>> {
    let code = if found.good { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    page(code, JSON, format!("{}\n", found.json))
}

fn page(code: StatusCode, kind: HeaderValue, text: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = code;
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
