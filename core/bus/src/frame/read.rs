//! Reading frames of every generation (PRISEM services specification, 4.4).

use bytes::Bytes;
use bytestring::ByteString;
use thiserror::Error;

use super::keys::Keys;
use super::{BadField, Json, Object, ParseError, Refusal, RefusalCode, Reply, base64, convert, generation0};
use super::{is_compatible, terse_frame};

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Why a message is no frame. The checks are made in this order, the first failure ends it.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ReadFault {
    /// Longer than the limit.
    #[error("the frame has {size} bytes, the limit is {limit}")]
    TooLarge {
        /// Size of the frame in bytes.
        size: u64,
        /// Largest allowed size in bytes.
        limit: u64,
    },
    /// Not UTF-8.
    #[error("the frame is not UTF-8")]
    BadUtf8,
    /// Not one JSON value.
    #[error("the frame is not JSON: {0}")]
    BadJson(#[from] ParseError),
    /// JSON, but no object.
    #[error("the frame is no JSON object")]
    NotObject,
    /// No `appdata`, and nothing of generation 0.
    #[error("the frame has no appdata")]
    NoAppdata,
    /// `appdata` is no object.
    #[error("the frame's appdata is no object")]
    BadAppdata,
}

impl ReadFault {
    /// The code other programs know it by.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::TooLarge { .. } => "too-large",
            Self::BadUtf8 => "bad-utf8",
            Self::BadJson(_) => "bad-json",
            Self::NotObject => "not-object",
            Self::NoAppdata => "no-appdata",
            Self::BadAppdata => "bad-appdata",
        }
    }

    /// The refusal a server answers with.
    #[must_use]
    pub fn refusal(&self) -> Refusal {
        Refusal::new(RefusalCode::BadFrame, self.to_string())
            .with_detail(Object::new().with("error", self.code()))
    }
}

/// A frame that was read. It is data only: nothing in it names anything inside this program.
#[derive(Clone, PartialEq)]
pub struct Received {
    frame: Object,
    head: Head,
}

/// Everything but the frame itself, converted.
#[derive(Clone, PartialEq)]
struct Head {
    appdata: Payload,
    name: Option<String>,
    protocolver: Option<String>,
    release: Option<String>,
    hostname: Option<String>,
    platform: Option<String>,
    library: Option<String>,
    pid: Option<i64>,
    time: Option<i64>,
}

impl Head {
    fn of(frame: &Object) -> Result<Self, ReadFault> {
        let keys = Keys::of(frame);
        let text = |key| keys.get(key).and_then(Json::as_str).map(str::to_owned);
        let number = |key| keys.get(key).and_then(convert::text_or_number);
        let (appdata, name, protocolver) = if let Some(key) = keys.spelling("appdata") {
            (appdata_at(frame, key)?, text("name"), number("protocolver"))
        } else {
            let old = generation0::read(&keys).ok_or(ReadFault::NoAppdata)?;
            (Payload::Generation0(old.appdata), old.name, number("protocol_version"))
        };
        Ok(Self {
            appdata,
            name,
            protocolver,
            release: number("release"),
            hostname: text("hostname"),
            platform: text("platform"),
            library: text("pika_version"),
            pid: keys.get("pid").and_then(convert::integer),
            time: keys.get("time").and_then(convert::time),
        })
    }
}

/// Where the fields of the service are.
#[derive(Clone, PartialEq)]
enum Payload {
    /// Under this key of the frame, however it is spelled.
    Key(ByteString),
    /// Built from a frame of generation 0.
    Generation0(Object),
}

impl Received {
    /// Reads a message of at most `max_bytes` bytes. Large texts share the bytes of `body`.
    ///
    /// # Errors
    ///
    /// The first [`ReadFault`] in the order of its variants.
    pub fn read(body: &Bytes, max_bytes: u64) -> Result<Self, ReadFault> {
        let size = body.len() as u64;
        if size > max_bytes {
            return Err(ReadFault::TooLarge { size, limit: max_bytes });
        }
        let start = if body.starts_with(BYTE_ORDER_MARK) { BYTE_ORDER_MARK.len() } else { 0 };
        let text = ByteString::try_from(body.slice(start..)).map_err(|_| ReadFault::BadUtf8)?;
        match Json::parse(text)? {
            Json::Object(frame) => Ok(Self { head: Head::of(&frame)?, frame }),
            _ => Err(ReadFault::NotObject),
        }
    }

    /// The service it is for or from, if it says so.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.head.name.as_deref()
    }

    /// The protocol version of the sender, if it says so.
    #[must_use]
    pub fn protocolver(&self) -> Option<&str> {
        self.head.protocolver.as_deref()
    }

    /// The software version of the sender.
    #[must_use]
    pub fn release(&self) -> Option<&str> {
        self.head.release.as_deref()
    }

    /// The host of the sender.
    #[must_use]
    pub fn hostname(&self) -> Option<&str> {
        self.head.hostname.as_deref()
    }

    /// The operating system of the sender.
    #[must_use]
    pub fn platform(&self) -> Option<&str> {
        self.head.platform.as_deref()
    }

    /// The messaging library of the sender.
    #[must_use]
    pub fn library(&self) -> Option<&str> {
        self.head.library.as_deref()
    }

    /// The process id of the sender.
    #[must_use]
    pub fn pid(&self) -> Option<i64> {
        self.head.pid
    }

    /// When the frame was made, in Unix seconds.
    #[must_use]
    pub fn time(&self) -> Option<i64> {
        self.head.time
    }

    /// The fields of the service, as received.
    #[must_use]
    pub fn appdata(&self) -> &Object {
        static NONE: std::sync::LazyLock<Object> = std::sync::LazyLock::new(Object::new);
        match &self.head.appdata {
            Payload::Key(key) => self.frame.get(key).and_then(Json::as_object).unwrap_or(&NONE),
            Payload::Generation0(appdata) => appdata,
        }
    }

    /// The same with this content in one of its fields.
    #[must_use]
    pub(crate) fn with_content(mut self, field: &str, content: &[u8]) -> Self {
        let mut appdata = self.appdata().clone();
        appdata.insert(field, base64::encode(content));
        match &mut self.head.appdata {
            Payload::Key(key) => self.frame.insert(key.clone(), appdata),
            Payload::Generation0(own) => *own = appdata,
        }
        self
    }

    /// True for the first design, which is only served on request.
    #[must_use]
    pub fn is_generation0(&self) -> bool {
        matches!(self.head.appdata, Payload::Generation0(_))
    }

    /// `0` for the first design, else what the frame says its version is.
    #[must_use]
    pub fn generation(&self) -> Option<&str> {
        if self.is_generation0() { Some("0") } else { self.protocolver() }
    }

    /// True if this version can be read as ours. Serving generation 0 needs the server's consent beside.
    #[must_use]
    pub fn is_compatible(&self) -> bool {
        self.is_generation0() || is_compatible(self.protocolver())
    }

    /// The reply in it; none if there is no `retcode`.
    ///
    /// # Errors
    ///
    /// [`BadField`] names the first field that cannot be read.
    pub fn reply(&self) -> Option<Result<Reply, BadField>> {
        Reply::read(self.appdata())
    }

    /// The frame as it came, contents and all. Not for logs.
    #[must_use]
    pub fn whole(&self) -> &Object {
        &self.frame
    }

    /// The frame for a log: contents by size and digest only.
    #[must_use]
    pub fn terse(&self) -> Json {
        terse_frame(&self.frame)
    }

    /// The normalised frame, as tools print it.
    #[must_use]
    pub fn normalised(&self) -> Json {
        Object::new()
            .with("ok", true)
            .with("generation", self.generation())
            .with("compatible", self.is_compatible())
            .with("name", self.name())
            .with("protocolver", self.protocolver())
            .with("release", self.release())
            .with("hostname", self.hostname())
            .with("platform", self.platform())
            .with("library", self.library())
            .with("pid", self.pid())
            .with("time", self.time())
            .with("appdata", self.appdata().clone())
            .with("reply", self.normalised_reply())
            .into()
    }

    fn normalised_reply(&self) -> Json {
        match self.reply() {
            None => Json::Null,
            Some(Err(bad)) => Object::new().with("error", "bad-field").with("field", bad.field).into(),
            Some(Ok(reply)) => Object::new()
                .with("retcode", reply.retcode)
                .with("stdout", base64::encode(&reply.stdout))
                .with("stderr", base64::encode(&reply.stderr))
                .into(),
        }
    }
}

impl ReadFault {
    /// The failure, as tools print it beside normalised frames.
    #[must_use]
    pub fn normalised(&self) -> Json {
        Object::new().with("ok", false).with("error", self.code()).into()
    }
}

/// Terse, so that a payload cannot reach a log through a debug print.
impl std::fmt::Debug for Received {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.terse().compact())
    }
}

fn appdata_at(frame: &Object, key: &str) -> Result<Payload, ReadFault> {
    match frame.get(key) {
        Some(Json::Object(_)) => Ok(Payload::Key(key.into())),
        _ => Err(ReadFault::BadAppdata),
    }
}
