//! What is said between client and broker. The book describes it byte for byte (`docs/src/wire-zeromq.md`).

pub mod frame;

pub(crate) mod hello;
pub(crate) mod receipt;
pub(crate) mod reply;
pub(crate) mod verbs;

use polybus_contract::{Operation, ReplyTo};
use polybus_lines::{ErrorLine, GapLine, Names, TopologyLine, name};

use frame::{Packet, kind};

/// The kind of this bus.
pub(crate) const BUS: &str = "zmq";

/// Reads everything that a packet says, as client and broker would, whichever of them it is for. For tools that look at
/// what is said, and for fuzzing.
///
/// # Errors
/// What cannot be read, in words.
pub fn check(packet: &Packet) -> Result<(), String> {
    let own = |address: &String| ReplyTo::new("", address.as_str());
    let body = || packet.body.clone().unwrap_or_default();
    match packet.kind {
        kind::HELLO => packet.read::<hello::HelloLine>().map(drop),
        kind::GREETING => packet.read::<hello::GreetingLine>().map(drop),
        kind::WELCOME => packet.read::<hello::WelcomeLine>()?.profile.profile(BUS).map(drop),
        kind::DECLARE => packet.read::<TopologyLine>()?.topology().map(drop),
        kind::PUBLISH => {
            let header = packet.read::<verbs::PublishHeader>()?;
            let _ = (header.to.target()?, header.options.options()?);
            header.message.message(body(), Names::Checked, own).map(drop)
        }
        kind::REQUEST => {
            let header = packet.read::<verbs::RequestHeader>()?;
            let _ = (header.to.target()?, header.options.options());
            header.message.message(body(), Names::Checked, own).map(drop)
        }
        kind::REPLY => {
            let header = packet.read::<verbs::ReplyHeader>()?;
            let _ = header.options.options();
            header.message.message(body(), Names::Checked, own).map(drop)
        }
        kind::CONSUME => packet.read::<verbs::ConsumeHeader>()?.from.intake().map(drop),
        kind::SUBSCRIBE => name(&packet.read::<verbs::SubscribeHeader>()?.topic).map(drop),
        kind::SETTLE => {
            packet.read::<verbs::SettleHeader>().map(|header| drop(header.outcome.outcome(body())))
        }
        kind::RENEW => packet.read::<verbs::RenewHeader>().map(drop),
        kind::CREDIT => packet.read::<verbs::CreditHeader>().map(drop),
        kind::STOP => packet.read::<verbs::StopHeader>().map(drop),
        kind::BYE => packet.read::<verbs::ByeHeader>().map(drop),
        kind::DESK => packet.read::<verbs::DeskHeader>().map(drop),
        kind::PARTS => packet.read::<verbs::PartsHeader>().map(drop),
        kind::ERROR => packet.read::<ErrorLine>().map(|line| drop(line.error(Operation::Decode))),
        kind::DELIVERY => {
            let header = packet.read::<verbs::DeliveryHeader>()?;
            header.message.message(body(), Names::Checked, own).map(drop)
        }
        kind::TOPIC => {
            packet.read::<verbs::TopicHeader>()?.message.message(body(), Names::Checked, own).map(drop)
        }
        kind::ANSWER => packet.read::<reply::ReplyLine>()?.reply(body(), own).map(drop),
        kind::GAP => packet.read::<GapLine>().map(drop),
        kind::END => packet.read::<verbs::EndHeader>().map(drop),
        kind::INFO => packet.read::<verbs::InfoHeader>().map(drop),
        kind::OK => packet.read::<serde_json::Value>().map(drop),
        other => Err(format!("no packet is called {:?}", char::from(other))),
    }
}
