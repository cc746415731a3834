//! Which bus a program uses, by its settings.

use std::fmt::Write;

use polybus::config::{AmqpSettings, BusUrl, ConfigError, Family, Loaded, Loader, Origin, Settings};
use polybus::frame::Identity;
use polybus::{Bus, Error, Kind, connect, exit};

use super::wrong;
use crate::console::{Failure, Notices, Outcome};
use crate::options::{Flags, Shared};
use crate::program::Called;

/// The bus of a program that is told of none: inside its own process.
const PRIVATE: &str = "embedded:";

/// What told a program which bus to use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Named {
    /// A URL.
    Url,
    /// The AMQP settings.
    Broker,
    /// Nobody.
    Nobody,
}

/// The settings of a program, and the bus that they name.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    /// The settings.
    pub(crate) settings: Settings,
    /// Who this program is.
    pub(crate) identity: Identity,
    url: String,
    named: Named,
}

/// The settings of a program from all sources.
///
/// # Errors
/// Exit 78, or 2 for an option.
pub(crate) fn loaded(called: &Called, shared: &impl Shared) -> Outcome<Loaded> {
    let family = if called.by_old_name { Family::Prisem } else { Family::Polybus };
    let mut flags = Flags::default();
    shared.flags(&mut flags);
    flags.load_into(Loader::from_process(family)).load().map_err(Failure::from)
}

impl Place {
    /// Reads the settings and finds the bus. Nothing is connected.
    ///
    /// # Errors
    /// As [`loaded`]; exit 78 also for a broker without password and certificate.
    pub(crate) fn find(called: &Called, shared: &impl Shared, notices: &Notices) -> Outcome<Self> {
        let loaded = loaded(called, shared)?;
        warn_of_secret(&loaded, notices);
        if shared.general().debug {
            loaded.notices.iter().for_each(|notice| notices.progress(|| notice.clone()));
        }
        let server = loaded.effective.get("amqp.server");
        let told = server.is_some_and(|server| server.origin != Origin::Default);
        let settings = loaded.settings;
        let (named, url) = match &settings.bus {
            Some(url) => (Named::Url, url.expose().to_owned()),
            None if called.by_old_name || told => {
                settings.require_credentials()?;
                (Named::Broker, broker_url(&settings.amqp, settings.durable))
            }
            None => (Named::Nobody, PRIVATE.to_owned()),
        };
        let build = env!("POLYBUS_BUILD").to_owned();
        let identity = Identity { build, ..Identity::new(&called.word(), &settings.domain) };
        Ok(Self { settings, identity, url, named })
    }

    /// The bus, not connected.
    ///
    /// # Errors
    /// Exit 78 for a URL that this build does not understand, 69 if it has no transport for a broker.
    pub(crate) fn open(&self) -> Outcome<Bus> {
        Bus::open(&self.url).map_err(|error| self.unreachable(&error))
    }

    /// The bus, connected.
    ///
    /// # Errors
    /// As [`Place::open`], and those of connecting.
    pub(crate) async fn connect(&self) -> Outcome<Bus> {
        connect(&self.url).await.map_err(|error| self.unreachable(&error))
    }

    /// Whether some setting names the bus.
    pub(crate) fn is_named(&self) -> bool {
        self.named != Named::Nobody
    }

    /// A broker named by the old settings that cannot be reached is a server that is missing, not a wrong setting.
    fn unreachable(&self, error: &Error) -> Failure {
        if self.named == Named::Broker && error.kind() == Kind::Configuration {
            let why = error.detail().unwrap_or_default();
            let text = format!("cannot connect: {why}; name a bus with --bus, such as --bus {PRIVATE}");
            return Failure::told(exit::UNAVAILABLE, "disconnected", text);
        }
        wrong(error)
    }
}

/// Other users of this host can read command lines.
fn warn_of_secret(loaded: &Loaded, notices: &Notices) {
    let by_option = loaded.effective.get("bus").is_some_and(|bus| matches!(bus.origin, Origin::Flag(_)));
    if by_option && loaded.settings.bus.as_ref().is_some_and(BusUrl::has_password) {
        notices.warning(
            "--bus holds a password that other users of this host can see; put the URL into POLYBUS_BUS",
        );
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        let code = if error.exit_code() == exit::USAGE { "usage" } else { "configuration" };
        Self::told(error.exit_code(), code, error.to_string())
    }
}

/// The URL of the broker that the settings describe.
fn broker_url(amqp: &AmqpSettings, durable: bool) -> String {
    let scheme = if amqp.tls { "amqps" } else { "amqp" };
    let host = if amqp.host.contains(':') { format!("[{}]", amqp.host) } else { amqp.host.clone() };
    let password = amqp.password.as_ref().map(|secret| format!(":{}", encoded(secret.expose())));
    let files = [("tls_ca", &amqp.tls_ca), ("tls_cert", &amqp.tls_cert), ("tls_key", &amqp.tls_key)];
    let files = files
        .into_iter()
        .filter_map(|(key, file)| Some((key, file.as_ref()?.to_string_lossy().into_owned())));
    let exchange = Some(amqp.request_exchange.clone()).filter(|exchange| !exchange.is_empty());
    let options: Vec<String> = [("heartbeat", amqp.heartbeat.as_secs().to_string())]
        .into_iter()
        .chain(files)
        .chain(exchange.map(|exchange| ("exchange", exchange)))
        .chain(durable.then(|| ("durable", "true".to_owned())))
        .map(|(key, value)| format!("{key}={}", encoded(&value)))
        .collect();
    format!(
        "{scheme}://{}{}@{host}:{}/{}?{}",
        encoded(&amqp.user),
        password.unwrap_or_default(),
        amqp.port,
        encoded(&amqp.vhost),
        options.join("&")
    )
}

/// Everything but unreserved characters as `%XX` (RFC 3986, 2.1).
fn encoded(text: &str) -> String {
    text.bytes().fold(String::new(), |mut out, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            // Writing to a text cannot fail.
            let _written = write!(out, "%{byte:02X}");
        }
        out
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(flags: &[(&str, &str)]) -> String {
        let loader =
            Loader::new(Family::Prisem).directory("/nonexistent").system_file("/nonexistent/polybus.toml");
        let loader = flags.iter().fold(loader, |loader, (key, value)| loader.flag("--test", key, *value));
        let settings = loader.load().unwrap().settings;
        broker_url(&settings.amqp, settings.durable)
    }

    #[test]
    fn the_settings_of_a_broker_make_a_url() {
        let plain = url(&[("amqp.password", "p@ss/word")]);
        assert_eq!(plain, "amqp://rpc_user:p%40ss%2Fword@localhost:5672/%2F?heartbeat=60");
        let more = url(&[
            ("amqp.server", "[2001:db8::1]:5673"),
            ("amqp.tls", "yes"),
            ("amqp.tls_ca", "a b.pem"),
            ("amqp.request_exchange", "rpc"),
            ("amqp.vhost", "v"),
            ("durable", "yes"),
        ]);
        assert_eq!(
            more,
            "amqps://rpc_user@[2001:db8::1]:5673/v?heartbeat=60&tls_ca=a%20b.pem&exchange=rpc&durable=true"
        );
    }
}
