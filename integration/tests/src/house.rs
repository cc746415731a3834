//! A broker, and a folder in which programs find their way to it.

use polybus_brokers::{Broker, Kind, Options, Product};
use tokio::runtime::Runtime;

use crate::{Background, Desk, Error};

/// A broker of its own, a folder with settings for it, and the programs.
#[derive(Debug)]
pub struct House {
    /// The folder: its `polybus.toml` holds the account on the broker, and no bus.
    pub desk: Desk,
    /// The broker.
    pub broker: Broker,
    runtime: Runtime,
}

impl House {
    /// Starts the broker. The programs have the time and the zone of the vectors.
    ///
    /// # Errors
    /// If there is no such broker here, saying what to install.
    pub fn new(kind: Kind) -> Result<Self, Error> {
        Self::with(kind, &Options::default())
    }

    /// The same with options for the broker.
    ///
    /// # Errors
    /// As [`House::new`].
    pub fn with(kind: Kind, options: &Options) -> Result<Self, Error> {
        let runtime = Runtime::new()?;
        let broker = runtime.block_on(Broker::start_with(kind, options))?;
        let desk = Desk::new()?.with_variable("SOURCE_DATE_EPOCH", "1392876660").with_variable("TZ", "UTC");
        let url = broker.url();
        let (user, password) = account(&url).ok_or("the broker's URL has an account")?;
        desk.file(
            "polybus.toml",
            format!("timeout = 60\n\n[log]\nlevel = \"DEBUG\"\n\n[amqp]\nuser = \"{user}\"\npassword = \"{password}\"\n"),
        )?;
        Ok(Self { desk, broker, runtime })
    }

    /// `--bus` for this broker: of RabbitMQ without the account, which is in the settings; NATS knows no such settings.
    #[must_use]
    pub fn flag(&self) -> String {
        let url = self.broker.url();
        match (self.broker.kind().product(), url.split_once('@')) {
            (Product::RabbitMq, Some((_, place))) => format!("--bus amqp://{place}"),
            _ => format!("--bus {url}"),
        }
    }

    /// Whether programs warn of a password in that flag.
    #[must_use]
    pub fn warns(&self) -> bool {
        self.broker.kind().product() == Product::Nats
    }

    /// Starts `polybus serve` or another server and waits until it serves `service` on the queue base.
    ///
    /// # Errors
    /// If it does not.
    pub fn serve(&self, line: &str, service: &str, base: &str) -> Result<Background, Error> {
        self.desk.serve(line, service, base, &self.flag())
    }

    /// SIGKILL for the broker.
    ///
    /// # Errors
    /// As [`Broker::kill`].
    pub fn kill(&self) -> Result<(), Error> {
        Ok(self.runtime.block_on(self.broker.kill())?)
    }

    /// The broker again.
    ///
    /// # Errors
    /// As [`Broker::restart`].
    pub fn restart(&self) -> Result<(), Error> {
        Ok(self.runtime.block_on(self.broker.restart())?)
    }

    /// Makes the broker refuse what is published.
    ///
    /// # Errors
    /// As [`Broker::fill`].
    pub fn fill(&self) -> Result<(), Error> {
        Ok(self.runtime.block_on(self.broker.fill())?)
    }

    /// The end of [`House::fill`].
    ///
    /// # Errors
    /// As [`Broker::relieve`].
    pub fn relieve(&self) -> Result<(), Error> {
        Ok(self.runtime.block_on(self.broker.relieve())?)
    }

    /// Runs `rabbitmqctl` with these words.
    ///
    /// # Errors
    /// As [`Broker::command`].
    pub fn rabbitmqctl(&self, words: &[&str]) -> Result<String, Error> {
        Ok(self.runtime.block_on(self.broker.command(words))?)
    }
}

/// User and password of a URL.
#[must_use]
pub fn account(url: &str) -> Option<(&str, &str)> {
    let (account, _) = url.split_once("://")?.1.split_once('@')?;
    account.split_once(':')
}
