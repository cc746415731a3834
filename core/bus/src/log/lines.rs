//! The lines that every program writes alike (PRISEM services specification, 5.7 and 9.5).

use std::fmt;
use std::time::Duration;

use jiff::Timestamp;

use crate::frame::Identity;

/// The identity line: first line of every process, and again of a server for each request.
#[must_use]
pub fn identity_line(identity: &Identity) -> String {
    let Identity { program, library, release, hostname, pid, build, .. } = identity;
    let date = Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S+00:00");
    format!(
        "{program} program={program} pika_version={library} release={release} host={hostname} pid={pid} \
         date={date} build={build}"
    )
}

/// The line that ends a call, on both sides. Time estimates read it, so its form is fixed.
#[derive(Clone, Copy, Debug)]
pub struct CallLine<'a> {
    /// The service's short name.
    pub service: &'a str,
    /// `client` or `server`.
    pub side: &'a str,
    /// The retcode, or the exit code of a call without reply.
    pub retcode: i64,
    /// How long it took.
    pub elapsed: Duration,
    /// Bytes of the request frame.
    pub request_bytes: u64,
    /// Bytes of the reply frame.
    pub reply_bytes: u64,
    /// The call's correlation id, `-` without one.
    pub correlation_id: &'a str,
}

impl fmt::Display for CallLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { service, side, retcode, elapsed, request_bytes, reply_bytes, correlation_id } = self;
        write!(
            f,
            "call service={service} side={side} retcode={retcode} seconds={:.3} request_bytes={request_bytes} \
             reply_bytes={reply_bytes} correlation_id={correlation_id}",
            elapsed.as_secs_f64()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn call_line_has_the_fixed_form() {
        let line = CallLine {
            service: "anon",
            side: "client",
            retcode: 0,
            elapsed: Duration::from_micros(1_234_567),
            request_bytes: 10,
            reply_bytes: 20,
            correlation_id: "-",
        };
        assert_eq!(
            line.to_string(),
            "call service=anon side=client retcode=0 seconds=1.235 request_bytes=10 reply_bytes=20 correlation_id=-"
        );
    }
}
