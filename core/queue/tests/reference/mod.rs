//! The model: one vector of every message ever sent, searched from the start each time.

use polybus_queue::{Envelope, Keep, Key, Leaving, MessageId, OnExpiry, Outcome, QueueOptions, WhenFull};

/// Index of a consumer.
pub(crate) type Who = usize;

/// Where a message is: exactly one of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Ready,
    Delayed {
        due: u64,
    },
    Leased {
        who: Who,
        until: u64,
        lease: u64,
    },
    /// Acked, purged, dropped: not in a queue any more.
    Gone,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Stored,
    Duplicate,
    Missed,
    Full,
    TooLarge,
}

#[derive(Clone, Debug)]
struct Message {
    queue: usize,
    seq: u64,
    envelope: Envelope<u32>,
    attempts: u32,
    /// Went straight in and was never handed out.
    fresh: bool,
    whole: bool,
    state: State,
}

#[derive(Clone, Debug)]
struct Consumer {
    queue: usize,
    credit: u32,
    lease: Option<u64>,
    left: bool,
}

#[derive(Debug)]
pub(crate) struct Model {
    options: [QueueOptions; 4],
    messages: Vec<Message>,
    consumers: Vec<Consumer>,
    keys: [Vec<(u64, Key)>; 4],
    next_seq: [u64; 4],
    leases: u64,
    now: u64,
    pub(crate) gap: u64,
    entered: u64,
    left: u64,
}

const DEAD: [bool; 4] = [false, true, false, true];

impl Model {
    pub(crate) fn new(queue: QueueOptions, group: QueueOptions) -> Self {
        let dead = |options: &QueueOptions| QueueOptions {
            lease: options.lease,
            max_attempts: None,
            bound: options.dead_bound,
            when_full: WhenFull::DropOldest,
            ..QueueOptions::default()
        };
        Self {
            options: [queue, dead(&queue), group, dead(&group)],
            messages: Vec::new(),
            consumers: Vec::new(),
            keys: Default::default(),
            next_seq: [1; 4],
            leases: 0,
            now: 0,
            gap: 0,
            entered: 0,
            left: 0,
        }
    }

    pub(crate) fn time(&mut self, unix_ms: u64) {
        self.now = unix_ms;
    }

    fn here(&self, queue: usize) -> Vec<usize> {
        (0..self.messages.len()).filter(|at| self.messages[*at].queue == queue).collect()
    }

    fn waiting_in(&self, queue: usize) -> Vec<usize> {
        let waits = |state| matches!(state, State::Ready | State::Delayed { .. });
        let mut all: Vec<_> =
            self.here(queue).into_iter().filter(|at| waits(self.messages[*at].state)).collect();
        all.sort_by_key(|at| self.messages[*at].seq);
        all
    }

    fn load(&self, of: &[usize]) -> (u64, u64) {
        (of.len() as u64, of.iter().map(|at| self.messages[*at].envelope.size).sum())
    }

    fn fits(&self, queue: usize, of: &[usize], size: u64) -> bool {
        let bound = self.options[queue].bound;
        let (messages, bytes) = self.load(of);
        messages < bound.messages && bytes + size <= bound.bytes
    }

    fn gone(&mut self, at: usize) {
        self.messages[at].state = State::Gone;
        self.left += 1;
    }

    fn expired(&self, at: usize) -> bool {
        let message = &self.messages[at];
        self.options[message.queue].on_expiry.is_some()
            && message.envelope.expires_unix_ms.is_some_and(|expires| expires <= self.now)
    }

    /// Everything that time has made due in one queue: leases, delays, then expiry, each in order of time.
    pub(crate) fn settle_time(&mut self, queue: usize) {
        let mut ended: Vec<_> = self
            .here(queue)
            .into_iter()
            .filter_map(|at| match self.messages[at].state {
                State::Leased { until, lease, .. } if until <= self.now => Some((until, lease, at)),
                _ => None,
            })
            .collect();
        ended.sort_unstable();
        let mut dying = Vec::new();
        for (_, _, at) in ended {
            self.messages[at].state = State::Ready;
            if self.expired(at) {
                dying.push(at);
            }
        }
        for at in dying {
            self.expire(at);
        }
        for at in self.here(queue) {
            if matches!(self.messages[at].state, State::Delayed { due } if due <= self.now) {
                self.messages[at].state = State::Ready;
            }
        }
        let mut dying: Vec<_> = self.waiting_in(queue).into_iter().filter(|at| self.expired(*at)).collect();
        dying.sort_by_key(|at| (self.messages[*at].envelope.expires_unix_ms, self.messages[*at].seq));
        for at in dying {
            self.expire(at);
        }
    }

    fn expire(&mut self, at: usize) {
        match self.options[self.messages[at].queue].on_expiry {
            Some(OnExpiry::DeadLetter) => self.die(at, None),
            _ => self.gone(at),
        }
    }

    fn die(&mut self, at: usize, substitute: Option<(u32, u64)>) {
        let mut letter = self.messages[at].clone();
        self.gone(at);
        let dead = letter.queue + 1;
        letter.whole = substitute.is_none();
        if let Some((payload, size)) = substitute {
            (letter.envelope.payload, letter.envelope.size) = (payload, size);
        }
        (letter.queue, letter.attempts, letter.fresh, letter.state) = (dead, 0, true, State::Ready);
        loop {
            let waiting = self.waiting_in(dead);
            if self.fits(dead, &waiting, letter.envelope.size) {
                break;
            }
            let ready = waiting.iter().find(|at| self.messages[**at].state == State::Ready);
            let delayed = waiting.iter().min_by_key(|at| match self.messages[**at].state {
                State::Delayed { due } => (due, self.messages[**at].seq),
                _ => (u64::MAX, 0),
            });
            let Some(oldest) = ready.or(delayed) else { break };
            self.gone(*oldest);
        }
        self.enter(dead, letter);
    }

    fn enter(&mut self, queue: usize, mut message: Message) {
        message.seq = self.next_seq[queue];
        self.next_seq[queue] += 1;
        self.entered += 1;
        if !matches!(message.state, State::Delayed { .. }) {
            message.state = State::Ready;
        }
        self.messages.push(message);
    }

    pub(crate) fn send(&mut self, queue: usize, envelope: Envelope<u32>, delay: u64) -> Answer {
        let options = self.options[queue];
        if let Some(dedup) = options.dedup {
            let now = self.now;
            self.keys[queue].retain(|(end, _)| *end > now);
            if self.keys[queue].iter().any(|(_, key)| *key == envelope.key) {
                return Answer::Duplicate;
            }
            if envelope.size > options.bound.bytes {
                return Answer::TooLarge;
            }
            if let Some(answer) = self.make_room(queue, envelope.size) {
                return answer;
            }
            let window = u64::try_from(dedup.window.as_millis()).unwrap();
            self.keys[queue].push((now + window, envelope.key.clone()));
            if self.keys[queue].len() > dedup.keys {
                self.keys[queue].remove(0);
            }
        } else {
            if envelope.size > options.bound.bytes {
                return Answer::TooLarge;
            }
            if let Some(answer) = self.make_room(queue, envelope.size) {
                return answer;
            }
        }
        let state = if delay > 0 { State::Delayed { due: self.now + delay } } else { State::Ready };
        let fresh = delay == 0;
        self.enter(queue, Message { queue, seq: 0, envelope, attempts: 0, fresh, whole: true, state });
        Answer::Stored
    }

    fn make_room(&mut self, queue: usize, size: u64) -> Option<Answer> {
        let drops = self.options[queue].when_full == WhenFull::DropOldest;
        let waiting = self.waiting_in(queue);
        let fixed: Vec<_> =
            waiting.iter().copied().filter(|at| !drops || !self.messages[*at].fresh).collect();
        if !self.fits(queue, &fixed, size) {
            if drops && queue == 2 {
                self.gap += 1;
                return Some(Answer::Missed);
            }
            return Some(Answer::Full);
        }
        loop {
            let waiting = self.waiting_in(queue);
            if self.fits(queue, &waiting, size) {
                return None;
            }
            let priorities = self.options[queue].priorities;
            let level = |at: &usize| if priorities { self.messages[*at].envelope.priority } else { 0 };
            let fresh = waiting.iter().copied().filter(|at| self.messages[*at].fresh);
            let oldest =
                fresh.min_by_key(|at| (level(at), self.messages[*at].seq)).expect("something to drop");
            self.gone(oldest);
            if queue == 2 {
                self.gap += 1;
            }
        }
    }

    pub(crate) fn in_hand(&self, who: Who) -> u32 {
        let held = self
            .messages
            .iter()
            .filter(|m| matches!(m.state, State::Leased { who: holder, .. } if holder == who));
        u32::try_from(held.count()).unwrap()
    }

    fn has_room(&self, who: Who) -> bool {
        !self.consumers[who].left && self.in_hand(who) < self.consumers[who].credit
    }

    /// Consumers of a queue that could take a message.
    pub(crate) fn room_for_all(&self, queue: usize) -> usize {
        (0..self.consumers.len())
            .filter(|who| self.consumers[*who].queue == queue && self.has_room(*who))
            .count()
    }

    /// The next to hand out; what is spent dies on the way.
    pub(crate) fn next_ready(&mut self, queue: usize) -> Option<usize> {
        loop {
            let options = self.options[queue];
            let ready =
                self.waiting_in(queue).into_iter().filter(|at| self.messages[*at].state == State::Ready);
            let level =
                |at: &usize| if options.priorities { 255 - self.messages[*at].envelope.priority } else { 0 };
            let next = ready.min_by_key(|at| (level(at), self.messages[*at].seq))?;
            if options.max_attempts.is_none_or(|most| self.messages[next].attempts < most.get()) {
                return Some(next);
            }
            self.die(next, None);
        }
    }

    pub(crate) fn take(&mut self, who: Who) -> Option<(u32, u32, u64)> {
        let queue = self.consumers[who].queue;
        if !self.has_room(who) {
            return None;
        }
        self.settle_time(queue);
        if !self.has_room(who) {
            return None;
        }
        let next = self.next_ready(queue)?;
        self.leases += 1;
        let term = self.term(who);
        let until = term.map_or(u64::MAX, |ms| self.now + ms);
        let (now_in_hand, credit) = (self.in_hand(who) + 1, self.consumers[who].credit);
        assert!(now_in_hand <= credit);
        let message = &mut self.messages[next];
        message.attempts += 1;
        message.fresh = false;
        message.state = State::Leased { who, until, lease: self.leases };
        Some((message.envelope.payload, message.attempts, self.leases))
    }

    fn term(&self, who: Who) -> Option<u64> {
        let of_queue = self.options[self.consumers[who].queue].lease;
        self.consumers[who].lease.or(of_queue.map(|lease| u64::try_from(lease.as_millis()).unwrap()))
    }

    fn holder(&self, wanted: u64) -> Option<usize> {
        let now = self.now;
        self.messages.iter().position(|message| match message.state {
            State::Leased { lease, until, .. } => lease == wanted && until > now,
            _ => false,
        })
    }

    /// Whether the lease still held.
    pub(crate) fn settle(&mut self, lease: u64, outcome: &Outcome<u32>) -> bool {
        let Some(at) = self.holder(lease) else { return false };
        let dead = DEAD[self.messages[at].queue];
        match outcome {
            Outcome::Ack | Outcome::Reject { keep: Keep::Nothing, .. } => self.gone(at),
            Outcome::Retry { after, .. } if after.is_zero() => self.back(at),
            Outcome::Retry { after, .. } => {
                let due = self.now + u64::try_from(after.as_millis()).unwrap();
                self.messages[at].state = State::Delayed { due };
                if self.expired(at) {
                    self.expire(at);
                }
            }
            Outcome::Reject { .. } if dead => self.gone(at),
            Outcome::Reject { keep: Keep::Whole, .. } => self.die(at, None),
            Outcome::Reject { keep: Keep::Substitute(payload, size), .. } => {
                self.die(at, Some((*payload, *size)));
            }
            Outcome::Release => {
                self.messages[at].attempts -= 1;
                self.back(at);
            }
            Outcome::Dropped => self.back(at),
        }
        true
    }

    fn back(&mut self, at: usize) {
        self.messages[at].state = State::Ready;
        if self.expired(at) {
            self.expire(at);
        }
    }

    pub(crate) fn renew(&mut self, lease: u64) -> bool {
        let Some(at) = self.holder(lease) else { return false };
        let State::Leased { who, until, lease } = self.messages[at].state else { return false };
        if let Some(term) = self.term(who) {
            let until = until.max(self.now + term);
            self.messages[at].state = State::Leased { who, until, lease };
        }
        true
    }

    pub(crate) fn attach(&mut self, queue: usize, credit: u32, lease: Option<u64>) -> Who {
        self.consumers.push(Consumer { queue, credit, lease, left: false });
        self.consumers.len() - 1
    }

    pub(crate) fn set_credit(&mut self, who: Who, credit: u32) {
        self.consumers[who].credit = credit;
    }

    pub(crate) fn detach(&mut self, who: Who, leaving: Leaving) -> u64 {
        self.consumers[who].left = true;
        if leaving == Leaving::Keep {
            return 0;
        }
        let mut held: Vec<_> = (0..self.messages.len())
            .filter_map(|at| match self.messages[at].state {
                State::Leased { who: holder, until, lease } if holder == who => Some((until, lease, at)),
                _ => None,
            })
            .collect();
        held.sort_unstable();
        for (_, _, at) in &held {
            if leaving == Leaving::Release {
                self.messages[*at].attempts -= 1;
            }
            self.messages[*at].state = State::Ready;
        }
        for (_, _, at) in &held {
            if self.expired(*at) {
                self.expire(*at);
            }
        }
        held.len() as u64
    }

    pub(crate) fn purge(&mut self, queue: usize) -> u64 {
        let waiting = self.waiting_in(queue);
        for at in &waiting {
            self.gone(*at);
        }
        waiting.len() as u64
    }

    pub(crate) fn redrive(&mut self, limit: u64, id: Option<&MessageId>) -> (u64, u64, u64) {
        let (mut moved, mut refused) = (0, 0);
        let ready: Vec<_> =
            self.waiting_in(1).into_iter().filter(|at| self.messages[*at].state == State::Ready).collect();
        for at in ready {
            if moved >= limit {
                break;
            }
            let mut letter = self.messages[at].clone();
            if id.is_some_and(|id| *id != letter.envelope.key.id) {
                continue;
            }
            if !letter.whole {
                refused += 1;
                continue;
            }
            let waiting = self.waiting_in(0);
            if !self.fits(0, &waiting, letter.envelope.size) {
                break;
            }
            self.gone(at);
            (letter.queue, letter.attempts, letter.fresh) = (0, 0, true);
            letter.envelope.key.send += 1;
            letter.envelope.expires_unix_ms =
                letter.envelope.expires_unix_ms.filter(|expires| *expires > self.now);
            self.enter(0, letter);
            moved += 1;
        }
        let left = self.here(1).iter().filter(|at| self.messages[**at].state != State::Gone).count();
        (moved, refused, left as u64)
    }

    /// Ready, delayed, leased messages; waiting and leased bytes.
    pub(crate) fn figures(&self, queue: usize) -> (u64, u64, u64, u64, u64) {
        let of = |test: fn(&State) -> bool| -> Vec<usize> {
            self.here(queue).into_iter().filter(|at| test(&self.messages[*at].state)).collect()
        };
        let ready = self.load(&of(|state| *state == State::Ready));
        let delayed = self.load(&of(|state| matches!(state, State::Delayed { .. })));
        let leased = self.load(&of(|state| matches!(state, State::Leased { .. })));
        (ready.0, delayed.0, leased.0, ready.1 + delayed.1, leased.1)
    }

    pub(crate) fn waiting(&self, queue: usize) -> Vec<u32> {
        self.waiting_in(queue).into_iter().map(|at| self.messages[at].envelope.payload).collect()
    }

    /// When the next lease ends, delay is over or message expires, in Unix milliseconds.
    pub(crate) fn next_event(&self) -> Option<u64> {
        self.messages.iter().filter_map(|message| self.next_of(message)).min()
    }

    fn next_of(&self, message: &Message) -> Option<u64> {
        let obeyed = self.options[message.queue].on_expiry.is_some();
        let expires = message.envelope.expires_unix_ms.filter(|_| obeyed);
        match message.state {
            State::Ready => expires,
            State::Delayed { due } => Some(expires.map_or(due, |at| at.min(due))),
            State::Leased { until, .. } => Some(until).filter(|until| *until < u64::MAX),
            State::Gone => None,
        }
    }

    /// Nothing was lost or made up: what entered has left or is in one place.
    pub(crate) fn everything_in_one_place(&self) -> bool {
        let present = self.messages.iter().filter(|message| message.state != State::Gone).count() as u64;
        self.entered == self.left + present
    }
}
