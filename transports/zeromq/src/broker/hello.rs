//! The beginning of a connection: who it is, and what is kept for it.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use polybus_contract::{Error, Kind, Operation};
use polybus_lines::{ProfileLine, millis};
use tokio::time::{Instant, timeout_at};

use super::clients::{Client, Takeover};
use super::identity::Rights;
use super::session::{HELLO, Session, malformed, refusal};
use super::shared::Shared;
use super::state::State;
use crate::pipe::{Broken, Inlet, Pipe, Said, limits};
use crate::wire::frame::{Packet, VERSION, kind};
use crate::wire::hello::{Challenge, GreetingLine, HelloLine, Side, WelcomeLine, nonce};
use crate::zmtp;

/// Who said hello, and with what rights.
pub(super) struct Known {
    line: HelloLine,
    rights: Arc<Rights>,
    proof: Option<String>,
    number: u64,
}

/// Greets, and waits for a hello that is fine; `None`: there was none.
pub(super) async fn hello(
    shared: &Arc<Shared>,
    pipe: &Pipe,
    inlet: &mut Inlet,
) -> Result<Option<Known>, Broken> {
    let broker_nonce = nonce();
    let greeting = GreetingLine {
        versions: vec![VERSION],
        nonce: broker_nonce.clone(),
        proof_needed: shared.config.identities.is_some(),
        broker: concat!("polybus ", env!("CARGO_PKG_VERSION")).to_owned(),
    };
    pipe.put(&Packet::new(kind::GREETING, 0, &greeting));
    pipe.finish(HELLO).await?;
    let until = Instant::now() + HELLO;
    let mut closing = shared.closing.subscribe();
    loop {
        let said = loop {
            if let Some(said) = inlet.next()? {
                break said;
            }
            tokio::select! {
                filled = timeout_at(until, inlet.fill(pipe)) => filled.map_err(|_| Broken::Late)??,
                _ = closing.wait_for(|closing| *closing) => return Ok(None),
            }
        };
        let answer = match said {
            Said::Ping(context) => {
                pipe.raw(&zmtp::pong(&context));
                pipe.finish(HELLO).await?;
                continue;
            }
            Said::Message(frames) => match Packet::from_frames(frames) {
                Ok(packet) if packet.kind == kind::HELLO => match known(shared, &packet, &broker_nonce) {
                    Ok(known) => return Ok(Some(known)),
                    Err(error) => {
                        pipe.put(&refusal(packet.number, &error));
                        let _ = pipe.finish(HELLO).await;
                        return Ok(None);
                    }
                },
                Ok(packet) => {
                    let error = Error::new(Kind::Disconnected, Operation::Connect)
                        .with_detail("this is a new connection: say hello first");
                    refusal(packet.number, &error)
                }
                Err(fault) => malformed(shared, 0, fault),
            },
        };
        pipe.put(&answer);
        pipe.finish(until.saturating_duration_since(Instant::now())).await?;
    }
}

fn known(shared: &Shared, packet: &Packet, broker_nonce: &str) -> Result<Known, Error> {
    let wrong = |fault: String| Error::new(Kind::Protocol, Operation::Connect).with_detail(fault);
    let line: HelloLine = packet.read().map_err(wrong)?;
    let digits = line.client.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    if line.client.len() != 32 || !digits {
        return Err(wrong("\"client\" is 32 hexadecimal digits, chosen at random".to_owned()));
    }
    let number = packet.number;
    let Some(identities) = &shared.config.identities else {
        return Ok(Known { line, rights: Arc::new(Rights::all()), proof: None, number });
    };
    let user = line.user.clone().unwrap_or_default();
    let challenge = Challenge { user: &user, client: &line.client, client_nonce: &line.nonce, broker_nonce };
    let proof = line.proof.as_deref().unwrap_or_default();
    // Who is not known is asked for as much work as who is.
    let (found, secret) = match identities.find(&user) {
        Some(identity) => (Some(identity), identity.secret.expose()),
        None => (None, "nobody has this secret"),
    };
    let proven = challenge.is_proven(Side::Client, secret.as_bytes(), proof);
    let Some(identity) = found.filter(|_| proven) else {
        shared.unauthorized.fetch_add(1, Ordering::Relaxed);
        return Err(Error::new(Kind::Unauthorized, Operation::Connect)
            .with_detail("the broker does not know this user with this secret"));
    };
    let proof = Some(challenge.prove(Side::Broker, identity.secret.expose().as_bytes()));
    Ok(Known { rights: identity.rights.clone(), proof, number, line })
}

type Attached = (Session, Client, u64);

/// Finds what is kept for the client, or opens a handle for it, and welcomes it.
pub(super) async fn attach(
    shared: &Arc<Shared>,
    pipe: Pipe,
    mut inlet: Inlet,
    known: Known,
    takeover: Takeover,
) -> Result<Attached, Result<(), Broken>> {
    let Known { line, rights, proof, number: answer_to } = known;
    let user: Option<Arc<str>> = proof.as_ref().and(line.user.as_deref()).map(Arc::from);
    let client = (user.clone(), Arc::from(line.client.as_str()));
    let (number, kept) = shared.attach(&client, takeover).await;
    let resumed = kept.filter(|_| line.resume);
    let mut welcome = WelcomeLine {
        resumed: resumed.is_some(),
        profile: ProfileLine::from(&shared.profile),
        part: shared.part_size(),
        heartbeat_ms: millis(shared.config.heartbeat),
        proof,
        asking: Vec::new(),
    };
    let state = match resumed {
        Some(mut state) => {
            state.keep_only(&line.holding);
            state.replies.retain(|feed| line.asking.contains(&feed.number));
            welcome.asking = state.replies.iter().map(|feed| feed.number).collect();
            state
        }
        None => match shared.handle() {
            Ok(bus) => Box::new(State::new(bus, user, rights, shared.abandoned.clone())),
            Err(error) => {
                shared.forget(&client, number);
                pipe.put(&refusal(answer_to, &error));
                return Err(pipe.finish(HELLO).await);
            }
        },
    };
    inlet.set_limits(limits(shared.largest()));
    pipe.put(&Packet::new(kind::WELCOME, answer_to, &welcome));
    let session = Session::new(shared.clone(), pipe, inlet, state, line.keep);
    Ok((session, client, number))
}
