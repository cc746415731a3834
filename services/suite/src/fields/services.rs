//! The fields of each service, declared once: name, kind, default, in the order of the specification.

use bytes::Bytes;
use polybus::frame::{Json, Object, Refusal, RefusalCode};

use super::kind::{self, Iff};
use super::query::{RequestFields, digest};

/// Turns a declaration into a struct with typed fields, its reader and its canonical parameters.
macro_rules! fields {
    ($(#[$doc:meta])* $name:ident $service:literal, $code:ident without $needed:ident:
     $($(#[$field_doc:meta])* $field:ident: $kind:ident $(= $default:literal)?),* $(,)?) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub struct $name {
            $($(#[$field_doc])* pub $field: fields!(@type $kind),)*
        }

        impl RequestFields for $name {
            const SERVICE: &'static str = $service;

            fn read_beside(appdata: &Object, beside: Option<&str>) -> Result<Self, Refusal> {
                let fields = Self {
                    $($field: fields!(@read $kind appdata, stringify!($field) $(, $default)?)?,)*
                };
                let needed = stringify!($needed);
                if fields.$needed.is_empty() && beside != Some(needed) && !fields.usage {
                    let refusal = Refusal::new(RefusalCode::$code, format!("field {needed} is empty"));
                    return Err(refusal.with_field(needed));
                }
                Ok(fields)
            }

            fn params(&self) -> Object {
                let entries = [$((stringify!($field), fields!(@json $kind self.$field)),)*];
                entries.into_iter().collect()
            }
        }
    };
    (@type flag) => { bool };
    (@type int) => { i64 };
    (@type content) => { Bytes };
    (@type text) => { Option<String> };
    (@type iff) => { Option<Iff> };
    (@read $kind:ident $appdata:ident, $field:expr $(, $default:literal)?) => {
        kind::$kind($appdata, $field $(, $default)?)
    };
    (@json content $value:expr) => { digest(&$value) };
    (@json text $value:expr) => { Json::from($value.as_deref()) };
    (@json iff $value:expr) => { Json::from($value.map(Iff::as_str)) };
    (@json $kind:ident $value:expr) => { Json::from($value) };
}

fields! {
    /// A request to mask, count or classify the identifiers of a text.
    AnonFields "anon", NoData without data:
    /// The text.
    data: content,
    /// The map; empty for the server's own.
    netmap: content,
    /// Answer with the classification object.
    json: flag = false,
    /// Append the statistics block.
    stats: flag = false,
    /// Answer with the usage text.
    usage: flag = false,
}

fields! {
    /// A request to correlate the identifiers of a text.
    CrosscorFields "crosscor", NoData without data:
    /// The text.
    data: content,
    /// The map; empty for the server's own.
    netmap: content,
    /// Whose addresses the map holds.
    iff: iff,
    /// Without effect: statistics are always there.
    stats: flag = false,
    /// Answer with the usage text.
    usage: flag = false,
}

fields! {
    /// A request for the flows from and to a list of addresses.
    RwfindFields "rwfind", NoSearch without searchfile:
    /// A leftover of old clients, recorded and ignored.
    user: text,
    /// Start of the window in Unix seconds; 0 for seven days before its end.
    stime: int = 0,
    /// End of the window in Unix seconds; 0 for now.
    etime: int = 0,
    /// Answer with JSON instead of text.
    json: flag = true,
    /// Text without preamble.
    noheader: flag = false,
    /// Pairs in the statistics; 0 for none.
    topn: int = 0,
    /// The search list, one address or CIDR a line.
    searchfile: content,
    /// Answer with the usage text.
    usage: flag = false,
}

fields! {
    /// A request for what is known about each of a list of indicators.
    CifbulkFields "cifbulk", NoSearch without searchfile:
    /// Start of the window in Unix seconds.
    stime: int = 0,
    /// End of the window in Unix seconds.
    etime: int = 0,
    /// Without effect on JSON.
    noheader: flag = false,
    /// Add the key `stats`.
    stats: flag = false,
    /// Leave out records outside the window.
    window: flag = false,
    /// The search list, one indicator a line.
    searchfile: content,
    /// Answer with the usage text.
    usage: flag = false,
}

fields! {
    /// A request for the log events that mention a list of addresses.
    LmsearchFields "lmsearch", NoSearch without searchfile:
    /// Start of the window in Unix seconds.
    stime: int = 0,
    /// End of the window in Unix seconds.
    etime: int = 0,
    /// Accepted; the answer is always JSON.
    json: flag = true,
    /// Without effect on JSON.
    noheader: flag = false,
    /// Most records of the answer; 0 for all.
    limit: int = 0,
    /// The search list, one address or CIDR a line.
    searchfile: content,
    /// Answer with the usage text.
    usage: flag = false,
}
