//! Who sends: the part of a frame and of a log line that says so (PRISEM services specification, 4.1 and 5.7).

use std::sync::OnceLock;

use rustix::system::Uname;
use uuid::Uuid;

/// This software's version; `release` of our frames.
const RELEASE: &str = env!("CARGO_PKG_VERSION");

/// What stands where the system gives an empty text, since strings in frames are never empty.
const UNKNOWN: &str = "unknown";

/// The sender of frames and log lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Name of this host, with a domain.
    pub hostname: String,
    /// Operating system version text, as `uname -v` prints it.
    pub platform: String,
    /// Process id.
    pub pid: u32,
    /// Version of this software.
    pub release: String,
    /// Messaging library and version, the frame's `pika_version`.
    pub library: String,
    /// The name the program was called by, without folder.
    pub program: String,
    /// UUID version 4 of this process; the same for all identities of one process.
    pub id: Uuid,
    /// Names the exact source this program was built from.
    pub build: String,
}

impl Identity {
    /// The identity of this process. `program` is the name it was called by; a folder in it is cut off. `domain` is
    /// appended to a host name without a dot.
    #[must_use]
    pub fn new(program: &str, domain: &str) -> Self {
        let system = rustix::system::uname();
        Self {
            hostname: qualified(&text_of(&system, Uname::nodename), domain),
            platform: text_of(&system, Uname::version),
            pid: std::process::id(),
            release: RELEASE.to_owned(),
            library: format!("polybus-{RELEASE}"),
            program: non_empty(program.rsplit('/').next().unwrap_or(program)),
            id: process_id(),
            build: build_id().to_owned(),
        }
    }
}

/// Names the exact source: what the build was given as `POLYBUS_BUILD`, else the release.
pub(crate) fn build_id() -> &'static str {
    option_env!("POLYBUS_BUILD").unwrap_or(RELEASE)
}

fn process_id() -> Uuid {
    static ID: OnceLock<Uuid> = OnceLock::new();
    *ID.get_or_init(Uuid::new_v4)
}

fn text_of(system: &Uname, field: impl Fn(&Uname) -> &std::ffi::CStr) -> String {
    non_empty(&field(system).to_string_lossy())
}

fn non_empty(text: &str) -> String {
    if text.is_empty() { UNKNOWN.to_owned() } else { text.to_owned() }
}

/// `host` with `domain`, if it has no dot and there is a domain.
fn qualified(host: &str, domain: &str) -> String {
    match domain.trim_matches('.') {
        "" => host.to_owned(),
        _ if host.contains('.') => host.to_owned(),
        domain => format!("{host}.{domain}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_without_a_dot_gets_the_domain() {
        assert_eq!(qualified("ws1", "localdomain"), "ws1.localdomain");
        assert_eq!(qualified("ws1.example.org", "localdomain"), "ws1.example.org");
        assert_eq!(qualified("ws1", ".example.org"), "ws1.example.org");
        assert_eq!(qualified("ws1", ""), "ws1");
    }

    #[test]
    fn one_process_has_one_id() {
        let identity = Identity::new("/usr/bin/anon_client", "example.org");
        assert_eq!(identity.program, "anon_client");
        assert_eq!(identity.id, Identity::new("logmon", "").id);
        assert_eq!(identity.id.get_version_num(), 4);
        assert!(identity.hostname.contains('.'));
        assert!(!identity.platform.is_empty());
    }
}
