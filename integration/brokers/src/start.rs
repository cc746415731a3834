//! How a server is started.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::engine::{self, Container, Request};
use crate::kind::Product;
use crate::layout::{Layout, Member};
use crate::node::{Home, Node};
use crate::place::Choice;
use crate::process::Process;
use crate::tenant::{Tenant, secret};
use crate::tls::Certificates;
use crate::{Error, Kind, Options, local, nats, port, rabbitmq};

/// Where a container sees its configuration.
const SEEN: &str = "/etc/polybus";

/// The port of the management interface in a container.
const MANAGEMENT: u16 = 15_672;

/// Ports for clients without and with TLS, and of the management interface.
type Ports = (u16, u16, Option<u16>);

/// What is to be started.
#[derive(Clone, Debug)]
pub(crate) struct Order<'a> {
    pub(crate) kind: Kind,
    pub(crate) options: &'a Options,
    pub(crate) tenants: &'a [Tenant],
    pub(crate) member: Option<Member>,
}

impl Order<'_> {
    /// Starts it, and does not wait for it.
    pub(crate) async fn start(self, choice: Choice) -> Result<Node, Error> {
        match choice {
            Choice::Image(image) => self.in_container(image).await,
            Choice::Program(program) => self.on_machine(program),
        }
    }

    async fn in_container(self, image: String) -> Result<Node, Error> {
        let folder = folder()?;
        let (port, tls_port) = self.ports()?;
        let (inner, inner_tls, data) = match self.kind.product() {
            Product::RabbitMq => (5672, 5671, "/var/lib/rabbitmq/mnesia"),
            Product::Nats => (4222, 4222, "/data"),
        };
        let management = self.management()?;
        let ports_inside = (inner, inner_tls, management.map(|_| MANAGEMENT));
        let layout = self.layout(SEEN.to_owned(), data.to_owned(), "0.0.0.0", ports_inside);
        let certificates = self.prepare(folder.path(), &layout)?;
        let (command, environment) = match self.kind.product() {
            Product::RabbitMq => (Vec::new(), rabbitmq::environment(&layout)),
            Product::Nats => {
                let config = format!("{SEEN}/{}", nats::CONFIG);
                (["nats-server", "-c", &config].map(str::to_owned).to_vec(), Vec::new())
            }
        };
        let mut ports = vec![(port, inner)];
        if tls_port != port {
            ports.push((tls_port, inner_tls));
        }
        ports.extend(management.map(|port| (port, MANAGEMENT)));
        let seen = (engine::path_text(folder.path())?, SEEN.to_owned());
        let network = self.member.as_ref().map(|member| (member.network.clone(), host_of(&layout.node)));
        let request = Request { image, command, environment, folder: seen, ports, network };
        let home = Home::Container(Container::start(request).await?);
        Ok(self.node((port, tls_port, management), layout, home, folder, certificates))
    }

    fn on_machine(self, program: PathBuf) -> Result<Node, Error> {
        let folder = folder()?;
        let (port, tls_port) = self.ports()?;
        let ports = (port, tls_port, self.management()?);
        let text = engine::path_text(folder.path())?;
        let layout = self.layout(text.clone(), format!("{text}/data"), "127.0.0.1", ports);
        let certificates = self.prepare(folder.path(), &layout)?;
        let programs = match self.kind.product() {
            Product::RabbitMq => local::rabbitmq(program, &layout)?,
            Product::Nats => local::nats(program, &layout),
        };
        let home = Home::Local(Process::start(programs)?);
        Ok(self.node(ports, layout, home, folder, certificates))
    }

    /// The port of this machine for the management interface, where one is wanted.
    fn management(&self) -> Result<Option<u16>, Error> {
        let wanted = self.options.management && self.kind.product() == Product::RabbitMq;
        wanted.then(port::free).transpose()
    }

    /// The ports of this machine for clients without and with TLS. NATS has one for both.
    fn ports(&self) -> Result<(u16, u16), Error> {
        let port = port::free()?;
        let two = self.options.tls.is_some() && self.kind.product() == Product::RabbitMq;
        Ok((port, if two { port::free()? } else { port }))
    }

    fn layout(
        &self,
        folder: String,
        data: String,
        address: &'static str,
        (port, tls_port, management): Ports,
    ) -> Layout {
        let (member, tls) = (self.member.clone(), self.options.tls);
        let node = member.as_ref().map_or_else(|| node_name(self.kind.product()), Member::name);
        let secret = member.as_ref().map_or_else(secret, |member| member.secret.clone());
        let config = self.options.config.clone();
        Layout { folder, data, address, port, tls_port, node, secret, tls, config, management, member }
    }

    fn prepare(&self, folder: &Path, layout: &Layout) -> Result<Option<Certificates>, Error> {
        write_files(self.kind, folder, layout, self.tenants, false)?;
        self.options.tls.map(|tls| Certificates::make(folder, tls)).transpose()
    }

    fn node(
        self,
        (port, tls_port, management): Ports,
        layout: Layout,
        home: Home,
        folder: TempDir,
        certificates: Option<Certificates>,
    ) -> Node {
        let (kind, within, version) = (self.kind, self.options.within, String::new());
        Node { kind, port, tls_port, management, version, layout, within, certificates, home, folder }
    }
}

/// A folder that the user of a container can read as well.
fn folder() -> Result<TempDir, Error> {
    let failed = || Error::io("make a folder for a broker");
    let folder = tempfile::Builder::new().prefix("polybus-broker-").tempdir().map_err(failed())?;
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).map_err(failed())?;
    Ok(folder)
}

/// `@localhost` has nothing to do with how this machine is called, or whether its name can be resolved.
fn node_name(product: Product) -> String {
    match product {
        Product::RabbitMq => format!("polybus{}@localhost", fastrand::u32(..)),
        Product::Nats => "polybus".to_owned(),
    }
}

/// The host in the name of a node of Erlang, or the name itself.
fn host_of(node: &str) -> String {
    node.rsplit('@').next().unwrap_or(node).to_owned()
}

pub(crate) fn write_files(
    kind: Kind,
    folder: &Path,
    layout: &Layout,
    tenants: &[Tenant],
    full: bool,
) -> Result<(), Error> {
    let files = match kind.product() {
        Product::RabbitMq => vec![
            (rabbitmq::CONFIG, rabbitmq::config(layout)),
            (rabbitmq::DEFINITIONS, rabbitmq::definitions(tenants)),
            (rabbitmq::PLUGINS, rabbitmq::plugins(layout).to_owned()),
        ],
        Product::Nats => vec![(nats::CONFIG, nats::config(layout, tenants, full))],
    };
    files.into_iter().try_for_each(|(name, text)| {
        fs::write(folder.join(name), text).map_err(Error::io(format!("write {name} for a broker")))
    })
}
