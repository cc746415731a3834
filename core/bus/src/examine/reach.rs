//! Why a bus cannot be reached: names, ports, and what answers there.

use std::io::ErrorKind;
use std::time::Duration;

use polybus_contract::{Finding, Kind};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;

use super::words::{
    CONNECTION, CONNECTION_LIMIT, CREDENTIALS, HOST_SILENT, NAME_UNRESOLVED, OTHER_PROTOCOL, PORT_REFUSED,
    SETTINGS, TLS_EXPECTED, TLS_FAILED, TLS_MISSING, VHOST,
};

/// How long a name, a port, and the first words take at most.
const WITHIN: Duration = Duration::from_secs(3);

/// How long somebody who speaks first is given for it.
const SPEAKS_FIRST: Duration = Duration::from_secs(1);

/// Bytes of the first words that are looked at.
const WORDS: usize = 4096;

/// What a broker of each kind is sent, so that it speaks.
const AMQP: &[u8] = b"AMQP\x00\x00\x09\x01";

/// Finds out why connecting to `url` ended in `error`.
pub(super) async fn why(url: &str, error: &polybus_contract::Error) -> Vec<Finding> {
    let told = error.detail().unwrap_or("no answer").to_owned();
    let of_user = match error.kind() {
        // Whoever shows no certificate where one is demanded is refused as well.
        Kind::Unauthorized if !speaks_of_tls(&told) => Some(&CREDENTIALS),
        Kind::Configuration => Some(&SETTINGS),
        // The broker has one code for both.
        _ if told.contains("limit") => Some(&CONNECTION_LIMIT),
        Kind::NotFound => Some(&VHOST),
        _ => None,
    };
    if let Some(diagnosis) = of_user {
        return vec![diagnosis.found("connection", told)];
    }
    let (scheme, places) = places(url);
    if scheme.ends_with("+ipc") {
        // A path of this machine: what the system said of it is all there is.
        return vec![CONNECTION.found("connection", told)];
    }
    let mut found = Vec::new();
    for (host, port) in &places {
        found.push(look(&scheme, host, *port, &told).await);
    }
    found
}

async fn look(scheme: &str, host: &str, port: u16, told: &str) -> Finding {
    let object = format!("{host}:{port}");
    let addresses: Vec<_> = match timeout(WITHIN, lookup_host((host, port))).await {
        Ok(Ok(addresses)) => addresses.collect(),
        Ok(Err(error)) => return NAME_UNRESOLVED.found(object, error.to_string()),
        Err(_) => return NAME_UNRESOLVED.found(object, "the resolver does not answer"),
    };
    let stream = match timeout(WITHIN, TcpStream::connect(&*addresses)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) if error.kind() == ErrorKind::ConnectionRefused => {
            return PORT_REFUSED.found(object, error.to_string());
        }
        Ok(Err(error)) => return HOST_SILENT.found(object, error.to_string()),
        Err(_) => return HOST_SILENT.found(object, format!("no answer within {} s", WITHIN.as_secs())),
    };
    let spoken = timeout(WITHIN, first_words(stream, scheme)).await.unwrap_or_default();
    judge(scheme, &spoken, told, &object)
}

async fn first_words(mut stream: TcpStream, scheme: &str) -> Vec<u8> {
    let mut words = vec![0; WORDS];
    // An AMQP broker waits to be spoken to, everybody else is given time to speak first.
    let mut read = if scheme.starts_with("amqp") {
        0
    } else {
        timeout(SPEAKS_FIRST, stream.read(&mut words)).await.map_or(0, |read| read.unwrap_or(0))
    };
    if read == 0 && stream.write_all(AMQP).await.is_ok() {
        read = stream.read(&mut words).await.unwrap_or(0);
    }
    words.truncate(read);
    words
}

/// What speaks there, by its first words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Speaker {
    Amqp,
    Nats,
    Zmtp,
    Http,
    Tls,
    Nobody,
}

fn speaker(words: &[u8]) -> Speaker {
    match words {
        [0x15 | 0x16, 0x03, ..] => Speaker::Tls,
        [1, 0, 0, ..] | [b'A', b'M', b'Q', b'P', ..] => Speaker::Amqp,
        [b'I', b'N', b'F', b'O', b' ', ..] => Speaker::Nats,
        [0xff, 0, 0, 0, 0, 0, 0, 0, _, 0x7f, ..] => Speaker::Zmtp,
        [b'H', b'T', b'T', b'P', b'/', ..] => Speaker::Http,
        _ => Speaker::Nobody,
    }
}

fn judge(scheme: &str, words: &[u8], told: &str, object: &str) -> Finding {
    let wants_tls = matches!(scheme, "amqps" | "nats+tls");
    let own = match scheme {
        "amqp" | "amqps" => Speaker::Amqp,
        "zmq" => Speaker::Zmtp,
        _ => Speaker::Nats,
    };
    let offers_tls = String::from_utf8_lossy(words).contains("\"tls_");
    match speaker(words) {
        Speaker::Tls if !wants_tls => TLS_EXPECTED.found(object, told),
        Speaker::Http => OTHER_PROTOCOL.found(object, "HTTP is spoken there"),
        Speaker::Amqp if own != Speaker::Amqp => OTHER_PROTOCOL.found(object, "AMQP is spoken there"),
        Speaker::Nats if own != Speaker::Nats => OTHER_PROTOCOL.found(object, "a NATS server is there"),
        Speaker::Zmtp if own != Speaker::Zmtp => OTHER_PROTOCOL.found(object, "ZeroMQ is spoken there"),
        // A NATS server speaks first in the clear, and says whether it has TLS.
        Speaker::Nats if wants_tls && !offers_tls => {
            TLS_MISSING.found(object, "the server says nothing of TLS")
        }
        Speaker::Amqp if wants_tls => TLS_MISSING.found(object, "the port answers in the clear"),
        _ if wants_tls || speaks_of_tls(told) => TLS_FAILED.found(object, told),
        _ => CONNECTION.found(object, told),
    }
}

fn speaks_of_tls(told: &str) -> bool {
    let told = told.to_ascii_lowercase();
    ["tls", "certificate", "handshake", "fatal alert"].iter().any(|word| told.contains(word))
}

/// The scheme of a URL, and its hosts with their ports.
fn places(url: &str) -> (String, Vec<(String, u16)>) {
    let (scheme, rest) = url.split_once("://").unwrap_or((url, ""));
    let rest = rest.rsplit_once('@').map_or(rest, |(_, rest)| rest);
    let hosts = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let usual = match scheme {
        "amqp" => 5672,
        "amqps" => 5671,
        "zmq" => 5570,
        _ => 4222,
    };
    let place = |text: &str| {
        let (host, port) = match text.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, port.parse().unwrap_or(usual)),
            _ => (text, usual),
        };
        let host = host.trim_start_matches('[').trim_end_matches(']');
        (if host.is_empty() { "localhost" } else { host }.to_owned(), port)
    };
    (scheme.to_owned(), hosts.split(',').map(place).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_of_urls() {
        let (scheme, found) = places("amqps://u:p@x@mq.example.org,[2001:db8::1]:7/v?ca=a:b");
        assert_eq!(scheme, "amqps");
        assert_eq!(found, [("mq.example.org".to_owned(), 5671), ("2001:db8::1".to_owned(), 7)]);
        assert_eq!(places("nats://192.0.2.1:5").1, [("192.0.2.1".to_owned(), 5)]);
        assert_eq!(places("amqp://").1, [("localhost".to_owned(), 5672)]);
    }

    #[test]
    fn who_speaks_there_is_known_by_the_first_words() {
        let code = |scheme, words: &[u8], told| judge(scheme, words, told, "h:1").diagnosis.code;
        assert_eq!(code("amqp", b"HTTP/1.1 400", "x"), "other-protocol");
        assert_eq!(code("amqp", b"INFO {}", "x"), "other-protocol");
        assert_eq!(code("nats", b"AMQP\0\0\x09\x01", "x"), "other-protocol");
        assert_eq!(code("amqp", &[0x15, 3, 3], "x"), "tls-expected");
        assert_eq!(code("amqps", &[1, 0, 0, 0], "x"), "tls-missing");
        assert_eq!(code("nats+tls", b"INFO {}", "x"), "tls-missing");
        assert_eq!(code("nats+tls", b"INFO {\"tls_required\":true}", "TLS error"), "tls-failed");
        assert_eq!(code("nats", b"INFO {\"tls_required\":true}", "TLS error"), "tls-failed");
        assert_eq!(code("nats", b"INFO {}", "no answer"), "connection");
        assert_eq!(code("nats", b"\xff\0\0\0\0\0\0\0\x01\x7f\x03", "x"), "other-protocol");
        assert_eq!(code("zmq", b"\xff\0\0\0\0\0\0\0\x01\x7f\x03", "no answer"), "connection");
        assert_eq!(code("zmq", b"INFO {}", "x"), "other-protocol");
        assert_eq!(places("zmq://u:p@192.0.2.1").1, [("192.0.2.1".to_owned(), 5570)]);
    }
}
