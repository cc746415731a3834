//! The life of a broker: up, killed, up again, paused, full, gone. In a container where an engine runs, and as a local
//! program where one is installed. Where one is missing the test fails, unless `POLYBUS_ALLOW_MISSING` is set; then it
//! says so and was not run.

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stderr, reason = "a test fails by panicking")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use polybus_brokers::{Broker, Cluster, Error, Kind, Options, Place, Product, Tls};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

/// What was started, or nothing, loudly, where it is missing and that may be.
fn there<T>(started: Result<T, Error>) -> Option<T> {
    match started {
        Ok(started) => Some(started),
        Err(error @ Error::Missing { .. }) if std::env::var_os("POLYBUS_ALLOW_MISSING").is_some() => {
            eprintln!("NOT RUN: {error}");
            None
        }
        Err(error) => panic!("{error}"),
    }
}

/// What the server says to somebody who connects and says what is expected first; nothing if it is silent or away.
fn greeting(broker: &Broker) -> Option<u8> {
    let mut stream = TcpStream::connect(broker.address()).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
    if broker.kind().product() == Product::RabbitMq {
        stream.write_all(b"AMQP\x00\x00\x09\x01").ok()?;
    }
    let mut first = [0];
    stream.read_exact(&mut first).ok()?;
    Some(first[0])
}

async fn lives(kind: Kind, place: Place) {
    let options = Options::default().with_place(place);
    let Some(broker) = there(Broker::start_with(kind, &options).await) else { return };
    assert_eq!(broker.is_container(), place == Place::Container);
    let address = broker.address();
    assert!(greeting(&broker).is_some());

    broker.kill().await.unwrap();
    assert_eq!(greeting(&broker), None);
    broker.restart().await.unwrap();
    assert!(greeting(&broker).is_some());

    broker.pause().await.unwrap();
    assert_eq!(greeting(&broker), None);
    broker.resume().await.unwrap();
    broker.ready(Duration::from_mins(1)).await.unwrap();

    broker.stop().await.unwrap();
    assert_eq!(greeting(&broker), None);
    broker.restart().await.unwrap();
    assert_eq!(broker.address(), address);
    assert!(!broker.logs().await.unwrap().is_empty());

    broker.fill().await.unwrap();
    broker.relieve().await.unwrap();
    assert!(broker.tenant("third").await.unwrap().contains("third:"));
    broker.ready(Duration::from_mins(1)).await.unwrap();

    drop(broker);
    assert!(TcpStream::connect(&address).is_err(), "it is gone with its last owner");
}

/// Three members know each other; one is killed, the others stay, and it comes back.
async fn clusters(kind: Kind, place: Place) {
    let options = Options::default().with_place(place);
    let Some(cluster) = there(Cluster::start_with(kind, &options).await) else { return };
    let [first, others @ ..] = cluster.nodes() else { panic!("no members") };
    assert_eq!(others.len(), 2);
    for node in cluster.nodes() {
        assert!(cluster.url().contains(&node.address()), "{}", cluster.url());
    }
    assert_eq!(cluster.leader("no-such-thing").await.unwrap(), None);
    first.kill().await.unwrap();
    assert_eq!(greeting(first), None);
    for node in others {
        assert!(greeting(node).is_some());
    }
    first.restart().await.unwrap();
    assert!(greeting(first).is_some());
}

/// Over TLS as `localhost`, trusting the broker's authority and showing the client's certificate if there is to be one: the
/// first byte of the server.
fn over_tls(broker: &Broker, show: bool) -> Result<u8, Box<dyn std::error::Error>> {
    let files = broker.certificates().ok_or("no certificates")?;
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(&files.ca)?)?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots);
    let config = if show {
        let client = vec![CertificateDer::from_pem_file(&files.client)?];
        config.with_client_auth_cert(client, PrivateKeyDer::from_pem_file(&files.client_key)?)?
    } else {
        config.with_no_client_auth()
    };
    let stream = TcpStream::connect(broker.address())?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    let is_nats = broker.kind().product() == Product::Nats;
    if is_nats {
        // NATS says who it is before TLS begins.
        BufReader::with_capacity(1, &stream).read_line(&mut String::new())?;
    }
    let tls = ClientConnection::new(Arc::new(config), "localhost".try_into()?)?;
    let mut stream = StreamOwned::new(tls, stream);
    stream.write_all(if is_nats { b"PING\r\n" } else { b"AMQP\x00\x00\x09\x01" })?;
    let mut first = [0];
    stream.read_exact(&mut first)?;
    Ok(first[0])
}

/// The server shows a certificate of its own authority for the name that was asked for, and asks for one where it should.
async fn speaks_tls(kind: Kind, place: Place) {
    let options = |tls| Options::default().with_place(place).with_tls(tls);
    let Some(broker) = there(Broker::start_with(kind, &options(Tls::Mutual)).await) else { return };
    for part in ["ca=", "cert=", "key=", &broker.address()] {
        assert!(broker.url().contains(part), "{}", broker.url());
    }
    over_tls(&broker, true).unwrap();
    over_tls(&broker, false).unwrap_err();
    broker.kill().await.unwrap();
    broker.restart().await.unwrap();
    over_tls(&broker, true).unwrap();
    drop(broker);

    let Some(broker) = there(Broker::start_with(kind, &options(Tls::WrongName)).await) else { return };
    let refused = over_tls(&broker, false).unwrap_err().to_string();
    assert!(refused.contains("not valid for name"), "{refused}");
}

macro_rules! on {
    ($($what:ident $name:ident: $kind:ident $place:ident;)*) => {
        $(#[tokio::test]
        async fn $name() {
            $what(Kind::$kind, Place::$place).await;
        })*
    };
}

on! {
    clusters rabbitmq_4_0_cluster_in_containers: RABBITMQ_4_0 Container;
    clusters nats_2_10_cluster_in_containers: NATS_2_10 Container;
    clusters rabbitmq_cluster_of_programs: RABBITMQ Local;
    clusters nats_cluster_of_programs: NATS Local;
    speaks_tls rabbitmq_3_10_with_tls_in_a_container: RABBITMQ_3_10 Container;
    speaks_tls rabbitmq_with_tls_as_a_program: RABBITMQ Local;
    speaks_tls nats_2_15_with_tls_in_a_container: NATS_2_15 Container;
    speaks_tls nats_with_tls_as_a_program: NATS Local;
    lives rabbitmq_3_10_in_a_container: RABBITMQ_3_10 Container;
    lives rabbitmq_4_0_in_a_container: RABBITMQ_4_0 Container;
    lives nats_2_9_in_a_container: NATS_2_9 Container;
    lives nats_2_10_in_a_container: NATS_2_10 Container;
    lives nats_2_15_in_a_container: NATS_2_15 Container;
    lives rabbitmq_as_a_program: RABBITMQ Local;
    lives nats_as_a_program: NATS Local;
}

#[tokio::test]
async fn what_is_missing_is_said() {
    let options = Options::default().with_place(Place::Local).with_program("/no/such/program");
    let error = Broker::start_with(Kind::NATS_2_9, &options).await.unwrap_err();
    let text = error.to_string();
    for part in [
        "NATS 2.9",
        "/no/such/program",
        "images.sh",
        "apt-get install nats-server",
        "POLYBUS_PROGRAM_NATS_2_9",
    ] {
        assert!(text.contains(part), "{text}");
    }
}
