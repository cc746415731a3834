//! A broker of our own over ZeroMQ: the embedded bus, for other processes.

use std::path::Path;
use std::sync::Arc;

use polybus_contract::{Result, Transport};
use polybus_embedded::{Config, Embedded};
pub use polybus_zeromq::{Broker, BrokerConfig, BrokerCounts, Identities, PORT, Place};

/// The bus in memory behind a broker that keeps no journal.
const IN_MEMORY: &str = "embedded:broker";

/// The URL of the embedded bus with its journal in this directory, or in memory, and with these options of its URL.
///
/// # Errors
/// What the system says of the current directory, if the path is relative.
pub fn behind(journal: Option<&Path>, options: &[String]) -> std::io::Result<String> {
    let place = match journal {
        None => IN_MEMORY.to_owned(),
        Some(directory) => {
            let whole = std::path::absolute(directory)?;
            let escape = |byte: u8| match byte {
                b'%' | b'?' | b'&' | b'#' => format!("%{byte:02X}"),
                0x21..=0x7e => char::from(byte).to_string(),
                other => format!("%{other:02X}"),
            };
            let path = whole.as_os_str().as_encoded_bytes().iter().copied().map(escape);
            format!("embedded://{}", path.collect::<String>())
        }
    };
    Ok(if options.is_empty() { place } else { format!("{place}?{}", options.join("&")) })
}

/// Starts a broker in front of the embedded bus of this URL (see [`behind`]).
///
/// # Errors
/// As [`Config::from_url`], and as [`Broker::start`].
pub async fn start(config: BrokerConfig, url: &str) -> Result<Broker> {
    let bus = Config::from_url(url)?;
    // Every client has a handle of its own on the one bus.
    Broker::start(config, move || Ok(Arc::new(Embedded::new(bus.clone())?) as Arc<dyn Transport>)).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_of_any_name_comes_back_out_of_its_url() {
        let url = behind(Some(Path::new("/var/lib/a b%?&ü")), &["sync=5".to_owned()]).unwrap();
        let config = Config::from_url(&url).unwrap();
        assert_eq!(config.directory.as_deref(), Some(Path::new("/var/lib/a b%?&ü")));
        assert_eq!(behind(None, &[]).unwrap(), IN_MEMORY);
    }
}
