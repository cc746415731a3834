//! From packets to calls of the contract.

use std::sync::Arc;
use std::time::Duration;

use polybus_contract::{
    ConsumeOptions, Error, Kind, Message, Operation, Result, Start, SubscribeOptions, Target, Transport,
};
use polybus_lines::{DeclaredLine, MessageLine, Names, TopologyLine, millis, name};

use super::feed::{Control, Feed, Spring};
use super::identity::Right;
use super::session::{Done, LASTING, STREAMS, Session, refusal};
use crate::wire::frame::{Packet, kind};
use crate::wire::receipt::ReceiptLine;
use crate::wire::verbs::{
    ByeHeader, ConsumeHeader, CreditHeader, DeskHeader, PartsHeader, PublishHeader, RenewHeader,
    RenewedHeader, ReplyHeader, RequestHeader, SettleHeader, StopHeader, SubscribeHeader,
};

/// Replies on their way to a caller that has taken none of them.
const WINDOW: u32 = 64;

/// Messages that wait for one subscriber at most, whatever it asks for.
const BUFFER: u32 = 65_536;

/// Deliveries in hand for one consumer at most, whatever credit it says.
const CREDIT: u32 = 65_536;

/// The longest lease, whatever is asked for: what is in the hands of somebody who is lost comes back in the end.
const LEASE: Duration = Duration::from_hours(24);

/// How long opening a stream may take.
const OPEN: Duration = Duration::from_mins(1);

/// A packet that says something that cannot be.
fn unreadable(operation: Operation) -> impl Fn(String) -> Error {
    move |fault| Error::new(Kind::Protocol, operation).with_detail(fault)
}

pub(super) fn answer(number: u64, result: Result<Packet>) -> Packet {
    result.unwrap_or_else(|error| refusal(number, &error))
}

/// What a publish or a reply came to. With the number 0 nobody wants to know; what failed then is counted.
fn sent(number: u64, result: Result<Packet>) -> Done {
    match result {
        Err(error) if number == 0 => Done::Undelivered(error.kind()),
        Ok(_) if number == 0 => Done::Nothing,
        result => Done::Answer(answer(number, result)),
    }
}

impl Session {
    /// Does what a client says.
    pub(super) fn packet(&mut self, packet: Packet) {
        let (number, what) = (packet.number, packet.kind);
        let begun = match what {
            kind::PUBLISH => self.publish(packet),
            kind::SETTLE => self.settle(packet),
            kind::REQUEST => self.request(packet),
            kind::REPLY => self.reply(packet),
            kind::CREDIT => self.credit(&packet),
            kind::RENEW => self.renew(&packet),
            kind::CONSUME => self.consume(&packet),
            kind::SUBSCRIBE => self.subscribe(&packet),
            kind::STOP => self.stop(&packet),
            kind::DECLARE => self.declare(&packet),
            kind::DESK => self.desk(&packet),
            kind::PARTS => self.parts(packet),
            kind::BYE => self.bye(&packet),
            kind::HELLO => Err(unreadable(Operation::Connect)("hello was said already".to_owned())),
            other => {
                return self.malformed(number, &format!("nobody here does {:?}", char::from(other)));
            }
        };
        match begun {
            Err(error) if error.kind() == Kind::Protocol => {
                self.malformed(number, error.detail().unwrap_or_default());
            }
            Err(error) if number == 0 && matches!(what, kind::PUBLISH | kind::REPLY) => {
                self.undelivered(error.kind());
            }
            Err(error) => self.say(&refusal(number, &error)),
            Ok(()) => {}
        }
    }

    /// The message of a header with the body of its packet. Who has proven who he is, is its sender.
    fn message_of(&self, line: &MessageLine, packet: &mut Packet, operation: Operation) -> Result<Message> {
        let shared = &self.shared;
        let message = line.message(packet.take_body(), Names::Checked, |address| shared.reply_to(address));
        let message =
            message.map_err(|fault| Error::new(Kind::InvalidMessage, operation).with_detail(fault))?;
        Ok(match &self.state.user {
            Some(user) => message.with_sender(user.to_string()),
            None => message,
        })
    }

    fn publish(&mut self, mut packet: Packet) -> Result<()> {
        let wrong = unreadable(Operation::Publish);
        let number = packet.number;
        let header: PublishHeader = packet.read().map_err(&wrong)?;
        let (to, options) =
            (header.to.target().map_err(invalid_name)?, header.options.options().map_err(&wrong)?);
        self.state.rights.to_target(&to, Operation::Publish)?;
        let message = self.message_of(&header.message, &mut packet, Operation::Publish)?;
        let (bytes, named) = (size(&message), message.id().is_some());
        let bus = self.state.checked.clone();
        self.call(bytes, async move {
            let receipt = bus.publish(&to, message, options).await;
            let said =
                receipt.map(|receipt| Packet::new(kind::OK, number, &ReceiptLine::of(&receipt, !named)));
            sent(number, said)
        });
        Ok(())
    }

    fn reply(&mut self, mut packet: Packet) -> Result<()> {
        let number = packet.number;
        let header: ReplyHeader = packet.read().map_err(unreadable(Operation::Reply))?;
        if !self.state.rights.has_some(Right::Serve) && !self.state.rights.has_some(Right::Subscribe) {
            let detail = "who answers may serve or subscribe to something";
            return Err(Error::new(Kind::Unauthorized, Operation::Reply).with_detail(detail));
        }
        let to = self.shared.reply_to(&header.to);
        let message = self.message_of(&header.message, &mut packet, Operation::Reply)?;
        let (bytes, named) = (size(&message), message.id().is_some());
        let bus = self.state.checked.clone();
        let options = header.options.options();
        self.call(bytes, async move {
            let receipt = bus.reply(&to, message, options).await;
            let said =
                receipt.map(|receipt| Packet::new(kind::OK, number, &ReceiptLine::of(&receipt, !named)));
            sent(number, said)
        });
        Ok(())
    }

    fn declare(&mut self, packet: &Packet) -> Result<()> {
        let wrong = unreadable(Operation::Declare);
        let number = packet.number;
        let mut topology = packet.read::<TopologyLine>().map_err(&wrong)?.topology().map_err(invalid_name)?;
        let of_groups = topology.groups.iter_mut().map(|group| &mut group.queue);
        for queue in topology.queues.iter_mut().chain(of_groups) {
            queue.lease = queue.lease.min(LEASE);
        }
        let rights = &self.state.rights;
        for queue in &topology.queues {
            rights.check_any(&[Right::Send, Right::Serve], &queue.name, Operation::Declare)?;
        }
        for topic in &topology.topics {
            rights.check_any(&[Right::Publish, Right::Subscribe], &topic.name, Operation::Declare)?;
        }
        for group in &topology.groups {
            rights.check(Right::Subscribe, &group.topic, Operation::Declare)?;
        }
        let bus = self.state.checked.clone();
        self.call(0, async move {
            let declared = bus.declare(&topology).await;
            let said = declared.map(|declared| Packet::new(kind::OK, number, &DeclaredLine::from(declared)));
            Done::Answer(answer(number, said))
        });
        Ok(())
    }

    /// Notes a new stream.
    fn open_stream(
        &mut self,
        number: u64,
        control: &Arc<Control>,
        lasts: bool,
        operation: Operation,
    ) -> Result<()> {
        if self.controls.contains_key(&number) || number == 0 {
            return Err(unreadable(operation)(format!("the number {number} is taken")));
        }
        if self.controls.len() >= STREAMS || (lasts && self.lasting >= LASTING) {
            return Err(Error::new(Kind::Full, operation)
                .with_detail("so many streams at once are all that one client may have"));
        }
        self.controls.insert(number, (control.clone(), lasts));
        self.lasting += usize::from(lasts);
        Ok(())
    }

    /// Opens a stream; a failure forgets it.
    fn opening(
        &mut self,
        bytes: usize,
        number: u64,
        control: Arc<Control>,
        open: impl Future<Output = Result<Spring>> + Send + 'static,
    ) {
        self.call(bytes, async move {
            match open.await {
                Ok(spring) => {
                    Done::Opened(Feed::new(number, spring, control), Packet::bare(kind::OK, number))
                }
                Err(error) => Done::Refused(number, refusal(number, &error)),
            }
        });
    }

    fn consume(&mut self, packet: &Packet) -> Result<()> {
        let header: ConsumeHeader = packet.read().map_err(unreadable(Operation::Consume))?;
        let from = header.from.intake().map_err(invalid_name)?;
        self.state.rights.at_intake(&from, Operation::Consume)?;
        let number = packet.number;
        let held = self.state.held_of(number);
        let credit = header.credit.min(CREDIT);
        let control = Control::new(credit, held);
        self.open_stream(number, &control, true, Operation::Consume)?;
        self.state.carry(number, &control);
        let options = ConsumeOptions::default()
            .with_credit(credit)
            .with_lease(header.lease_ms.map(|lease| Duration::from_millis(lease).min(LEASE)))
            .with_start(Start::Live(OPEN))
            .with_label(header.label);
        let (bus, hand) = (self.state.bus.clone(), self.state.hand.clone());
        self.opening(0, number, control, async move {
            bus.consume(&from, options).await.map(|incoming| Spring::Deliveries(incoming, hand))
        });
        Ok(())
    }

    fn subscribe(&mut self, packet: &Packet) -> Result<()> {
        let header: SubscribeHeader = packet.read().map_err(unreadable(Operation::Subscribe))?;
        let topic = name(&header.topic).map_err(invalid_name)?;
        self.state.rights.check(Right::Subscribe, &topic, Operation::Subscribe)?;
        let number = packet.number;
        let control = Control::new(1, 0);
        self.open_stream(number, &control, true, Operation::Subscribe)?;
        let options = SubscribeOptions::default()
            .with_buffer(header.buffer.min(BUFFER))
            .with_start(Start::Live(OPEN))
            .with_label(header.label);
        let bus = self.state.bus.clone();
        self.opening(0, number, control, async move {
            bus.subscribe(&topic, options).await.map(Spring::Messages)
        });
        Ok(())
    }

    fn request(&mut self, mut packet: Packet) -> Result<()> {
        let number = packet.number;
        let header: RequestHeader = packet.read().map_err(unreadable(Operation::Request))?;
        let to = header.to.target().map_err(invalid_name)?;
        self.state.rights.to_target(&to, Operation::Request)?;
        let message = self.message_of(&header.message, &mut packet, Operation::Request)?;
        self.fits(&to, &message)?;
        let control = Control::new(WINDOW, 0);
        self.open_stream(number, &control, false, Operation::Request)?;
        let (bytes, options) = (size(&message), header.options.options());
        let bus = self.state.bus.clone();
        self.opening(bytes, number, control, async move {
            bus.request(&to, message, options).await.map(Spring::Replies)
        });
        Ok(())
    }

    /// What the always-on checks would say of a request. They are not asked, since they would fetch what lies beside it.
    fn fits(&self, to: &Target, message: &Message) -> Result<()> {
        let refused = |kind| Error::new(kind, Operation::Request).with_target(to);
        if to.name().is_dead() {
            return Err(refused(Kind::InvalidName).with_detail("names ending in .dead may only be consumed"));
        }
        let limit = self.shared.profile.capability.max_message.unwrap_or(u64::MAX);
        if message.size() > limit {
            return Err(refused(Kind::TooLarge { limit, size: message.size() }));
        }
        Ok(())
    }

    fn credit(&mut self, packet: &Packet) -> Result<()> {
        let header: CreditHeader = packet.read().map_err(unreadable(Operation::Credit))?;
        // One that has ended meanwhile is no fault.
        if let Some((control, lasts)) = self.controls.get(&packet.number) {
            if *lasts {
                control.set_credit(header.credit.clamp(1, CREDIT));
            } else {
                control.add_window(header.credit);
            }
        }
        Ok(())
    }

    fn stop(&mut self, packet: &Packet) -> Result<()> {
        let header: StopHeader = packet.read().map_err(unreadable(Operation::Handle))?;
        let Some((control, _)) = self.controls.get(&packet.number) else { return Ok(()) };
        if header.gone {
            control.leave();
            self.forget_stream(packet.number);
        } else {
            control.stop();
        }
        Ok(())
    }

    fn settle(&mut self, mut packet: Packet) -> Result<()> {
        let number = packet.number;
        let header: SettleHeader = packet.read().map_err(unreadable(Operation::Settle))?;
        let outcome = header.outcome.outcome(packet.take_body());
        let Some(delivery) = self.state.take(header.delivery) else {
            return if number == 0 { Ok(()) } else { Err(stale(Operation::Settle)) };
        };
        let settling = delivery.settle(outcome);
        self.call(0, async move {
            let settled = settling.await.map(|()| Packet::bare(kind::OK, number));
            if number == 0 { Done::Nothing } else { Done::Answer(answer(number, settled)) }
        });
        Ok(())
    }

    fn bye(&mut self, packet: &Packet) -> Result<()> {
        let header: ByeHeader = packet.read().map_err(unreadable(Operation::Drain))?;
        self.state.keep_only(&header.holding);
        self.bid_farewell(packet.number);
        Ok(())
    }

    fn renew(&mut self, packet: &Packet) -> Result<()> {
        let number = packet.number;
        let header: RenewHeader = packet.read().map_err(unreadable(Operation::Renew))?;
        let in_hand = self.state.deliveries.get(&header.delivery).ok_or_else(|| stale(Operation::Renew))?;
        let lease = in_hand.lease.clone();
        self.call(0, async move {
            match lease.renew().await {
                Ok(term) => {
                    let renewed = RenewedHeader { lease_ms: term.map(millis) };
                    Done::Renewed(header.delivery, term, Packet::new(kind::OK, number, &renewed))
                }
                Err(error) => Done::Answer(refusal(number, &error)),
            }
        });
        Ok(())
    }

    fn desk(&mut self, packet: &Packet) -> Result<()> {
        let header: DeskHeader = packet.read().map_err(unreadable(Operation::Inspect))?;
        let (number, bus, rights) = (packet.number, self.state.bus.clone(), self.state.rights.clone());
        let most = self.shared.largest();
        self.call(0, async move {
            Done::Answer(answer(number, super::desk::at(&*bus, &rights, header, number, most).await))
        });
        Ok(())
    }

    fn parts(&mut self, mut packet: Packet) -> Result<()> {
        let wrong = unreadable(Operation::Publish);
        let header: PartsHeader = packet.read().map_err(&wrong)?;
        let rights = &self.state.rights;
        if ![Right::Send, Right::Serve, Right::Publish].iter().any(|right| rights.has_some(*right)) {
            let detail = "large bodies are for those who may send, serve or publish something";
            return Err(Error::new(Kind::Unauthorized, Operation::Publish).with_detail(detail));
        }
        let (number, body) = (packet.number, packet.take_body());
        let bytes = body.len();
        let work = self.state.large.begin(header, body, number)?;
        self.call(bytes, async move { Done::Answer(answer(number, work.await)) });
        Ok(())
    }
}

fn invalid_name(fault: String) -> Error {
    Error::new(Kind::InvalidName, Operation::Name).with_detail(fault)
}

fn size(message: &Message) -> usize {
    usize::try_from(message.size()).unwrap_or(usize::MAX)
}

fn stale(operation: Operation) -> Error {
    Error::new(Kind::Stale, operation)
        .with_detail("this delivery is not in hand: it was settled, or its lease has ended")
}
