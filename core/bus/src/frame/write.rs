//! Writing frames (PRISEM services specification, 4.3).

use std::time::{SystemTime, UNIX_EPOCH};

use thiserror::Error;

use super::appdata::{Appdata, Field};
use super::base64::{encode_into, encoded_len};
use super::json::quoted;
use super::strict::{content_fault, field_fault};
use super::{Answer, Identity, ProtocolVersion};

/// Room for everything in a frame but contents, to begin with.
const HEADROOM: usize = 1024;

/// A frame to be written.
#[derive(Debug, Clone, PartialEq)]
pub struct Frame {
    name: String,
    protocol: ProtocolVersion,
    identity: Identity,
    time: i64,
    appdata: Appdata,
    verbatim: bool,
}

/// Why a frame cannot be written.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum WriteError {
    /// It would break the rule of strict writing: its sorted fault codes, as [`check_strict`] gives them.
    ///
    /// [`check_strict`]: super::check_strict
    #[error("the frame is not strict: {}", .faults.join(", "))]
    NotStrict {
        /// Sorted fault codes.
        faults: Vec<String>,
    },
    /// It is larger than the limit.
    #[error("the frame has {size} bytes, the limit is {limit}")]
    TooLarge {
        /// Size of the frame in bytes.
        size: u64,
        /// Largest allowed size in bytes.
        limit: u64,
    },
}

impl Frame {
    /// A request to `service` (its short name, such as `anon`), created now.
    #[must_use]
    pub fn request(service: &str, appdata: Appdata, identity: &Identity) -> Self {
        Self {
            name: service.to_owned(),
            protocol: ProtocolVersion::default(),
            identity: identity.clone(),
            time: now(),
            appdata,
            verbatim: false,
        }
    }

    /// A reply of `service`, created now.
    #[must_use]
    pub fn reply(service: &str, answer: &Answer, identity: &Identity) -> Self {
        Self::request(service, answer.appdata(), identity)
    }

    /// Writes another protocol version; still all nine keys.
    #[must_use]
    pub fn protocol(mut self, version: &ProtocolVersion) -> Self {
        self.protocol = version.clone();
        self
    }

    /// Writes the fields as they are, right or wrong: for tools that try what a server makes of them. Default false.
    #[must_use]
    pub fn verbatim(mut self, verbatim: bool) -> Self {
        self.verbatim = verbatim;
        self
    }

    /// Sets the time of creation, in Unix seconds.
    #[must_use]
    pub fn at(mut self, unix_seconds: i64) -> Self {
        self.time = unix_seconds;
        self
    }

    /// The bytes of the frame, contents encoded straight into them.
    ///
    /// # Errors
    ///
    /// [`WriteError::NotStrict`] for an empty text or a field that is not what its name promises,
    /// [`WriteError::TooLarge`] above `max_bytes`.
    pub fn write(&self, max_bytes: u64) -> Result<Vec<u8>, WriteError> {
        let faults = self.faults();
        if !faults.is_empty() {
            return Err(WriteError::NotStrict { faults });
        }
        let text = self.text();
        let size = text.len() as u64;
        if size > max_bytes {
            return Err(WriteError::TooLarge { size, limit: max_bytes });
        }
        Ok(text.into_bytes())
    }

    fn strings(&self) -> [(&'static str, &str); 6] {
        [
            ("name", &self.name),
            ("release", &self.identity.release),
            ("protocolver", self.protocol.as_str()),
            ("hostname", &self.identity.hostname),
            ("platform", &self.identity.platform),
            ("pika_version", &self.identity.library),
        ]
    }

    fn faults(&self) -> Vec<String> {
        let empty = self.strings().into_iter().filter(|(_, text)| text.is_empty()).map(|(key, _)| key);
        let zero = [("pid", i64::from(self.identity.pid)), ("time", self.time)];
        let zero = zero.into_iter().filter(|(_, number)| *number <= 0).map(|(key, _)| key);
        let mut faults: Vec<String> = empty.chain(zero).map(|key| format!("type:{key}")).collect();
        let checked = self.appdata.fields.iter().filter(|_| !self.verbatim);
        for (key, field) in checked {
            match field {
                Field::Content(_) => faults.extend(content_fault(key)),
                Field::Plain(value) => faults.extend(field_fault(key, value)),
            }
        }
        if !self.verbatim && self.appdata.fields.contains_key("retcode") {
            let streams = ["stdout", "stderr"].into_iter();
            let missing = streams.filter(|key| !self.appdata.fields.contains_key(*key));
            faults.extend(missing.map(|key| format!("missing:{key}")));
        }
        faults.sort_unstable();
        faults.dedup();
        faults
    }

    fn text(&self) -> String {
        let mut out = String::with_capacity(HEADROOM + self.content_len());
        out.push('{');
        for (key, text) in self.strings() {
            push_entry(&mut out, key, &quoted(text));
            out.push(',');
        }
        push_entry(&mut out, "pid", &self.identity.pid.to_string());
        out.push(',');
        push_entry(&mut out, "time", &self.time.to_string());
        out.push_str(",\"appdata\":{");
        for (place, (key, field)) in self.appdata.fields.iter().enumerate() {
            if place > 0 {
                out.push(',');
            }
            push_field(&mut out, key, field);
        }
        out.push_str("}}");
        out
    }

    fn content_len(&self) -> usize {
        let contents = self.appdata.fields.values().map(|field| match field {
            Field::Content(content) => encoded_len(content.len()),
            Field::Plain(_) => 0,
        });
        contents.fold(0, usize::saturating_add)
    }
}

fn push_entry(out: &mut String, key: &str, json: &str) {
    out.push_str(&quoted(key));
    out.push(':');
    out.push_str(json);
}

fn push_field(out: &mut String, key: &str, field: &Field) {
    match field {
        Field::Plain(value) => push_entry(out, key, &value.compact()),
        Field::Content(content) => {
            push_entry(out, key, "\"");
            encode_into(content, out);
            out.push('"');
        }
    }
}

/// Unix seconds; 1 if the clock stands before 1970, since times in frames are positive.
pub(super) fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    i64::try_from(since).unwrap_or(i64::MAX).max(1)
}
