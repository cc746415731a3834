//! Where things are, as the broker sees them.

use crate::tls::Tls;

/// Where things are, as the broker sees them: in its container, or on this machine.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    /// The folder with its configuration.
    pub(crate) folder: String,
    /// The folder with its data.
    pub(crate) data: String,
    /// The address it listens on.
    pub(crate) address: &'static str,
    /// The port for clients.
    pub(crate) port: u16,
    /// The port for clients with TLS. NATS has one port for both.
    pub(crate) tls_port: u16,
    /// What it is called among its like.
    pub(crate) node: String,
    /// What only the broker and its programs know: cookie, password of the system account.
    pub(crate) secret: String,
    /// How it uses TLS.
    pub(crate) tls: Option<Tls>,
    /// What its configuration ends with.
    pub(crate) config: String,
    /// The port of its management interface, if it has one.
    pub(crate) management: Option<u16>,
    /// The others, if it is one of several.
    pub(crate) member: Option<Member>,
}

/// One of several servers that work together.
#[derive(Clone, Debug)]
pub(crate) struct Member {
    /// What each of them is called, this one included.
    pub(crate) names: Vec<String>,
    /// Where each of them listens for the others: for NATS.
    pub(crate) routes: Vec<String>,
    /// The port for the others.
    pub(crate) port: u16,
    /// Which of them this is.
    pub(crate) index: usize,
    /// What all of them know: the cookie of Erlang.
    pub(crate) secret: String,
    /// The network of their containers.
    pub(crate) network: String,
    /// The port of their common name server of Erlang, on this machine.
    pub(crate) epmd: u16,
}

impl Member {
    pub(crate) fn name(&self) -> String {
        self.names.get(self.index).cloned().unwrap_or_default()
    }
}
