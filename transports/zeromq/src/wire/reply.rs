//! Replies on the wire.

use bytes::Bytes;
use polybus_contract::{RemoteError, Reply, ReplyTo};
use polybus_lines::{MessageLine, Names, RemoteErrorLine};
use serde::{Deserialize, Serialize};

/// A reply; its message has the body of the packet.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct ReplyLine {
    #[serde(default)]
    message: MessageLine,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    responder: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    attempt: Option<u32>,
    #[serde(default)]
    index: u32,
    #[serde(default = "yes")]
    last: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    error: Option<RemoteErrorLine>,
}

const fn yes() -> bool {
    true
}

impl ReplyLine {
    pub(crate) fn of(reply: &Reply, address: impl FnOnce(&ReplyTo) -> String) -> Self {
        Self {
            message: MessageLine::of(&reply.message, address),
            responder: reply.responder.clone(),
            attempt: reply.attempt,
            index: reply.index,
            last: reply.last,
            error: reply.error.as_ref().map(RemoteErrorLine::from),
        }
    }

    pub(crate) fn reply(
        self,
        body: Bytes,
        reply_to: impl FnOnce(&String) -> ReplyTo,
    ) -> Result<Reply, String> {
        let mut reply = Reply::new(self.message.message(body, Names::Checked, reply_to)?);
        reply.responder = self.responder;
        reply.attempt = self.attempt;
        reply.index = self.index;
        reply.last = self.last;
        reply.error = self.error.map(RemoteError::from);
        Ok(reply)
    }
}
