//! A broker in this process, strangers that speak bytes to it, and a link that can be cut.

#![allow(dead_code, reason = "each test file uses a part")]

use std::sync::Arc;
use std::time::Duration;

use polybus_contract::{
    Arrival, ConsumeOptions, Incoming, Intake, Link, Message, Name, Queue, Topology, Transport, TransportExt,
};
use polybus_embedded::Embedded;
use polybus_zeromq::wire::frame::{Packet, kind};
use polybus_zeromq::zmtp::{Decoder, Event, Limits};
use polybus_zeromq::{Broker, BrokerConfig, Identities, Place, ZeroMq};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::timeout;

pub(crate) const WITHIN: Duration = Duration::from_secs(20);

/// The largest message of the broker below.
pub(crate) const LARGEST: usize = 1 << 20;

pub(crate) fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

pub(crate) async fn broker(bus: &str) -> Broker {
    broker_with(bus, |config| config).await
}

pub(crate) async fn broker_with(bus: &str, change: impl FnOnce(BrokerConfig) -> BrokerConfig) -> Broker {
    let config = BrokerConfig::new(vec![Place::from_url("zmq://127.0.0.1:0").unwrap()]);
    start(bus, change(config)).await
}

/// One where another one was.
pub(crate) async fn broker_at(place: &Place, bus: &str) -> Broker {
    start(bus, BrokerConfig::new(vec![place.clone()])).await
}

async fn start(bus: &str, config: BrokerConfig) -> Broker {
    let url = format!("embedded:{bus}?max_message={LARGEST}");
    let open = move || Ok(Arc::new(Embedded::from_url(&url)?) as Arc<dyn Transport>);
    Broker::start(config, open).await.unwrap()
}

pub(crate) fn identities(text: &str) -> Identities {
    Identities::parse(text).unwrap()
}

pub(crate) fn address(broker: &Broker) -> String {
    broker.places()[0].to_string().trim_start_matches("zmq://").to_owned()
}

pub(crate) async fn client(url: &str) -> ZeroMq {
    let client = ZeroMq::from_url(url).unwrap();
    client.connect(WITHIN).await.unwrap();
    client
}

/// Waits until the connection is known to be lost.
pub(crate) async fn until_lost(bus: &ZeroMq) {
    let lost = async {
        while bus.health().link == Link::Up {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(WITHIN, lost).await.expect("still connected");
}

/// A client that does its work, whatever others do.
pub(crate) struct Honest {
    pub(crate) bus: ZeroMq,
    queue: Name,
    deliveries: Incoming<polybus_contract::Delivery>,
}

impl Honest {
    pub(crate) async fn at(broker: &Broker) -> Self {
        let bus = client(&broker.places()[0].to_string()).await;
        let queue = name("honest");
        bus.declare(&Topology::new().queue(Queue::new(queue.clone()))).await.unwrap();
        let deliveries = bus.consume(&Intake::Queue(queue.clone()), ConsumeOptions::default()).await.unwrap();
        Self { bus, queue, deliveries }
    }

    /// One message there and back.
    pub(crate) async fn works(&mut self) {
        let work = async {
            self.bus.send(&self.queue, Message::new("x")).await.unwrap();
            let Some(Arrival::Item(delivery)) = self.deliveries.next().await else { panic!("no delivery") };
            delivery.ack().await.unwrap();
        };
        timeout(WITHIN, work).await.expect("an honest client is held up");
    }
}

/// Somebody who says what the test says, byte for byte.
pub(crate) struct Stranger {
    stream: TcpStream,
    decoder: Decoder,
    buffer: bytes::BytesMut,
}

/// The greeting of ZMTP, and a READY of a DEALER.
pub(crate) fn shake() -> Vec<u8> {
    shake_as("DEALER")
}

/// The same of a socket of this type, which has six letters.
pub(crate) fn shake_as(socket: &str) -> Vec<u8> {
    let mut bytes = vec![0xff, 0, 0, 0, 0, 0, 0, 0, 1, 0x7f, 3, 1];
    bytes.extend(b"NULL");
    bytes.resize(64, 0);
    let ready = format!("\x05READY\x0bSocket-Type\0\0\0\x06{socket}\x08Identity\0\0\0\x01a");
    bytes.extend([4, u8::try_from(ready.len()).unwrap()]);
    bytes.extend(ready.as_bytes());
    bytes
}

/// A message of these frames.
pub(crate) fn frames(frames: &[&[u8]]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (number, frame) in frames.iter().enumerate() {
        let more = u8::from(number + 1 < frames.len());
        if let Ok(length) = u8::try_from(frame.len()) {
            bytes.extend([more, length]);
        } else {
            bytes.push(more | 2);
            bytes.extend((frame.len() as u64).to_be_bytes());
        }
        bytes.extend(*frame);
    }
    bytes
}

pub(crate) fn packet(kind: u8, number: u64, header: &Value) -> Vec<u8> {
    let head = Packet { version: 1, kind, number, ..Packet::default() }.head();
    frames(&[&head, header.to_string().as_bytes()])
}

/// The proof of a client whose nonce is `n`.
pub(crate) fn proof(user: &str, secret: &str, client: &str, broker_nonce: &str) -> String {
    use hmac::{Hmac, KeyInit, Mac};
    let text = format!("polybus zeromq 1 client\n{user}\n{client}\nn\n{broker_nonce}\n");
    let mut mac = Hmac::<sha2::Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(text.as_bytes());
    data_encoding::HEXLOWER.encode(&mac.finalize().into_bytes())
}

/// The header of a packet.
pub(crate) fn header(packet: &Packet) -> Value {
    if packet.header.is_empty() { Value::Null } else { serde_json::from_slice(&packet.header).unwrap() }
}

impl Stranger {
    pub(crate) async fn at(broker: &Broker) -> Self {
        Self::on(TcpStream::connect(address(broker)).await.unwrap())
    }

    /// At the other end of this stream.
    pub(crate) fn on(stream: TcpStream) -> Self {
        let limits = Limits { frame: 4 << 20, message: 8 << 20, frames: 9 };
        Self { stream, decoder: Decoder::new(limits), buffer: bytes::BytesMut::new() }
    }

    /// One that got through the handshake and said hello.
    pub(crate) async fn welcome(broker: &Broker) -> Self {
        let mut stranger = Self::at(broker).await;
        stranger.say(&shake()).await;
        stranger.hello().await;
        stranger
    }

    pub(crate) async fn hello(&mut self) {
        let client = uuid::Uuid::new_v4().simple().to_string();
        self.say(&packet(kind::HELLO, 1, &json!({"client": client, "nonce": "n"}))).await;
        self.hears(kind::WELCOME).await;
    }

    /// One that says hello with this, and the welcome to it.
    pub(crate) async fn with_hello(broker: &Broker, hello: &Value) -> (Self, Value) {
        let mut stranger = Self::at(broker).await;
        stranger.say(&shake()).await;
        stranger.say(&packet(kind::HELLO, 1, hello)).await;
        let welcome = stranger.hears(kind::WELCOME).await;
        (stranger, header(&welcome))
    }

    /// One that proves who it is.
    pub(crate) async fn user(broker: &Broker, user: &str, secret: &str) -> Self {
        let mut stranger = Self::at(broker).await;
        stranger.say(&shake()).await;
        let greeting = header(&stranger.hears(kind::GREETING).await);
        let client = uuid::Uuid::new_v4().simple().to_string();
        let proof = proof(user, secret, &client, greeting["nonce"].as_str().unwrap());
        let hello = json!({"client": client, "user": user, "nonce": "n", "proof": proof});
        stranger.say(&packet(kind::HELLO, 1, &hello)).await;
        stranger.hears(kind::WELCOME).await;
        stranger
    }

    /// Asks, and the answer: its kind and header.
    pub(crate) async fn asks(&mut self, kind: u8, number: u64, asked: &Value) -> (u8, Value) {
        self.say(&packet(kind, number, asked)).await;
        loop {
            let answer = self.hear().await.expect("the connection is over");
            if answer.number == number && matches!(answer.kind, kind::OK | kind::ERROR) {
                return (answer.kind, header(&answer));
            }
        }
    }

    /// Asks for what is to succeed.
    pub(crate) async fn gets(&mut self, kind: u8, number: u64, asked: &Value) -> Value {
        let (answer, header) = self.asks(kind, number, asked).await;
        assert_eq!(answer, kind::OK, "{header}");
        header
    }

    /// Says it as far as somebody listens.
    pub(crate) async fn say(&mut self, bytes: &[u8]) {
        let _ = timeout(WITHIN, self.stream.write_all(bytes)).await.expect("nobody reads");
    }

    /// Says it as far as it goes without waiting for long.
    pub(crate) async fn try_say(&mut self, bytes: &[u8], within: Duration) -> bool {
        matches!(timeout(within, self.stream.write_all(bytes)).await, Ok(Ok(())))
    }

    /// Reads so many bytes at most, if there are any, and keeps them for later.
    pub(crate) fn read_some(&mut self, most: usize) {
        let mut some = vec![0; most];
        if let Ok(read) = self.stream.try_read(&mut some) {
            assert!(read > 0, "the connection is over");
            self.buffer.extend_from_slice(&some[..read]);
        }
    }

    /// The next packet; `None`: the connection is over.
    pub(crate) async fn hear(&mut self) -> Option<Packet> {
        loop {
            match self.decoder.next(&mut self.buffer).unwrap() {
                Some(Event::Message(frames)) => return Some(Packet::from_frames(frames).unwrap()),
                Some(_) => continue,
                None => {}
            }
            let read = timeout(WITHIN, self.stream.read_buf(&mut self.buffer)).await;
            match read.expect("nothing is said, and the connection is not over") {
                Ok(1..) => {}
                _ => return None,
            }
        }
    }

    /// The next packet of a kind; others are left out.
    pub(crate) async fn hears(&mut self, kind: u8) -> Packet {
        loop {
            let packet = self.hear().await.expect("the connection is over");
            if packet.kind == kind {
                return packet;
            }
        }
    }

    /// Waits for the end of the connection.
    pub(crate) async fn is_cut(&mut self) {
        while self.hear().await.is_some() {}
    }
}

/// A relay in front of a broker that can cut its connections, and passes nothing until it is mended: a client may be back
/// sooner than a test can see that it was away.
pub(crate) struct Relay {
    pub(crate) address: String,
    open: watch::Sender<bool>,
}

impl Relay {
    pub(crate) async fn before(broker: &Broker) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, to) = (listener.local_addr().unwrap().to_string(), address(broker));
        let open = watch::Sender::new(true);
        let opened = open.clone();
        tokio::spawn(async move {
            while let Ok((mut near, _)) = listener.accept().await {
                let (to, mut open) = (to.clone(), opened.subscribe());
                tokio::spawn(async move {
                    open.wait_for(|open| *open).await.unwrap();
                    let mut far = TcpStream::connect(to).await.unwrap();
                    tokio::select! {
                        _ = copy_bidirectional(&mut near, &mut far) => {}
                        _ = open.wait_for(|open| !open) => {}
                    }
                });
            }
        });
        Self { address, open }
    }

    pub(crate) fn cut(&self) {
        self.open.send_replace(false);
    }

    pub(crate) fn mend(&self) {
        self.open.send_replace(true);
    }
}
