//! A bus of this process for others, over ZeroMQ.

use polybus::DrainReport;

use super::Place;
use crate::console::{Failure, Notices, Outcome};

#[cfg(all(feature = "embedded", feature = "zeromq"))]
pub(crate) use brokering::{Broker, refused, say_to_systemd};

/// What other processes come to; nothing if the settings name no place.
#[derive(Debug, Default)]
pub(crate) struct Listening {
    #[cfg(all(feature = "embedded", feature = "zeromq"))]
    broker: Option<Broker>,
}

impl Listening {
    /// Listens in front of the bus of this URL, which is inside this process.
    ///
    /// # Errors
    /// Exit 78 for a place or a file of identities that cannot be used, and in a build that has no ZeroMQ.
    pub(crate) async fn begin(place: &Place, bus: &str, notices: &Notices) -> Outcome<Self> {
        let up = &place.settings.up;
        let places = up.listen.as_deref().unwrap_or_default();
        match (places, &up.identities) {
            ([], None) => Ok(Self::default()),
            ([], Some(_)) => Err(Failure::configuration(
                "up.identities says who may come, and up.listen does not say where".to_owned(),
            )),
            _ if is_nameless(bus) => Err(Failure::configuration(
                "up.listen: nobody else comes to a bus without a name; set up.bus to embedded:NAME or embedded:///DIR".to_owned(),
            )),
            (places, identities) => Self::at(places, identities.as_deref(), bus, notices).await,
        }
    }

    #[cfg(all(feature = "embedded", feature = "zeromq"))]
    async fn at(
        places: &[String],
        identities: Option<&std::path::Path>,
        bus: &str,
        notices: &Notices,
    ) -> Outcome<Self> {
        let broker = brokering::listen(places, identities, bus, notices).await?;
        Ok(Self { broker: Some(broker) })
    }

    #[cfg(not(all(feature = "embedded", feature = "zeromq")))]
    #[expect(clippy::unused_async, reason = "as where there is ZeroMQ")]
    async fn at(_: &[String], _: Option<&std::path::Path>, _: &str, _: &Notices) -> Outcome<Self> {
        Err(Failure::configuration("up.listen: this build has no ZeroMQ".to_owned()))
    }

    /// Lets those go who came, within this time, and answers how that went if anybody could come.
    #[cfg(all(feature = "embedded", feature = "zeromq"))]
    pub(crate) async fn end(self, within: std::time::Duration) -> Option<DrainReport> {
        match self.broker {
            Some(broker) => Some(broker.drain(within).await),
            None => None,
        }
    }

    /// Nobody came.
    #[cfg(not(all(feature = "embedded", feature = "zeromq")))]
    #[expect(clippy::unused_async, reason = "as where there is ZeroMQ")]
    pub(crate) async fn end(self, _within: std::time::Duration) -> Option<DrainReport> {
        None
    }
}

/// Each handle of such a bus is a bus of its own.
fn is_nameless(bus: &str) -> bool {
    bus.split('?').next() == Some("embedded:")
}

#[cfg(all(feature = "embedded", feature = "zeromq"))]
mod brokering {
    use std::io;
    use std::os::unix::net::UnixDatagram;
    use std::path::Path;

    use polybus::Kind;
    pub(crate) use polybus::broker::Broker;
    use polybus::broker::{self, BrokerConfig, Identities, Place};
    use polybus::log::Level;

    use crate::console::{Failure, Notices, Outcome};

    pub(super) async fn listen(
        places: &[String],
        identities: Option<&Path>,
        bus: &str,
        notices: &Notices,
    ) -> Outcome<Broker> {
        let wrong = |error: &polybus::Error| {
            Failure::configuration(format!("up.listen: {}", error.detail().unwrap_or_default()))
        };
        let places: Result<Vec<_>, _> = places.iter().map(|place| Place::from_url(place)).collect();
        let identities = identities.map(Identities::read).transpose().map_err(|error| refused(&error))?;
        let config = BrokerConfig::new(places.map_err(|error| wrong(&error))?).with_identities(identities);
        let broker = broker::start(config, bus).await.map_err(|error| refused(&error))?;
        let places: Vec<_> = broker.places().iter().map(ToString::to_string).collect();
        notices.log(Level::Info, &format!("listening on {}", places.join(", ")));
        Ok(broker)
    }

    /// Why no broker stands.
    pub(crate) fn refused(error: &polybus::Error) -> Failure {
        match error.kind() {
            Kind::Configuration | Kind::InvalidName => Failure::configuration(error.to_string()),
            _ => Failure::refused("unavailable", error.to_string()),
        }
    }

    /// Tells the service manager, if there is one that wants to know. One that does not listen has no say.
    pub(crate) fn say_to_systemd(state: &str) {
        let Some(path) = std::env::var_os("NOTIFY_SOCKET") else { return };
        let _told = send(&path.to_string_lossy(), state);
    }

    fn send(path: &str, state: &str) -> io::Result<()> {
        use std::os::unix::net::SocketAddr;
        let address = match path.strip_prefix('@') {
            #[cfg(target_os = "linux")]
            Some(name) => <SocketAddr as std::os::linux::net::SocketAddrExt>::from_abstract_name(name)?,
            _ => SocketAddr::from_pathname(path)?,
        };
        UnixDatagram::unbound()?.send_to_addr(state.as_bytes(), &address).map(|_| ())
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn the_service_manager_is_told() {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("notify");
            let socket = UnixDatagram::bind(&path).unwrap();
            send(&path.to_string_lossy(), "READY=1").unwrap();
            let mut text = [0; 20];
            let length = socket.recv(&mut text).unwrap();
            assert_eq!(&text[..length], b"READY=1");
        }
    }
}
