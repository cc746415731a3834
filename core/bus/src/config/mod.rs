//! Configuration of all programs: one file, one environment, one command line, and where each value came from.
//!
//! # Order
//!
//! Weakest first:
//!
//! 1. defaults;
//! 2. files: `polybus.toml` and the old programs' `rpc_config.yml`;
//! 3. environment variables: `POLYBUS_*` and the old programs' `RPC_*`;
//! 4. flags of the command line.
//!
//! Both families of sources are read by every program. Within files, and within environment variables, the
//! program's own [`Family`] is the stronger one: a program called by an old name lets `rpc_config.yml` and `RPC_*`
//! win, so that it behaves as it always did where those exist; `polybus` itself lets `polybus.toml` and `POLYBUS_*`
//! win.
//!
//! `polybus.toml` is the first that exists of `$POLYBUS_CONFIG` (which then must exist), `./polybus.toml`,
//! `$XDG_CONFIG_HOME/polybus/polybus.toml` (else `~/.config/polybus/polybus.toml`) and
//! `/etc/polybus/polybus.toml`; keys it does not know are errors. `rpc_config.yml` is the first that exists of
//! `$RPC_CONFIG` (a file, or a folder that holds it), `./rpc_config.yml` and `~/.rpc_config.yml`; keys it does not
//! know are ignored (PRISEM services specification, 3.1). An empty text leaves a key unset, except where nothing is
//! a value, as for the default exchange.
//!
//! A bus URL and the AMQP server name the same thing, the bus to use. If both are given, the one from the stronger
//! source counts, and the URL if the sources are equal.

mod address;
mod effective;
mod environment;
mod error;
mod files;
mod keys;
mod kind;
mod layer;
mod load;
mod merge;
mod old;
mod secret;
mod settings;
mod toml;
mod url;

#[cfg(test)]
mod tests;

pub use effective::{Effective, EffectiveSetting};
pub use error::ConfigError;
pub use keys::{KEYS, Key};
pub use kind::Kind;
pub use layer::Origin;
pub use load::{Family, Loaded, Loader};
pub use secret::Secret;
pub use settings::{AmqpSettings, LogSettings, ServiceSettings, Settings, UpSettings};
pub use url::{BusUrl, redact_url};
