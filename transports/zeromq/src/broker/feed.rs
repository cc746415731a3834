//! What flows to a client: deliveries, messages and replies, each no faster than it is wanted.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};

use futures_util::Stream;
use polybus_contract::{Arrival, Delivery, End, Gap, Incoming, Message, Reply};

use super::hand::Hand;

/// Something that arrived for a stream of the client.
#[derive(Debug)]
pub(super) enum Fed {
    Delivery(Delivery),
    Message(Message),
    Reply(Reply),
    Gap(Gap),
    End(End),
}

/// Where it comes from.
#[derive(Debug)]
pub(super) enum Spring {
    /// No more of them than the client may have in hand.
    Deliveries(Incoming<Delivery>, Arc<Hand>),
    Messages(Incoming<Message>),
    Replies(Incoming<Reply>),
}

/// The client's wishes for one stream.
#[derive(Debug, Default)]
pub(super) struct Control(Mutex<Wishes>);

#[derive(Debug, Default)]
struct Wishes {
    /// Deliveries of it that are out: also those whose lease is over, as long as the client has not let go of them.
    held: u32,
    /// The credit, if that changed.
    credit: Option<u32>,
    wanted: u32,
    /// Replies that may still be sent.
    window: u32,
    stop: bool,
    gone: bool,
    /// It is to be woken when less is in the client's hands.
    waits: bool,
    waker: Option<Waker>,
}

impl Control {
    pub(super) fn new(credit: u32, held: u32) -> Arc<Self> {
        let wishes = Wishes { held, wanted: credit, window: credit, ..Wishes::default() };
        Arc::new(Self(Mutex::new(wishes)))
    }

    fn wishes(&self) -> MutexGuard<'_, Wishes> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut Wishes)) {
        let mut wishes = self.wishes();
        change(&mut wishes);
        let waker = wishes.waker.take();
        drop(wishes);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    pub(super) fn set_credit(&self, credit: u32) {
        self.change(|wishes| {
            wishes.wanted = credit;
            wishes.credit = Some(credit);
        });
    }

    pub(super) fn add_window(&self, more: u32) {
        self.change(|wishes| wishes.window = wishes.window.saturating_add(more));
    }

    /// One more is out.
    fn hold(&self) {
        let mut wishes = self.wishes();
        wishes.held = wishes.held.saturating_add(1);
    }

    /// One is out of the client's hands.
    pub(super) fn let_go(&self) {
        let mut wishes = self.wishes();
        let starved = wishes.held >= wishes.wanted;
        wishes.held = wishes.held.saturating_sub(1);
        let waker = if starved { wishes.waker.take() } else { None };
        drop(wishes);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// There is room in the client's hands again.
    pub(super) fn has_room(&self) {
        self.change(|wishes| wishes.waits = false);
    }

    pub(super) fn stop(&self) {
        self.change(|wishes| wishes.stop = true);
    }

    pub(super) fn leave(&self) {
        self.change(|wishes| wishes.gone = true);
    }
}

/// One stream of the client.
#[derive(Debug)]
pub(super) struct Feed {
    pub(super) number: u64,
    pub(super) spring: Spring,
    pub(super) control: Arc<Control>,
    /// Something of it was handed to the connection: nobody knows whether the client has it.
    began: bool,
    ended: bool,
}

impl Feed {
    pub(super) const fn new(number: u64, spring: Spring, control: Arc<Control>) -> Self {
        Self { number, spring, control, began: false, ended: false }
    }

    /// Whether it can go on over another connection of its client: it is a request, and no reply was lost on the way, since
    /// there was none.
    pub(super) const fn may_go_on(&self) -> bool {
        matches!(self.spring, Spring::Replies(_)) && !self.began
    }

    /// Does what was wished; false: nothing is to flow now.
    fn obey(&mut self, context: &Context<'_>) -> bool {
        let mut wishes = self.control.wishes();
        if let (Spring::Deliveries(incoming, _), Some(credit @ 1..)) =
            (&mut self.spring, wishes.credit.take())
        {
            // A bus that refuses shows by what it hands out.
            let _ = incoming.set_credit(credit);
        }
        if std::mem::take(&mut wishes.stop) {
            match &mut self.spring {
                Spring::Deliveries(incoming, _) => incoming.stop(),
                Spring::Messages(incoming) => incoming.stop(),
                Spring::Replies(incoming) => incoming.stop(),
            }
        }
        let flows = match &self.spring {
            Spring::Deliveries(_, hand) if hand.is_full() => {
                if !std::mem::replace(&mut wishes.waits, true) {
                    hand.wait(&self.control);
                }
                false
            }
            Spring::Deliveries(..) => wishes.wanted > wishes.held,
            Spring::Messages(_) => true,
            Spring::Replies(_) => wishes.window > 0,
        };
        if wishes.waker.as_ref().is_none_or(|known| !known.will_wake(context.waker())) {
            wishes.waker = Some(context.waker().clone());
        }
        flows
    }
}

fn fed<T>(arrival: Option<Arrival<T>>, incoming: &Incoming<T>, item: fn(T) -> Fed) -> Fed {
    match arrival {
        Some(Arrival::Item(found)) => item(found),
        Some(Arrival::Gap(gap)) => Fed::Gap(gap),
        None => Fed::End(incoming.end().cloned().unwrap_or(End::Stopped)),
    }
}

impl Stream for Feed {
    type Item = (u64, Fed);

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.ended || self.control.wishes().gone {
            return Poll::Ready(None);
        }
        if !self.obey(context) {
            return Poll::Pending;
        }
        let own = &mut *self;
        let next = match &mut own.spring {
            Spring::Deliveries(incoming, _) => {
                let arrival = ready!(Pin::new(&mut *incoming).poll_next(context));
                fed(arrival, incoming, Fed::Delivery)
            }
            Spring::Messages(incoming) => {
                let arrival = ready!(Pin::new(&mut *incoming).poll_next(context));
                fed(arrival, incoming, Fed::Message)
            }
            Spring::Replies(incoming) => {
                let arrival = ready!(Pin::new(&mut *incoming).poll_next(context));
                fed(arrival, incoming, Fed::Reply)
            }
        };
        own.began = true;
        match next {
            Fed::End(_) => own.ended = true,
            Fed::Delivery(_) => own.control.hold(),
            Fed::Reply(_) => {
                let mut wishes = own.control.wishes();
                wishes.window = wishes.window.saturating_sub(1);
            }
            _ => {}
        }
        Poll::Ready(Some((own.number, next)))
    }
}
