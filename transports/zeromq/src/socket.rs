//! The seam to the operating system: streams of bytes over TCP or a path of this machine, and where they are listened for.

use std::fmt;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::BytesMut;
use polybus_contract::{Error, Kind, Operation, Result};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream, lookup_host};
use tokio::time::timeout;

/// The scheme of the transport over TCP.
pub const SCHEME: &str = "zmq";

/// The scheme over a path of this machine.
pub const IPC_SCHEME: &str = "zmq+ipc";

/// The port of a broker that names none.
pub const PORT: u16 = 5570;

/// Where a broker listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// `HOST:PORT`.
    Tcp(String, u16),
    /// A path.
    Ipc(PathBuf),
}

impl Place {
    /// Reads `zmq://HOST[:PORT]` or `zmq+ipc:///PATH`, without user or options.
    ///
    /// # Errors
    /// [`Kind::Configuration`].
    pub fn from_url(url: &str) -> Result<Self> {
        if let Some(path) = url.strip_prefix(IPC_SCHEME).and_then(|rest| rest.strip_prefix("://")) {
            return Self::path(path);
        }
        match url.strip_prefix(SCHEME).and_then(|rest| rest.strip_prefix("://")) {
            Some(place) => Self::host(place.strip_suffix('/').unwrap_or(place)),
            None => Err(wrong(url, "it is zmq://HOST:PORT or zmq+ipc:///PATH")),
        }
    }

    pub(crate) fn path(path: &str) -> Result<Self> {
        if !path.starts_with('/') || path.len() < 2 {
            return Err(wrong(path, "the path of a socket begins with a slash: zmq+ipc:///run/polybus.sock"));
        }
        Ok(Self::Ipc(PathBuf::from(path)))
    }

    pub(crate) fn host(text: &str) -> Result<Self> {
        let (host, port) = match text.rsplit_once(':') {
            // A colon inside of brackets belongs to an IPv6 address.
            Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
            _ => (text, None),
        };
        if host.is_empty() || host.contains(|c: char| c.is_whitespace() || matches!(c, '/' | '@' | '?')) {
            return Err(wrong(text, "it is zmq://HOST:PORT"));
        }
        let port = port.map_or(Ok(PORT), str::parse);
        let port = port.map_err(|_| wrong(text, "the port is no number up to 65535"))?;
        Ok(Self::Tcp(host.to_owned(), port))
    }

    /// Whether only this machine can reach it.
    #[must_use]
    pub fn is_local(&self) -> bool {
        match self {
            Self::Ipc(_) => true,
            Self::Tcp(host, _) => {
                let bare = host.trim_start_matches('[').trim_end_matches(']');
                bare == "localhost" || bare.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
            }
        }
    }

    async fn addresses(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        Ok(lookup_host((bare, port)).await?.collect())
    }

    /// A stream to it.
    pub(crate) async fn dial(&self, within: Duration) -> io::Result<Stream> {
        let late = || io::Error::new(io::ErrorKind::TimedOut, "nobody answers");
        match self {
            Self::Ipc(path) => {
                timeout(within, UnixStream::connect(path)).await.map_err(|_| late())?.map(Stream::Ipc)
            }
            Self::Tcp(host, port) => {
                let dial = async {
                    let addresses = self.addresses(host, *port).await?;
                    TcpStream::connect(&addresses[..]).await
                };
                let stream = timeout(within, dial).await.map_err(|_| late())??;
                stream.set_nodelay(true)?;
                Ok(Stream::Tcp(stream))
            }
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(host, port) => write!(f, "{SCHEME}://{host}:{port}"),
            Self::Ipc(path) => write!(f, "{IPC_SCHEME}://{}", path.display()),
        }
    }
}

pub(crate) fn wrong(part: &str, why: &str) -> Error {
    let shown: String = part.chars().take(80).flat_map(char::escape_default).collect();
    Error::new(Kind::Configuration, Operation::Configure).with_detail(format!("\"{shown}\": {why}"))
}

/// A listening socket. A path is removed when it goes.
#[derive(Debug)]
pub(crate) enum Listener {
    Tcp(TcpListener),
    Ipc(UnixListener, PathBuf),
}

impl Listener {
    pub(crate) async fn bind(place: &Place) -> io::Result<Self> {
        match place {
            Place::Tcp(host, port) => {
                let mut addresses = place.addresses(host, *port).await?;
                if place.is_local() {
                    // A name means what somebody's file of hosts says.
                    addresses.retain(|address| address.ip().is_loopback());
                }
                TcpListener::bind(&addresses[..]).await.map(Self::Tcp)
            }
            Place::Ipc(path) => {
                clear(path).await?;
                Ok(Self::Ipc(UnixListener::bind(path)?, path.clone()))
            }
        }
    }

    pub(crate) async fn accept(&self) -> io::Result<Stream> {
        match self {
            Self::Tcp(listener) => {
                let (stream, _) = listener.accept().await?;
                stream.set_nodelay(true)?;
                Ok(Stream::Tcp(stream))
            }
            Self::Ipc(listener, _) => Ok(Stream::Ipc(listener.accept().await?.0)),
        }
    }

    /// Where it listens now: port 0 has become a port.
    pub(crate) fn place(&self) -> io::Result<Place> {
        Ok(match self {
            Self::Tcp(listener) => {
                let address = listener.local_addr()?;
                let host = match address {
                    SocketAddr::V4(address) => address.ip().to_string(),
                    SocketAddr::V6(address) => format!("[{}]", address.ip()),
                };
                Place::Tcp(host, address.port())
            }
            Self::Ipc(_, path) => Place::Ipc(path.clone()),
        })
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Self::Ipc(_, path) = self {
            let _ = std::fs::remove_file(path);
        }
    }
}

/// Removes a socket that a dead broker left behind; a living one, or something else, is left alone.
async fn clear(path: &Path) -> io::Result<()> {
    match std::fs::symlink_metadata(path) {
        Ok(found) if found.file_type().is_socket() => {}
        Ok(_) => return Err(io::Error::new(io::ErrorKind::AlreadyExists, "something else is there")),
        Err(_) => return Ok(()),
    }
    match UnixStream::connect(path).await {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => std::fs::remove_file(path),
        // One who is too busy to be reached is there as well.
        _ => Err(io::Error::new(io::ErrorKind::AddrInUse, "somebody listens there already")),
    }
}

/// A stream of bytes, usable from several tasks at once.
#[derive(Debug)]
pub(crate) enum Stream {
    Tcp(TcpStream),
    Ipc(UnixStream),
}

impl Stream {
    pub(crate) async fn readable(&self) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.readable().await,
            Self::Ipc(stream) => stream.readable().await,
        }
    }

    pub(crate) async fn writable(&self) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.writable().await,
            Self::Ipc(stream) => stream.writable().await,
        }
    }

    pub(crate) fn try_read(&self, buffer: &mut BytesMut) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.try_read_buf(buffer),
            Self::Ipc(stream) => stream.try_read_buf(buffer),
        }
    }

    pub(crate) fn try_write(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.try_write_vectored(slices),
            Self::Ipc(stream) => stream.try_write_vectored(slices),
        }
    }
}
