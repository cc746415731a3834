//! One connection to one broker: TCP, TLS, the handshake, and a way to end it that needs no answer.

use std::net::{Shutdown, TcpStream};
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_compat::Compat;
use lapin::tcp::{RustlsConnector, RustlsConnectorConfig};
use lapin::uri::{AMQPAuthority, AMQPQueryString, AMQPScheme, AMQPUri, AMQPUserInfo, SASLMechanism};
use lapin::{AsyncTcpStream, Connection, ConnectionProperties};
use polybus_contract::{Error, Kind, Operation, Result};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::time::{Instant, timeout, timeout_at};

use crate::config::Config;
use crate::error::{down, of_broker};

/// A second handle on the socket: shutting it down ends whatever waits on the connection, also on a broker that
/// answers nothing any more.
#[derive(Clone, Debug, Default)]
pub(crate) struct Socket(Arc<Mutex<Option<TcpStream>>>);

impl Socket {
    fn hold(&self, stream: TcpStream) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(stream);
    }

    pub(crate) fn shut(&self) {
        let stream = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        // A socket that is gone already is what is wanted.
        let _ = stream.map(|stream| stream.shutdown(Shutdown::Both));
    }
}

/// A connection, its socket, and which of the named brokers it leads to.
#[derive(Debug)]
pub(crate) struct Dialled {
    pub(crate) connection: Connection,
    pub(crate) socket: Socket,
    pub(crate) place: usize,
}

/// Connects to the first broker that answers, beginning with the `turn`-th one. A broker that is silent gets its share of
/// the time only: the next one may be well.
pub(crate) async fn dial(config: &Config, role: &str, turn: usize, until: Instant) -> Result<Dialled> {
    let tls = if config.tls { Some(connector(config).await?) } else { None };
    let mut last = down(Operation::Connect, "no broker is named");
    let brokers = config.hosts.len();
    for at in 0..brokers {
        let place = (turn + at) % brokers;
        let until = share(until, brokers - at);
        match dial_one(config, &config.hosts[place], role, tls.clone(), until).await {
            Ok((connection, socket)) => return Ok(Dialled { connection, socket, place }),
            Err(error) if error.kind() == Kind::Unauthorized => return Err(error),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// The end of the first of so many equal parts of what is left.
fn share(until: Instant, parts: usize) -> Instant {
    let now = Instant::now();
    now + until.saturating_duration_since(now) / u32::try_from(parts.max(1)).unwrap_or(u32::MAX)
}

async fn dial_one(
    config: &Config,
    (host, port): &(String, u16),
    role: &str,
    tls: Option<Arc<RustlsConnector>>,
    until: Instant,
) -> Result<(Connection, Socket)> {
    let socket = Socket::default();
    let held = socket.clone();
    let resolved = resolve(host, *port, until).await?;
    let name = config.server_name.clone().unwrap_or_else(|| host.clone());
    let left = until.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
    let runtime = lapin::runtime::default_runtime().map_err(|error| of_broker(&error, Operation::Connect))?;
    let open = async move |_, _| {
        let late = |_| std::io::Error::from(std::io::ErrorKind::TimedOut);
        let stream = timeout(left, tokio::net::TcpStream::connect(&*resolved)).await.map_err(late)??;
        stream.set_nodelay(true)?;
        held.hold(TcpStream::from(stream.as_fd().try_clone_to_owned()?));
        let stream = AsyncTcpStream::Plain(Compat::new(stream));
        match &tls {
            Some(connector) => {
                Ok(timeout(left, stream.into_rustls(connector, &name)).await.map_err(late)??)
            }
            None => Ok(stream),
        }
    };
    let properties = ConnectionProperties::default()
        .with_connection_name(format!("{} ({role})", config.name).into())
        .with_client_property("product".into(), "polybus".into());
    let connecting = Connection::connector(uri(config, host, *port), runtime, open, properties);
    match timeout_at(until, connecting).await {
        Ok(Ok(connection)) => Ok((connection, socket)),
        Ok(Err(error)) => Err(of_broker(&error, Operation::Connect)),
        Err(_) => {
            socket.shut();
            Err(down(Operation::Connect, &format!("{host}:{port} did not answer in time")))
        }
    }
}

/// The addresses of a host.
pub(crate) async fn resolve(host: &str, port: u16, until: Instant) -> Result<Vec<std::net::SocketAddr>> {
    let found = timeout_at(until, tokio::net::lookup_host((host, port))).await;
    let found =
        found.map_err(|_| down(Operation::Connect, &format!("the name {host} is not resolved in time")))?;
    let found: Vec<_> =
        found.map_err(|error| down(Operation::Connect, &format!("{host}: {error}")))?.collect();
    if found.is_empty() {
        return Err(down(Operation::Connect, &format!("{host} has no address")));
    }
    Ok(found)
}

fn uri(config: &Config, host: &str, port: u16) -> AMQPUri {
    AMQPUri {
        scheme: if config.tls { AMQPScheme::AMQPS } else { AMQPScheme::AMQP },
        authority: AMQPAuthority {
            userinfo: AMQPUserInfo { username: config.user.clone(), password: config.password.clone() },
            host: host.to_owned(),
            port,
        },
        vhost: config.vhost.clone(),
        query: AMQPQueryString {
            heartbeat: u16::try_from(config.heartbeat.as_secs()).ok(),
            auth_mechanism: Some(SASLMechanism::Plain),
            ..AMQPQueryString::default()
        },
    }
}

/// What is trusted and shown. Files are read at each connect: certificates are renewed while programs run.
pub(crate) async fn connector(config: &Config) -> Result<Arc<RustlsConnector>> {
    let config = config.clone();
    let made = tokio::task::spawn_blocking(move || make_connector(&config)).await;
    made.map_err(|_| Error::new(Kind::Internal, Operation::Connect))?.map(Arc::new)
}

fn make_connector(config: &Config) -> Result<RustlsConnector> {
    // Refused if the program has chosen a provider already, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut trust = match &config.ca {
        Some(_) => RustlsConnectorConfig::default(),
        None => RustlsConnectorConfig::new_with_native_certs()
            .map_err(|error| unusable("the system's certificates", error))?,
    };
    if let Some(file) = &config.ca {
        trust.add_parsable_certificates(certificates(file)?);
    }
    let made = match (&config.cert, &config.key) {
        (Some(cert), Some(key)) => {
            let chain = certificates(cert)?;
            let key = PrivateKeyDer::from_pem_file(key)
                .map_err(|error| unusable(&key.display().to_string(), error))?;
            trust.connector_with_single_cert(chain, key)
        }
        _ => trust.connector_with_no_client_auth(),
    };
    made.map_err(|error| unusable("TLS", error))
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let name = file.display().to_string();
    let found: std::result::Result<Vec<_>, _> =
        CertificateDer::pem_file_iter(file).map_err(|error| unusable(&name, error))?.collect();
    let found = found.map_err(|error| unusable(&name, error))?;
    if found.is_empty() {
        return Err(unusable(&name, "no certificate is in it"));
    }
    Ok(found)
}

fn unusable(what: &str, why: impl std::fmt::Display) -> Error {
    Error::new(Kind::Configuration, Operation::Connect).with_detail(format!("{what}: {why}"))
}
