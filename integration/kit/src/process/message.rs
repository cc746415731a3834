//! Messages on the line.

use data_encoding::BASE64;
use polybus_contract::{Body, Message, RemoteError, Reply, ReplyTo};
use polybus_lines::{Names, RemoteErrorLine};
use serde::{Deserialize, Serialize};

/// A reply address on the line.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct ReplyToLine {
    instance: String,
    address: String,
}

impl From<&ReplyTo> for ReplyToLine {
    fn from(to: &ReplyTo) -> Self {
        Self { instance: to.instance().to_owned(), address: to.to_string() }
    }
}

impl ReplyToLine {
    pub(super) fn reply_to(&self) -> ReplyTo {
        ReplyTo::new(self.instance.as_str(), self.address.as_str())
    }
}

/// A message on the line, its body right behind its id.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct MessageLine {
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    id_derived: bool,
    body: String,
    /// All else; the id has moved to its place above.
    #[serde(flatten)]
    line: polybus_lines::MessageLine<ReplyToLine>,
}

impl From<&Message> for MessageLine {
    fn from(message: &Message) -> Self {
        let mut line = polybus_lines::MessageLine::of(message, |to| to.into());
        let (id, id_derived) = (line.id.take(), std::mem::take(&mut line.id_derived));
        Self { id, id_derived, body: body_line(message.body()), line }
    }
}

impl MessageLine {
    /// The message, or which part of it cannot be read. Names of headers were checked where it was made.
    pub(super) fn message(self) -> Result<Message, String> {
        let Self { id, id_derived, body, mut line } = self;
        (line.id, line.id_derived) = (id, id_derived);
        line.message(body_of(&body)?, Names::Carried, ReplyToLine::reply_to)
    }
}

/// Bodies in parts are not declared behind the protocol, so the checks have refused them before.
pub(super) fn body_line(body: &Body) -> String {
    body.as_bytes().map(|bytes| BASE64.encode(bytes)).unwrap_or_default()
}

pub(super) fn body_of(line: &str) -> Result<Body, String> {
    BASE64.decode(line.as_bytes()).map(Body::from).map_err(|error| format!("base64: {error}"))
}

/// A reply on the line.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct ReplyLine {
    message: MessageLine,
    #[serde(default)]
    responder: Option<String>,
    #[serde(default)]
    attempt: Option<u32>,
    #[serde(default)]
    index: u32,
    last: bool,
    #[serde(default)]
    error: Option<RemoteErrorLine>,
}

impl From<&Reply> for ReplyLine {
    fn from(reply: &Reply) -> Self {
        Self {
            message: (&reply.message).into(),
            responder: reply.responder.clone(),
            attempt: reply.attempt,
            index: reply.index,
            last: reply.last,
            error: reply.error.as_ref().map(RemoteErrorLine::from),
        }
    }
}

impl ReplyLine {
    pub(super) fn reply(self) -> Result<Reply, String> {
        let mut reply = Reply::new(self.message.message()?);
        reply.responder = self.responder;
        reply.attempt = self.attempt;
        reply.index = self.index;
        reply.last = self.last;
        reply.error = self.error.map(RemoteError::from);
        Ok(reply)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn k9_messages_are_the_same_on_both_sides() {
        let mut message = Message::new(&b"\x00\xffbody"[..])
            .with_derived_id("a foreign id")
            .with_content_type("a/b")
            .with_reply_to(ReplyTo::new("here", "7"))
            .with_header("n", 7_i64)
            .unwrap();
        message.carried_mut().set_carried("x-polybus-at-most-once", true);
        let line = serde_json::to_string(&MessageLine::from(&message)).unwrap();
        let text = concat!(
            r#"{"id":"a foreign id","id_derived":true,"body":"AP9ib2R5","content_type":"a/b","#,
            r#""headers":[{"name":"n","type":"int","value":"7"}],"#,
            r#""carried":[{"name":"x-polybus-at-most-once","type":"bool","value":true}],"#,
            r#""reply_to":{"instance":"here","address":"7"}}"#,
        );
        assert_eq!(line, text);
        let again: MessageLine = serde_json::from_str(&line).unwrap();
        let again = again.message().unwrap();
        assert_eq!(format!("{again:?}"), format!("{message:?}"));
        assert_eq!(again.body().as_bytes(), message.body().as_bytes());
        assert_eq!(again.headers(), message.headers());
        assert_eq!(again.carried(), message.carried());
        assert_eq!(again.properties(), message.properties());
        assert!(again.id_is_derived());
    }

    #[test]
    fn k9_names_of_headers_pass_as_they_are() {
        let line: MessageLine =
            serde_json::from_str(r#"{"headers":[{"name":"x-polybus-h","type":"null"}]}"#).unwrap();
        assert_eq!(line.message().unwrap().headers().len(), 1);
    }

    #[test]
    fn k9_what_cannot_be_read_is_named() {
        for (line, part) in [
            (r#"{"body":"?"}"#, "base64"),
            (r#"{"headers":[{"name":"n","type":"int","value":"ten"}]}"#, "ten"),
            (r#"{"headers":[{"name":"n","type":"null"},{"name":"n","type":"null"}]}"#, "already"),
        ] {
            let line: MessageLine = serde_json::from_str(line).unwrap();
            let fault = line.message().unwrap_err();
            assert!(fault.contains(part), "{fault}");
        }
    }
}
