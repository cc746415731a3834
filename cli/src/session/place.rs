//! Which bus a program uses, by its settings.

use polybus::config::{BusUrl, ConfigError, Family, Loaded, Loader, Origin, Settings};
use polybus::frame::Identity;
use polybus::{Bus, Durability, Error, Kind, Name, Topic, exit, is_away};

use super::broker_url::{broker_url, completed, is_broker, with_own_reply_address};
use super::wrong;
use crate::console::{Failure, Notices, Outcome};
use crate::options::{Flags, Shared};
use crate::program::Called;

/// The bus of a program that is told of none: inside its own process.
const PRIVATE: &str = "embedded:";

/// The bus of a program that stands in for one: in memory, and with a name, by which all of the process meet there.
const INSIDE: &str = "embedded:up";

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
    /// Whether the largest frame was stated.
    pub(crate) limited: bool,
    by_old_name: bool,
}

/// Fanouts that are made durable (PRISEM services specification, 9.3).
const DURABLE_TOPICS: [&str; 4] = ["devops", "health", "test", "dimstr"];

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
        let (named, url) = match &loaded.settings.bus {
            Some(url) => {
                warn_of_exchange(url, &loaded.settings, notices);
                (Named::Url, completed(url, &loaded, called.by_old_name))
            }
            None if called.by_old_name || told => {
                loaded.settings.require_credentials()?;
                (Named::Broker, broker_url(&loaded))
            }
            None => (Named::Nobody, PRIVATE.to_owned()),
        };
        Ok(Self::of(called, loaded, named, url))
    }

    /// The same for a program that has the bus inside it, by the setting `up.bus`; in memory without that.
    ///
    /// # Errors
    /// As [`loaded`]; exit 78 for a bus of others.
    pub(crate) fn inside(called: &Called, shared: &impl Shared) -> Outcome<Self> {
        let loaded = loaded(called, shared)?;
        let url = loaded.settings.up.bus.as_ref().map_or(INSIDE, BusUrl::expose).to_owned();
        let place = Self::of(called, loaded, Named::Url, url);
        let bus = place.open()?;
        if bus.is_local() {
            return Ok(place);
        }
        Err(Failure::configuration(format!(
            "the bus {bus} is not inside this process: name one that is, such as up.bus = \"embedded:///var/lib/polybus\"; \
             `polybus serve` serves on a bus of others"
        )))
    }

    fn of(called: &Called, loaded: Loaded, named: Named, url: String) -> Self {
        let Loaded { settings, effective, .. } = loaded;
        let limited = effective.get("max_bytes").is_some_and(|limit| limit.origin != Origin::Default);
        let build = env!("POLYBUS_BUILD").to_owned();
        let identity = Identity { build, ..Identity::new(&called.word(), &settings.domain) };
        Self { settings, identity, url, named, limited, by_old_name: called.by_old_name }
    }

    /// The same for a caller, whose reply address is its own.
    pub(crate) fn for_calls(self) -> Self {
        Self { url: with_own_reply_address(self.url), ..self }
    }

    /// The bus, not connected.
    ///
    /// # Errors
    /// Exit 78 for a URL that this build does not understand, 69 if it has no transport for a broker.
    pub(crate) fn open(&self) -> Outcome<Bus> {
        Bus::open(&self.url).map_err(|error| self.unreachable(&error))
    }

    /// The URL of the bus, with its secrets: for the one place that examines it.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Whether some setting names the bus.
    pub(crate) fn is_named(&self) -> bool {
        self.named != Named::Nobody
    }

    /// What a queue that has to be made must survive. The old programs made queues that survive nothing.
    pub(crate) fn durability(&self) -> Option<Durability> {
        let durable = self.settings.durable.unwrap_or(!self.by_old_name);
        (!durable).then_some(Durability::Volatile)
    }

    /// The topic of log lines, as it is made if it has to be.
    ///
    /// # Errors
    /// Exit 2 for a name that cannot be one.
    pub(crate) fn log_topic(&self) -> Outcome<Topic> {
        let name = Name::new(&self.settings.log.exchange).map_err(|error| wrong(&error))?;
        let durable = self.settings.durable.unwrap_or_else(|| DURABLE_TOPICS.contains(&name.as_str()));
        Ok(if durable { Topic::durable(name) } else { Topic::new(name) })
    }

    /// A broker named by the old settings that cannot be reached is a server that is missing, not a wrong setting.
    pub(super) fn unreachable(&self, error: &Error) -> Failure {
        let by_settings = self.named == Named::Broker;
        let missing = by_settings && error.kind() == Kind::Configuration;
        if !missing && !is_away(error) {
            return wrong(error);
        }
        let why = error.detail().unwrap_or("no answer");
        let place = error.target().map_or_else(String::new, |bus| format!(" to {bus}"));
        let other = if by_settings {
            format!("; name another bus with --bus, such as --bus {PRIVATE}")
        } else {
            String::new()
        };
        Failure::told(exit::UNAVAILABLE, "disconnected", format!("cannot connect{place}: {why}{other}"))
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

/// An option without an effect is told.
fn warn_of_exchange(url: &BusUrl, settings: &Settings, notices: &Notices) {
    if !is_broker(url) && !settings.amqp.request_exchange.is_empty() {
        notices.warning(&format!("a request exchange is for AMQP brokers and has no effect on {url}"));
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        let code = if error.exit_code() == exit::USAGE { "usage" } else { "configuration" };
        Self::told(error.exit_code(), code, error.to_string())
    }
}
