//! `host`, `host:port` and `[v6]:port`.

/// Host and port of a server text; none if it is no such text.
pub(super) fn split(text: &str) -> Option<(&str, Option<u16>)> {
    if text.is_empty() || text.contains(|sign: char| sign.is_whitespace() || matches!(sign, '/' | '@')) {
        return None;
    }
    if let Some(rest) = text.strip_prefix('[') {
        let (host, port) = rest.split_once(']')?;
        return match port.strip_prefix(':') {
            Some(port) => Some((host, Some(number(port)?))),
            None => port.is_empty().then_some((host, None)),
        };
    }
    match text.split_once(':') {
        // More than one colon and no brackets: an IPv6 address without port.
        Some((_, port)) if port.contains(':') => Some((text, None)),
        Some((host, port)) if !host.is_empty() => Some((host, Some(number(port)?))),
        Some(_) => None,
        None => Some((text, None)),
    }
}

fn number(port: &str) -> Option<u16> {
    port.parse().ok().filter(|port| *port > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers() {
        for (text, want) in [
            ("mq.example.org", Some(("mq.example.org", None))),
            ("mq.example.org:5673", Some(("mq.example.org", Some(5673)))),
            ("[2001:db8::1]:5673", Some(("2001:db8::1", Some(5673)))),
            ("[2001:db8::1]", Some(("2001:db8::1", None))),
            ("2001:db8::1", Some(("2001:db8::1", None))),
            ("", None),
            (":5672", None),
            ("mq.example.org:", None),
            ("mq.example.org:0", None),
            ("mq.example.org:70000", None),
            ("[2001:db8::1", None),
            ("[2001:db8::1]5672", None),
            ("amqp://mq.example.org", None),
            ("a b", None),
        ] {
            assert_eq!(split(text), want, "{text}");
        }
    }
}
