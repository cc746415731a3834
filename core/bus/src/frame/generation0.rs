//! The first design of the frame, read as if it were a later one (PRISEM services specification, 4.2 and 4.4).

use std::time::{SystemTime, UNIX_EPOCH};

use super::json::quoted;
use super::keys::Keys;
use super::{Answer, Identity, Json, Object, Received, base64};

/// The only program of the first design, and the service it became.
const RENAMED: (&str, &str) = ("ipgrep_anon", "anon");

/// What a frame of generation 0 says in the words of later ones.
pub(super) struct Translated {
    pub(super) name: Option<String>,
    pub(super) appdata: Object,
}

/// None if this is no frame of generation 0 either.
pub(super) fn read(keys: &Keys<'_>) -> Option<Translated> {
    match (keys.get("command"), keys.get("result")) {
        (Some(Json::Object(command)), _) => Some(request(command)),
        (_, Some(result @ Json::String(_))) => Some(reply(result)),
        _ => None,
    }
}

fn request(command: &Object) -> Translated {
    let program = command.get("program").and_then(Json::as_str);
    let name = program.map(|program| if program == RENAMED.0 { RENAMED.1 } else { program });
    let field = |key| command.get(key).filter(|value| !value.is_null()).cloned();
    let fields = [
        ("data", field("data")),
        ("netmap", Some(field("map").unwrap_or_else(|| "".into()))),
        ("stime", field("starttime")),
        ("etime", field("endtime")),
    ];
    let appdata = fields.into_iter().filter_map(|(key, value)| value.map(|value| (key, value))).collect();
    Translated { name: name.map(str::to_owned), appdata }
}

fn reply(result: &Json) -> Translated {
    let appdata = Object::new().with("retcode", 0_i64).with("stdout", result.clone()).with("stderr", "");
    Translated { name: None, appdata }
}

impl Answer {
    /// The reply to a request of generation 0, in its own shape. That shape has one text only: `stdout`, or, when
    /// the work failed without output, `stderr`, so that a failure is not an empty success.
    #[must_use]
    pub fn write_generation0(&self, request: &Received, identity: &Identity) -> Vec<u8> {
        let result = if self.retcode != 0 && self.stdout.is_empty() { &self.stderr } else { &self.stdout };
        let version = request.protocolver().unwrap_or("0");
        let server = format!("{} {}", identity.program, identity.release);
        format!(
            r#"{{"protocol_version":{},"server_name":{},"time":{:.6},"result":"{}"}}"#,
            quoted(version),
            quoted(&server),
            SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64(),
            base64::encode(result),
        )
        .into_bytes()
    }
}
