//! The proxy, by what passes through it. Times are never asserted: what is late is seen by what has not come yet.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::Duration;

use polybus_kit::proxy::{Behaviour, Proxy};
use polybus_kit::{Fault, Faults};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

const WITHIN: Duration = Duration::from_secs(20);
/// Long enough for what would come at once.
const MOMENT: Duration = Duration::from_millis(100);

/// A server that says what it hears, and ends when its client does.
async fn echo() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let (mut read, mut write) = stream.split();
                let _ = tokio::io::copy(&mut read, &mut write).await;
            });
        }
    });
    address
}

async fn proxied() -> (Proxy, TcpStream) {
    let proxy = Proxy::start(echo().await.to_string()).await.unwrap();
    let stream = TcpStream::connect(proxy.address()).await.unwrap();
    (proxy, stream)
}

async fn says(stream: &mut TcpStream, text: &[u8]) {
    stream.write_all(text).await.unwrap();
    hears(stream, text).await;
}

async fn hears(stream: &mut TcpStream, text: &[u8]) {
    let mut heard = vec![0; text.len()];
    timeout(WITHIN, stream.read_exact(&mut heard)).await.unwrap().unwrap();
    assert!(heard == text);
}

/// What ends the stream: nothing (an orderly end), or an error.
async fn end(stream: &mut TcpStream) -> Option<ErrorKind> {
    let mut rest = Vec::new();
    timeout(WITHIN, stream.read_to_end(&mut rest)).await.unwrap().err().map(|error| error.kind())
}

#[tokio::test]
async fn a_clear_link_passes_everything_and_the_end() {
    let (proxy, mut stream) = proxied().await;
    let megabyte: Vec<u8> = (0..1 << 20).map(|number: u32| number.to_le_bytes()[1]).collect();
    let (mut read, mut write) = stream.split();
    let mut heard = vec![0; megabyte.len()];
    let (sent, got) = tokio::join!(write.write_all(&megabyte), timeout(WITHIN, read.read_exact(&mut heard)));
    sent.unwrap();
    got.unwrap().unwrap();
    assert!(heard == megabyte);
    stream.shutdown().await.unwrap();
    assert_eq!(end(&mut stream).await, None);
    assert_eq!(proxy.figures().passed, 2 << 20);
}

#[tokio::test]
async fn silence_keeps_connections_up_and_resets_them_when_it_ends() {
    let (proxy, mut stream) = proxied().await;
    let mut idle = TcpStream::connect(proxy.address()).await.unwrap();
    says(&mut stream, b"before").await;
    says(&mut idle, b"before").await;
    proxy.inject(Fault::Blackhole).await.unwrap();
    stream.write_all(b"during").await.unwrap();
    let mut byte = [0];
    assert!(timeout(MOMENT, stream.read(&mut byte)).await.is_err(), "neither an answer nor an end");
    let mut late = TcpStream::connect(proxy.address()).await.unwrap();
    late.write_all(b"late").await.unwrap();
    assert!(timeout(MOMENT, late.read(&mut byte)).await.is_err());
    assert_eq!(proxy.figures().swallowed, 6);
    proxy.inject(Fault::Mend).await.unwrap();
    assert_eq!(end(&mut stream).await, Some(ErrorKind::ConnectionReset), "a stream has no holes");
    says(&mut idle, b"after").await;
    hears(&mut late, b"late").await;
}

#[tokio::test]
async fn a_slow_link_is_late_and_loses_nothing() {
    let (proxy, mut stream) = proxied().await;
    proxy.set(Behaviour::slow(MOMENT * 5, 64 << 10));
    stream.write_all(b"late").await.unwrap();
    let mut byte = [0];
    assert!(timeout(MOMENT, stream.read(&mut byte)).await.is_err(), "nothing comes at once");
    hears(&mut stream, b"late").await;
    proxy.set(Behaviour::slow(Duration::ZERO, 8 << 10));
    let body = vec![7; 32 << 10];
    stream.write_all(&body).await.unwrap();
    let mut heard = vec![0; body.len()];
    assert!(timeout(MOMENT, stream.read_exact(&mut heard)).await.is_err(), "seconds of bytes take seconds");
    proxy.set(Behaviour::clear());
    proxy.reset();
    assert_eq!(end(&mut stream).await, Some(ErrorKind::ConnectionReset));
}

#[tokio::test]
async fn a_truncating_link_cuts_in_the_middle() {
    let (proxy, mut stream) = proxied().await;
    says(&mut stream, b"before").await;
    proxy.set(Behaviour::truncating(3));
    stream.write_all(b"abcdef").await.unwrap();
    // Three bytes go there; whether they are back before the reset is a race.
    assert_eq!(end(&mut stream).await, Some(ErrorKind::ConnectionReset));
    assert!(proxy.figures().passed < 12 + 6);
}

#[tokio::test]
async fn what_is_refused_is_reset_and_counted() {
    let (proxy, mut stream) = proxied().await;
    says(&mut stream, b"before").await;
    proxy.set(Behaviour::refusing());
    let mut refused = TcpStream::connect(proxy.address()).await.unwrap();
    assert_eq!(end(&mut refused).await, Some(ErrorKind::ConnectionReset));
    says(&mut stream, b"the old one goes on").await;
    assert_eq!(proxy.figures().refused, 1);
    proxy.set(Behaviour::clear());
    // Nobody listens there: the broker is down.
    proxy.set_upstream("127.0.0.1:1");
    let mut nobody = TcpStream::connect(proxy.address()).await.unwrap();
    assert_eq!(end(&mut nobody).await, Some(ErrorKind::ConnectionReset));
    proxy.set_upstream(echo().await.to_string());
    let mut another = TcpStream::connect(proxy.address()).await.unwrap();
    says(&mut another, b"back on another port").await;
}

#[tokio::test]
async fn connections_end_with_their_proxy() {
    let (proxy, mut stream) = proxied().await;
    says(&mut stream, b"before").await;
    drop(proxy);
    assert_eq!(end(&mut stream).await, Some(ErrorKind::ConnectionReset));
}

#[tokio::test]
async fn k4_several_who_do_harm_are_one() {
    use std::sync::Arc;
    let proxy: Arc<dyn Faults> = Arc::new(Proxy::start(echo().await.to_string()).await.unwrap());
    let broker: Arc<dyn Faults> = polybus_kit::process::Process::new(["sleep", "60"]);
    let both = vec![broker, proxy];
    for fault in [Fault::Kill, Fault::Start, Fault::Cut, Fault::Slow, Fault::Mend] {
        assert!(both.can(fault), "{fault}");
    }
    both.inject(Fault::Slow).await.unwrap();
    assert!(both.inject(Fault::Jump).await.unwrap_err().to_string().contains("jump"));
}
