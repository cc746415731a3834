//! What a service answers: written by us, read from anybody (PRISEM services specification, 4.4 and 4.6).

use bytes::Bytes;
use thiserror::Error;

use super::{Appdata, Json, Object, base64, convert};

/// An answer to be sent.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Answer {
    /// Exit code of the work, 0 for success.
    pub retcode: u8,
    /// The result.
    pub stdout: Bytes,
    /// Notices, or the reason of a failure.
    pub stderr: Bytes,
    /// The refusal, for programs; see [`Refusal`](super::Refusal).
    pub error: Option<Object>,
    /// Where the result comes from (PRISEM services specification, 11.3).
    pub provenance: Option<Object>,
}

impl Answer {
    /// A successful answer.
    #[must_use]
    pub fn ok(stdout: impl Into<Bytes>) -> Self {
        Self { stdout: stdout.into(), ..Self::default() }
    }

    /// The fields of the reply's frame.
    #[must_use]
    pub fn appdata(&self) -> Appdata {
        let streams = Appdata::new()
            .int("retcode", self.retcode.into())
            .bytes("stdout", self.stdout.clone())
            .bytes("stderr", self.stderr.clone());
        let with_error = match &self.error {
            Some(error) => streams.json("error", error.clone()),
            None => streams,
        };
        match &self.provenance {
            Some(provenance) => with_error.json("provenance", provenance.clone()),
            None => with_error,
        }
    }
}

/// A reply that was read.
#[derive(Debug, Clone, PartialEq)]
pub struct Reply {
    /// What the remote program ended with; not always 0 to 255.
    pub retcode: i64,
    /// The decoded standard output.
    pub stdout: Vec<u8>,
    /// The decoded standard error.
    pub stderr: Vec<u8>,
    /// Why the request was refused, if the server says so.
    pub error: Option<RemoteError>,
    /// Where the result comes from, if the server says so.
    pub provenance: Option<Object>,
}

/// The `error` object of a reply.
#[derive(Debug, Clone, PartialEq)]
pub struct RemoteError {
    /// One of the codes of 4.6, or whatever else the peer wrote.
    pub code: String,
    /// For people.
    pub text: String,
    /// The request field at fault.
    pub field: Option<String>,
    /// More for programs.
    pub detail: Option<Object>,
}

/// A field that cannot be read as its kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("field {field} of the reply cannot be read")]
pub struct BadField {
    /// The first field at fault, in the order `retcode`, `stdout`, `stderr`.
    pub field: &'static str,
}

impl Reply {
    /// Reads the appdata of a reply; none if it holds no `retcode` and so is no reply of a service.
    ///
    /// # Errors
    ///
    /// [`BadField`] names the first field that cannot be read.
    #[must_use]
    pub fn read(appdata: &Object) -> Option<Result<Self, BadField>> {
        appdata.get("retcode").map(|retcode| Self::with_retcode(retcode, appdata))
    }

    /// The code a client exits with: the retcode if it is one, else 1.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        u8::try_from(self.retcode).unwrap_or(1)
    }

    fn with_retcode(retcode: &Json, appdata: &Object) -> Result<Self, BadField> {
        Ok(Self {
            retcode: convert::integer(retcode).ok_or(BadField { field: "retcode" })?,
            stdout: stream(appdata, "stdout")?,
            stderr: stream(appdata, "stderr")?,
            error: appdata.get("error").and_then(Json::as_object).and_then(RemoteError::read),
            provenance: appdata.get("provenance").and_then(Json::as_object).cloned(),
        })
    }
}

impl RemoteError {
    fn read(error: &Object) -> Option<Self> {
        let text = |key| error.get(key).and_then(Json::as_str).map(str::to_owned);
        Some(Self {
            code: text("code")?,
            text: text("text").unwrap_or_default(),
            field: text("field"),
            detail: error.get("detail").and_then(Json::as_object).cloned(),
        })
    }
}

fn stream(appdata: &Object, field: &'static str) -> Result<Vec<u8>, BadField> {
    match appdata.get(field) {
        None | Some(Json::Null) => Ok(Vec::new()),
        Some(Json::String(text)) => base64::decode(text).ok_or(BadField { field }),
        Some(_) => Err(BadField { field }),
    }
}
