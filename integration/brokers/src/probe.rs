//! Whether a broker is there: what it says of itself to whoever connects.
//!
//! A connection alone proves nothing, since the engine's proxy accepts it before the broker in the container does.

use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::kind::Product;

/// A broker that says nothing for this long is asked again.
const ANSWER: Duration = Duration::from_secs(5);

/// The version of the server at this port, if one answers.
pub(crate) async fn version(product: Product, port: u16) -> Option<String> {
    let asked = match product {
        Product::RabbitMq => timeout(ANSWER, amqp(port)).await,
        Product::Nats => timeout(ANSWER, nats(port)).await,
    };
    asked.ok().flatten()
}

/// AMQP 0-9-1, 2.2.4: the header of the protocol, then `connection.start` with the properties of the server.
async fn amqp(port: u16) -> Option<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.ok()?;
    stream.write_all(b"AMQP\x00\x00\x09\x01").await.ok()?;
    let mut head = [0; 7];
    stream.read_exact(&mut head).await.ok()?;
    let [1, 0, 0, size @ ..] = head else { return None };
    let size = usize::try_from(u32::from_be_bytes(size)).ok()?.min(1 << 16);
    let mut method = vec![0; size];
    stream.read_exact(&mut method).await.ok()?;
    long_string(&method, b"\x07versionS")
}

/// The long string after this field name and type.
fn long_string(method: &[u8], name: &[u8]) -> Option<String> {
    let at = method.windows(name.len()).position(|window| window == name)? + name.len();
    let (size, rest) = method.get(at..)?.split_first_chunk::<4>()?;
    let text = rest.get(..usize::try_from(u32::from_be_bytes(*size)).ok()?)?;
    Some(String::from_utf8_lossy(text).into_owned())
}

/// The first line of a NATS server: `INFO {"version": ...}`.
async fn nats(port: u16) -> Option<String> {
    let (_, info) = nats_info(port).await?;
    Some(info.get("version")?.as_str()?.to_owned())
}

async fn nats_info(port: u16) -> Option<(BufReader<TcpStream>, Value)> {
    let mut reader = BufReader::new(TcpStream::connect(("127.0.0.1", port)).await.ok()?);
    let line = line(&mut reader).await?;
    let info = serde_json::from_str(line.strip_prefix("INFO ")?).ok()?;
    Some((reader, info))
}

/// No line of what is asked here is longer than this.
const LINE: u64 = 1 << 16;

async fn line(reader: &mut BufReader<TcpStream>) -> Option<String> {
    let mut line = String::new();
    let read = reader.take(LINE).read_line(&mut line).await.ok()?;
    (read > 0).then_some(line)
}

/// The answer of a NATS server to a request without a body, if one comes.
pub(crate) async fn nats_answer(port: u16, login: &Value, subject: &str) -> Option<Value> {
    timeout(ANSWER, nats_asked(port, login, subject)).await.ok().flatten()
}

async fn nats_asked(port: u16, login: &Value, subject: &str) -> Option<Value> {
    let (mut reader, _) = nats_info(port).await?;
    let inbox = format!("_INBOX.{:016x}", fastrand::u64(..));
    let request = format!("CONNECT {login}\r\nSUB {inbox} 1\r\nPUB {subject} {inbox} 0\r\n\r\n");
    reader.get_mut().write_all(request.as_bytes()).await.ok()?;
    loop {
        let line = line(&mut reader).await?;
        if line.starts_with("-ERR") {
            return None;
        }
        if line.starts_with("MSG ") {
            let size: usize = line.split_whitespace().last()?.parse().ok()?;
            let mut body = vec![0; size.min(1 << 20)];
            reader.read_exact(&mut body).await.ok()?;
            return serde_json::from_slice(&body).ok();
        }
        if line.starts_with("PING") {
            reader.get_mut().write_all(b"PONG\r\n").await.ok()?;
        }
    }
}
