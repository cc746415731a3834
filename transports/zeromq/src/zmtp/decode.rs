//! From bytes to messages and commands.

use std::fmt;

use bytes::{Buf, Bytes, BytesMut};

use super::{COMMAND, Command, GREETING_LENGTH, LONG, MORE, check_greeting};

/// What one peer may say at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The largest frame in bytes.
    pub frame: u64,
    /// The largest message in bytes, all of its frames together.
    pub message: u64,
    /// Frames of a message.
    pub frames: usize,
}

/// The largest command; the protocol's own are far smaller.
const MAX_COMMAND: u64 = 4096;

/// Why a connection is cut.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The first bytes are wrong.
    Greeting(&'static str),
    /// Unknown flags, or flags that exclude each other.
    Flags(u8),
    /// A frame, a command or a message is larger than may be.
    TooLarge {
        /// What it claims.
        claimed: u64,
        /// What may be.
        limit: u64,
    },
    /// A message of too many frames.
    TooManyFrames,
    /// A command that cannot be read.
    Command,
    /// A READY whose lengths do not fit.
    Ready,
    /// The peer's socket is of another kind.
    Socket(String),
    /// The peer refused.
    Refused(String),
    /// Something else than READY was said first.
    NotReady,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Greeting(why) => f.write_str(why),
            Self::Flags(flags) => write!(f, "a frame with the flags {flags:#04x}"),
            Self::TooLarge { claimed, limit } => write!(f, "{claimed} bytes, at most {limit} are taken"),
            Self::TooManyFrames => f.write_str("a message of too many frames"),
            Self::Command => f.write_str("a command that cannot be read"),
            Self::Ready => f.write_str("a READY that cannot be read"),
            Self::Socket(kind) => write!(f, "a socket of kind \"{}\"", kind.escape_default()),
            Self::Refused(why) => write!(f, "the peer refuses: \"{}\"", why.escape_default()),
            Self::NotReady => f.write_str("something was said before the handshake was over"),
        }
    }
}

impl std::error::Error for Fault {}

/// What was said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The greeting is over, and was fine.
    Greeted,
    /// A command.
    Command(Command),
    /// A whole message.
    Message(Vec<Bytes>),
}

/// A frame whose end is not there yet.
#[derive(Clone, Copy, Debug)]
struct Frame {
    flags: u8,
    length: usize,
}

/// Takes bytes apart. What it keeps between calls is bounded by its limits.
#[derive(Debug)]
pub struct Decoder {
    limits: Limits,
    greeted: bool,
    frame: Option<Frame>,
    parts: Vec<Bytes>,
    size: u64,
}

impl Decoder {
    /// At the beginning of a connection.
    #[must_use]
    pub const fn new(limits: Limits) -> Self {
        Self { limits, greeted: false, frame: None, parts: Vec::new(), size: 0 }
    }

    /// Other limits from the next frame on.
    pub const fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
    }

    /// How many bytes of a frame that began are missing, at least; 0 between frames.
    #[must_use]
    pub fn missing(&self, buffered: usize) -> usize {
        self.frame.map_or(0, |frame| frame.length.saturating_sub(buffered))
    }

    /// The next event in `bytes`, which it takes away; `None`: more bytes are needed.
    ///
    /// # Errors
    /// A [`Fault`], after which the connection is of no use.
    pub fn next(&mut self, bytes: &mut BytesMut) -> Result<Option<Event>, Fault> {
        if !self.greeted {
            check_greeting(bytes)?;
            if bytes.len() < GREETING_LENGTH {
                return Ok(None);
            }
            bytes.advance(GREETING_LENGTH);
            self.greeted = true;
            return Ok(Some(Event::Greeted));
        }
        loop {
            let Some(frame) = self.head(bytes)? else { return Ok(None) };
            if bytes.len() < frame.length {
                return Ok(None);
            }
            self.frame = None;
            let content = bytes.split_to(frame.length).freeze();
            if frame.flags & COMMAND != 0 {
                return command(&content).map(|command| Some(Event::Command(command)));
            }
            self.parts.push(content);
            if frame.flags & MORE == 0 {
                self.size = 0;
                return Ok(Some(Event::Message(std::mem::replace(&mut self.parts, Vec::with_capacity(3)))));
            }
        }
    }

    /// Flags and length of the frame that is next, checked before a byte of it is waited for.
    fn head(&mut self, bytes: &mut BytesMut) -> Result<Option<Frame>, Fault> {
        if let Some(frame) = self.frame {
            return Ok(Some(frame));
        }
        let Some(flags) = bytes.first().copied() else { return Ok(None) };
        if flags > 7 || (flags & COMMAND != 0 && flags & MORE != 0) {
            return Err(Fault::Flags(flags));
        }
        let width = if flags & LONG == 0 { 1 } else { 8 };
        let Some(digits) = bytes.get(1..=width) else { return Ok(None) };
        let claimed = digits.iter().fold(0_u64, |length, byte| length << 8 | u64::from(*byte));
        self.allow(flags, claimed)?;
        bytes.advance(1 + width);
        let length =
            usize::try_from(claimed).map_err(|_| Fault::TooLarge { claimed, limit: self.limits.frame })?;
        let frame = Frame { flags, length };
        self.frame = Some(frame);
        Ok(Some(frame))
    }

    fn allow(&mut self, flags: u8, claimed: u64) -> Result<(), Fault> {
        if flags & COMMAND != 0 {
            return within(claimed, MAX_COMMAND);
        }
        within(claimed, self.limits.frame)?;
        self.size = self.size.saturating_add(claimed);
        within(self.size, self.limits.message)?;
        if self.parts.len() >= self.limits.frames {
            return Err(Fault::TooManyFrames);
        }
        Ok(())
    }
}

const fn within(claimed: u64, limit: u64) -> Result<(), Fault> {
    if claimed > limit { Err(Fault::TooLarge { claimed, limit }) } else { Ok(()) }
}

fn command(content: &Bytes) -> Result<Command, Fault> {
    let length = usize::from(*content.first().ok_or(Fault::Command)?);
    let name = content.get(1..=length).ok_or(Fault::Command)?;
    let data = content.slice(1 + length..);
    Ok(match name {
        b"READY" => Command::Ready(data),
        b"ERROR" => Command::Error(data),
        b"PING" if data.len() >= 2 && data.len() <= 18 => Command::Ping(data.slice(2..)),
        b"PING" => return Err(Fault::Command),
        b"PONG" => Command::Pong,
        _ => Command::Other,
    })
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
