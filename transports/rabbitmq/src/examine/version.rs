//! What a broker says of itself to whoever connects, before it knows who that is.

use lapin::protocol::connection::AMQPMethod;
use lapin::protocol::{AMQPClass, parse_class};
use lapin::types::AMQPValue;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, timeout_at};

use super::Findings;
use super::wire::{self, WITHIN, Wire};
use super::words::SERVER_OLD;
use crate::config::Config;

/// The first series that its makers still correct.
const CURRENT: (u32, u32) = (4, 0);

/// The type of a frame with a method.
const METHOD: u8 = 1;

/// The largest first frame that is read.
const FRAME: usize = 1 << 16;

/// Major and minor version of the first broker that answers.
pub(super) async fn look(config: &Config, found: &mut Findings) -> Option<(u32, u32)> {
    let until = Instant::now() + WITHIN;
    let mut said = None;
    for (host, port) in &config.hosts {
        let Ok(mut wire) = wire::open(config, (host, *port), config.tls, until).await else { continue };
        said = timeout_at(until, greeting(&mut wire)).await.ok().flatten();
        if said.is_some() {
            break;
        }
    }
    let (product, version) = said?;
    let numbers = numbers(&version);
    let told = format!("{product} {version}");
    found.push(match numbers {
        _ if product != "RabbitMQ" => SERVER_OLD.unknown("broker", told),
        Some(numbers) if numbers < CURRENT => SERVER_OLD.found("broker", told),
        Some(_) => SERVER_OLD.fine("broker", told),
        None => SERVER_OLD.unknown("broker", told),
    });
    numbers.filter(|_| product == "RabbitMQ")
}

/// Product and version in the properties of the server (AMQP 0-9-1, 4.2.2 and 1.4.2.1).
async fn greeting(wire: &mut Wire) -> Option<(String, String)> {
    wire.write_all(b"AMQP\x00\x00\x09\x01").await.ok()?;
    let mut head = [0; 7];
    wire.read_exact(&mut head).await.ok()?;
    let [METHOD, 0, 0, size @ ..] = head else { return None };
    let size = usize::try_from(u32::from_be_bytes(size)).ok().filter(|size| *size <= FRAME)?;
    let mut method = vec![0; size];
    wire.read_exact(&mut method).await.ok()?;
    let (_, class) = parse_class(&*method).ok()?;
    let AMQPClass::Connection(AMQPMethod::Start(start)) = class else { return None };
    let text = |name: &str| match start.server_properties.inner().get(name) {
        Some(AMQPValue::LongString(text)) => Some(text.to_string()),
        _ => None,
    };
    Some((text("product")?, text("version")?))
}

fn numbers(version: &str) -> Option<(u32, u32)> {
    let mut parts = version.split('.').map(|part| part.parse().ok());
    Some((parts.next()??, parts.next()??))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read() {
        assert_eq!(numbers("3.10.8"), Some((3, 10)));
        assert_eq!(numbers("4.1.0-rc.1"), Some((4, 1)));
        assert_eq!(numbers("LavinMQ"), None);
        assert!((3, 10) < CURRENT);
    }
}
