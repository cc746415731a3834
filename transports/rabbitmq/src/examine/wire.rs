//! A connection for what the client library does not do: to read what a broker says of itself, and for HTTP.

use async_compat::Compat;
use lapin::AsyncTcpStream;
use polybus_contract::{Operation, Result};
use tokio::net::TcpStream;
use tokio::time::{Duration, Instant, timeout_at};

use crate::config::Config;
use crate::dial::{connector, resolve};
use crate::error::down;

/// How long one of these takes at most.
pub(super) const WITHIN: Duration = Duration::from_secs(5);

pub(super) type Wire = Compat<AsyncTcpStream<Compat<TcpStream>>>;

/// Connects, with the certificates of the bus where TLS is asked for.
pub(super) async fn open(
    config: &Config,
    (host, port): (&str, u16),
    tls: bool,
    until: Instant,
) -> Result<Wire> {
    let away = |error: std::io::Error| down(Operation::Inspect, &format!("{host}:{port}: {error}"));
    let late = |_| down(Operation::Inspect, &format!("{host}:{port} did not answer in time"));
    let addresses = resolve(host, port, until).await?;
    let stream = timeout_at(until, TcpStream::connect(&*addresses)).await.map_err(late)?.map_err(away)?;
    let stream = AsyncTcpStream::Plain(Compat::new(stream));
    if !tls {
        return Ok(Compat::new(stream));
    }
    let connector = connector(config).await?;
    let name = config.server_name.as_deref().unwrap_or(host);
    let stream = timeout_at(until, stream.into_rustls(&connector, name)).await.map_err(late)?;
    stream.map(Compat::new).map_err(away)
}
