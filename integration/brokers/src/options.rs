//! How to start a broker.

use std::env;
use std::path::PathBuf;
use std::time::Duration;

use crate::{Error, Kind, Tls};

/// Where a broker runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Place {
    /// In a container if an engine answers and has or gets the image, else as a local program.
    #[default]
    Any,
    /// In a container, or not at all.
    Container,
    /// As a local program, or not at all.
    Local,
}

/// How to start a broker. What is not set here is taken from the environment, and else has a default.
///
/// | variable | what |
/// |---|---|
/// | `POLYBUS_BROKERS` | `any` (default), `containers` or `local`: `place` |
/// | `POLYBUS_IMAGE_RABBITMQ_3_10`, ... | the image of a kind: `image` |
/// | `POLYBUS_PROGRAM_NATS_2_15`, ... | the program of a kind: `program` |
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Options {
    /// Where it runs. Default: what `POLYBUS_BROKERS` says.
    pub place: Option<Place>,
    /// Its image, `name:tag`. Default: what the environment says, else `polybus-test/...` if the engine has it, else the
    /// official image.
    pub image: Option<String>,
    /// Its program. Default: what the environment says, else what is found on `PATH`.
    pub program: Option<PathBuf>,
    /// How it uses TLS. Default: not at all.
    pub tls: Option<Tls>,
    /// Lines for the end of its configuration file, in the form of the broker's make. For NATS what stands there twice counts
    /// as it stands last, so that accounts and logins can be others. Default: none.
    pub config: String,
    /// Whether RabbitMQ's management interface is there: [`Broker::management_url`](crate::Broker::management_url).
    /// Default: not.
    pub management: bool,
    /// How long it may take until it accepts connections. Default 2 min: a busy machine is slow.
    pub within: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            place: None,
            image: None,
            program: None,
            tls: None,
            config: String::new(),
            management: false,
            within: Duration::from_mins(2),
        }
    }
}

impl Options {
    /// Sets `place`.
    #[must_use]
    pub const fn with_place(mut self, place: Place) -> Self {
        self.place = Some(place);
        self
    }

    /// Sets `image`.
    #[must_use]
    pub fn with_image(mut self, image: impl Into<String>) -> Self {
        self.image = Some(image.into());
        self
    }

    /// Sets `program`.
    #[must_use]
    pub fn with_program(mut self, program: impl Into<PathBuf>) -> Self {
        self.program = Some(program.into());
        self
    }

    /// Sets `tls`.
    #[must_use]
    pub const fn with_tls(mut self, tls: Tls) -> Self {
        self.tls = Some(tls);
        self
    }

    /// Sets `config`.
    #[must_use]
    pub fn with_config(mut self, config: impl Into<String>) -> Self {
        self.config = config.into();
        self
    }

    /// Sets `management`.
    #[must_use]
    pub const fn with_management(mut self, management: bool) -> Self {
        self.management = management;
        self
    }

    /// Sets `within`.
    #[must_use]
    pub const fn with_within(mut self, within: Duration) -> Self {
        self.within = within;
        self
    }

    pub(crate) fn place(&self) -> Result<Place, Error> {
        match (self.place, env::var("POLYBUS_BROKERS").as_deref()) {
            (Some(place), _) => Ok(place),
            (None, Err(_) | Ok("" | "any")) => Ok(Place::Any),
            (None, Ok("containers")) => Ok(Place::Container),
            (None, Ok("local")) => Ok(Place::Local),
            (None, Ok(other)) => Err(Error::Setting(format!(
                "POLYBUS_BROKERS is \"{other}\"; it may be any, containers or local"
            ))),
        }
    }

    pub(crate) fn image(&self, kind: Kind) -> Option<String> {
        self.image.clone().or_else(|| env::var(kind.image_setting()).ok().filter(|image| !image.is_empty()))
    }

    pub(crate) fn program(&self, kind: Kind) -> Option<PathBuf> {
        self.program.clone().or_else(|| env::var_os(kind.program_setting()).map(PathBuf::from))
    }
}
