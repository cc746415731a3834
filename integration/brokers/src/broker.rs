//! A broker of a test.

use std::fmt;
use std::time::{Duration, Instant};

use tokio::sync::Mutex;

use crate::kind::Product;
use crate::node::Node;
use crate::place;
use crate::start::Order;
use crate::tenant::Tenant;
use crate::tls::{Certificates, Tls};
use crate::{Error, Kind, Options, rabbitmq};

/// How long a server may take to read its configuration again.
const TOLD: Duration = Duration::from_secs(10);

/// A broker on a port of 127.0.0.1 that stays the same, with data that survive a kill, for as long as this exists.
///
/// Dropping it removes its container, or kills its programs and everything they started, and deletes its data; a test
/// that panics does that too. A test that is killed leaves them behind; containers have the label [`LABEL`].
///
/// A broker may be shared by tests with different runtimes. Every method ends: those that wait for the broker to accept
/// connections within [`Options::within`], the others within a minute. A future that is dropped before it ends may leave
/// the broker down; [`Broker::restart`] brings it back.
///
/// [`LABEL`]: crate::LABEL
pub struct Broker {
    pub(crate) node: Node,
    pub(crate) tenants: Mutex<Vec<Tenant>>,
    pub(crate) main: Tenant,
    neighbour: Tenant,
}

impl Broker {
    /// Starts a broker of this kind, and returns when it accepts connections.
    ///
    /// # Errors
    /// [`Error::Missing`] if there is no way to run it here, saying what to install; others if it does not start.
    pub async fn start(kind: Kind) -> Result<Self, Error> {
        Self::start_with(kind, &Options::default()).await
    }

    /// As [`Broker::start`], with these options.
    ///
    /// # Errors
    /// As there.
    pub async fn start_with(kind: Kind, options: &Options) -> Result<Self, Error> {
        let (main, neighbour) = (Tenant::new("main"), Tenant::new("neighbour"));
        let tenants = vec![main.clone(), neighbour.clone()];
        let node = place::at_any(kind, options, |choice| {
            let order = Order { kind, options, tenants: &tenants, member: None };
            async { order.start(choice).await?.up().await }
        })
        .await?;
        Ok(Self { node, tenants: Mutex::new(tenants), main, neighbour })
    }

    /// One of several, which have the same tenants.
    pub(crate) fn member(node: Node, main: Tenant, neighbour: Tenant) -> Self {
        let tenants = Mutex::new(vec![main.clone(), neighbour.clone()]);
        Self { node, tenants, main, neighbour }
    }

    /// What was asked for.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        self.node.kind
    }

    /// The version that the server tells its clients.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.node.version
    }

    /// Whether it runs in a container.
    #[must_use]
    pub const fn is_container(&self) -> bool {
        self.node.is_container()
    }

    /// Where it listens, `127.0.0.1:PORT`; with [`Options::tls`] for clients with TLS. It stays the same.
    #[must_use]
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.node.tls_port)
    }

    /// The files of its certificates, if it uses TLS.
    #[must_use]
    pub const fn certificates(&self) -> Option<&Certificates> {
        self.node.certificates.as_ref()
    }

    /// The URL for clients, with user and password. If the broker uses TLS it names the authority, `ca=FILE`, and where
    /// the broker demands it the certificate of the client, `cert=FILE` and `key=FILE`, as Polybus reads them.
    #[must_use]
    pub fn url(&self) -> String {
        self.url_at(&self.address())
    }

    /// User and password of [`Broker::url`], for clients that take no URL.
    #[must_use]
    pub fn login(&self) -> (&str, &str) {
        (&self.main.name, &self.main.password)
    }

    /// [`Broker::url`] with another address, `host:port`: that of a proxy in front of it.
    #[must_use]
    pub fn url_at(&self, address: &str) -> String {
        self.url_of(&self.main, &self.main.password, address)
    }

    /// The URL of RabbitMQ's management interface, without an account, if [`Options::management`] asked for it. It comes up a
    /// moment later than the broker.
    #[must_use]
    pub fn management_url(&self) -> Option<String> {
        self.node.management.map(|port| format!("http://127.0.0.1:{port}"))
    }

    /// The URL of another tenant, who may use the same names: another virtual host of RabbitMQ, another account of NATS.
    #[must_use]
    pub fn neighbour_url(&self) -> String {
        self.url_of(&self.neighbour, &self.neighbour.password, &self.address())
    }

    /// The URL with a wrong password.
    #[must_use]
    pub fn stranger_url(&self) -> String {
        self.url_of(&self.main, Self::WRONG_PASSWORD, &self.address())
    }

    /// The password of [`Broker::stranger_url`].
    pub const WRONG_PASSWORD: &str = "not-the-password";

    /// Makes a further tenant, named by a word of letters, digits and underscores, and says its URL.
    ///
    /// # Errors
    /// [`Error::Command`] or [`Error::Io`] if the broker refuses; [`Error::Setting`] for a name that is none.
    pub async fn tenant(&self, name: &str) -> Result<String, Error> {
        if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
            return Err(Error::Setting(format!("\"{name}\" is no name of a tenant")));
        }
        let mut tenants = self.tenants.lock().await;
        let known = tenants.iter().find(|tenant| tenant.name == name).cloned();
        let tenant = known.clone().unwrap_or_else(|| Tenant::new(name));
        if known.is_none() {
            tenants.push(tenant.clone());
            self.node.write_files(&tenants, false)?;
            self.tell_tenants().await?;
        }
        Ok(self.url_of(&tenant, &tenant.password, &self.address()))
    }

    async fn tell_tenants(&self) -> Result<(), Error> {
        match self.kind().product() {
            Product::RabbitMq => {
                let file = self.node.seen(rabbitmq::DEFINITIONS);
                self.command(&["import_definitions", &file]).await.map(|_| ())
            }
            Product::Nats => self.node.reload().await,
        }
    }

    fn url_of(&self, tenant: &Tenant, password: &str, address: &str) -> String {
        let tls = self.certificates().is_some();
        self.url_with(tenant, password, address, tls) + &self.tls_options()
    }

    /// The URL of a client that insists on TLS, whether the broker has it or not: a broker without it must not be used.
    #[must_use]
    pub fn tls_url(&self) -> String {
        self.url_with(&self.main, &self.main.password, &self.address(), true) + &self.tls_options()
    }

    pub(crate) fn url_with(&self, tenant: &Tenant, password: &str, address: &str, tls: bool) -> String {
        let (product, user) = (self.kind().product(), &tenant.name);
        let scheme = product.scheme(tls);
        match product {
            Product::RabbitMq => format!("{scheme}://{user}:{password}@{address}/{user}"),
            Product::Nats => format!("{scheme}://{user}:{password}@{address}"),
        }
    }

    fn tls_options(&self) -> String {
        let Some(Certificates { ca, client, client_key, .. }) = self.certificates() else {
            return String::new();
        };
        let ca = format!("?ca={}", ca.display());
        if self.node.layout.tls != Some(Tls::Mutual) {
            return ca;
        }
        format!("{ca}&cert={}&key={}", client.display(), client_key.display())
    }

    /// SIGKILL: it is down when this returns, its connections are cut, and nothing was flushed.
    ///
    /// # Errors
    /// [`Error::Engine`].
    pub async fn kill(&self) -> Result<(), Error> {
        self.node.kill().await
    }

    /// An orderly stop (SIGTERM): it is down when this returns. After half a minute it becomes a kill.
    ///
    /// # Errors
    /// [`Error::Engine`].
    pub async fn stop(&self) -> Result<(), Error> {
        self.node.stop().await
    }

    /// Starts it again after [`Broker::kill`] or [`Broker::stop`], on the same port with the same data, and returns when
    /// it accepts connections. If it is up it is stopped first.
    ///
    /// # Errors
    /// As [`Broker::start`].
    pub async fn restart(&self) -> Result<(), Error> {
        self.node.restart().await
    }

    /// It goes silent, its connections stay up (SIGSTOP) until [`Broker::resume`].
    ///
    /// # Errors
    /// [`Error::Engine`].
    pub async fn pause(&self) -> Result<(), Error> {
        self.node.pause().await
    }

    /// It goes on after [`Broker::pause`].
    ///
    /// # Errors
    /// [`Error::Engine`].
    pub async fn resume(&self) -> Result<(), Error> {
        self.node.resume().await
    }

    /// What it has written so far.
    ///
    /// # Errors
    /// [`Error::Engine`] or [`Error::Io`] if that cannot be read.
    pub async fn logs(&self) -> Result<String, Error> {
        self.node.logs().await
    }

    /// Runs `rabbitmqctl` with these arguments and says what it wrote.
    ///
    /// # Errors
    /// [`Error::Setting`] if this is no RabbitMQ, [`Error::Command`] if it failed.
    pub async fn command(&self, arguments: &[&str]) -> Result<String, Error> {
        match self.kind().product() {
            Product::RabbitMq => self.node.command(arguments).await,
            Product::Nats => Err(Error::Setting("NATS has no rabbitmqctl".to_owned())),
        }
    }

    /// Makes it refuse what is published. RabbitMQ raises its memory alarm, which blocks connections that publish; NATS
    /// lowers the limit of its accounts on stored bytes, so that streams refuse what is published.
    ///
    /// # Errors
    /// [`Error::Command`], [`Error::Engine`] or [`Error::Io`] if that cannot be done.
    pub async fn fill(&self) -> Result<(), Error> {
        self.set_full(true).await
    }

    /// The end of [`Broker::fill`].
    ///
    /// # Errors
    /// As there.
    pub async fn relieve(&self) -> Result<(), Error> {
        self.set_full(false).await
    }

    async fn set_full(&self, full: bool) -> Result<(), Error> {
        match self.kind().product() {
            Product::RabbitMq => {
                let mark = if full { "0.000001" } else { "0.4" };
                self.command(&["set_vm_memory_high_watermark", mark]).await.map(|_| ())
            }
            Product::Nats => {
                let tenants = self.tenants.lock().await;
                self.node.write_files(&tenants, full)?;
                self.node.reload().await?;
                self.told(full).await
            }
        }
    }

    /// Waits until a NATS server, which reads its configuration when it has time, says that the limit is there or gone. Over
    /// TLS it is not asked.
    async fn told(&self, full: bool) -> Result<(), Error> {
        let began = Instant::now();
        while self.certificates().is_none() && began.elapsed() < TOLD {
            let info = crate::cluster::ask(self, "$JS.API.INFO").await;
            let limit = info.as_ref().and_then(|info| info.pointer("/limits/max_storage")?.as_i64());
            if limit.is_some_and(|limit| (limit == crate::nats::FULL) == full) {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    /// It hands nothing out any longer, and all else works, until [`Broker::flow`]. RabbitMQ stops the channels that
    /// consume now: what goes to them stays there, and their connections are well.
    ///
    /// # Errors
    /// [`Error::Setting`] if this is no RabbitMQ, [`Error::Command`] if it failed.
    pub async fn stall(&self) -> Result<(), Error> {
        let consumers = "proplists:get_value(consumer_count, rabbit_channel:info(C, [consumer_count]))";
        let stop = format!("[sys:suspend(C) || C <- rabbit_channel:list(), {consumers} > 0].");
        self.command(&["eval", &stop]).await.map(|_| ())
    }

    /// The end of [`Broker::stall`].
    ///
    /// # Errors
    /// As there.
    pub async fn flow(&self) -> Result<(), Error> {
        self.command(&["eval", "[sys:resume(C) || C <- rabbit_channel:list()]."]).await.map(|_| ())
    }

    /// Waits until it accepts connections.
    ///
    /// # Errors
    /// [`Error::NotReady`].
    pub async fn ready(&self, within: Duration) -> Result<(), Error> {
        self.node.ready(within).await.map(|_| ())
    }
}

impl fmt::Debug for Broker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Broker")
            .field("kind", &self.kind())
            .field("version", &self.version())
            .field("address", &self.address())
            .field("container", &self.is_container())
            .finish_non_exhaustive()
    }
}
