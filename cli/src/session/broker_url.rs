//! The URL of a broker from the old programs' settings, and URLs that settings complete (PRISEM services specification,
//! 3.1).

use std::fmt::Write;

use polybus::config::{AmqpSettings, BusUrl, Loaded, Origin};

/// An option of a URL.
type UrlOption = (&'static str, String);

/// The URL of the broker that the settings describe.
pub(super) fn broker_url(loaded: &Loaded) -> String {
    let amqp = &loaded.settings.amqp;
    let scheme = if amqp.tls { "amqps" } else { "amqp" };
    let host = if amqp.host.contains(':') { format!("[{}]", amqp.host) } else { amqp.host.clone() };
    let url = format!("{scheme}://{}@{host}:{}/{}", account(amqp), amqp.port, encoded(&amqp.vhost));
    let options = heartbeat(amqp).into_iter().chain(options(loaded));
    options.fold(url, with_option)
}

/// `url` with what the settings say and it does not: prefix; and if it is a broker's, account, TLS files, exchange and
/// size. So passwords can stay out of URLs. Under an old name the heartbeat is that of the old programs (5.1) also where
/// nobody set one.
pub(super) fn completed(url: &BusUrl, loaded: &Loaded, by_old_name: bool) -> String {
    let whole = url.expose().to_owned();
    if !is_broker(url) {
        return if url.scheme() == "embedded" {
            whole
        } else {
            prefix(loaded).into_iter().fold(whole, with_option)
        };
    }
    let amqp = &loaded.settings.amqp;
    let with_account = match whole.split_once("://") {
        Some((scheme, rest))
            if !has_account(rest) && (given(loaded, "amqp.user") || amqp.password.is_some()) =>
        {
            format!("{scheme}://{}@{rest}", account(amqp))
        }
        _ => whole,
    };
    let heartbeat = heartbeat(amqp).filter(|_| by_old_name || given(loaded, "amqp.heartbeat"));
    heartbeat.into_iter().chain(options(loaded)).fold(with_account, with_option)
}

/// The URL with a reply address for each call, because some old peers repeat no correlation id (5.1). Other buses have no
/// such peers.
pub(super) fn with_own_reply_address(url: String) -> String {
    if is_broker(&BusUrl::new(url.as_str())) { with_option(url, ("reply", "each".to_owned())) } else { url }
}

/// Whether the URL is that of an AMQP broker.
pub(super) fn is_broker(url: &BusUrl) -> bool {
    matches!(url.scheme().as_str(), "amqp" | "amqps")
}

fn given(loaded: &Loaded, key: &str) -> bool {
    loaded.effective.get(key).is_some_and(|setting| setting.origin != Origin::Default)
}

fn has_account(rest: &str) -> bool {
    rest.split(['/', '?']).next().is_some_and(|authority| authority.contains('@'))
}

/// What stands in the URL already is stronger.
fn with_option(url: String, (key, value): UrlOption) -> String {
    let stands = [format!("?{key}="), format!("&{key}=")];
    if stands.iter().any(|start| url.contains(start)) {
        return url;
    }
    let mark = if url.contains('?') { '&' } else { '?' };
    format!("{url}{mark}{key}={}", encoded(&value))
}

/// Zero, which the old programs took for none at all, leaves it to the transport: a dead broker must be noticed.
fn heartbeat(amqp: &AmqpSettings) -> Option<UrlOption> {
    let seconds = amqp.heartbeat.as_secs();
    (seconds > 0).then(|| ("heartbeat", seconds.to_string()))
}

fn prefix(loaded: &Loaded) -> Option<UrlOption> {
    loaded.settings.prefix.clone().map(|prefix| ("prefix", prefix))
}

fn account(amqp: &AmqpSettings) -> String {
    let password = amqp.password.as_ref().map(|secret| format!(":{}", encoded(secret.expose())));
    format!("{}{}", encoded(&amqp.user), password.unwrap_or_default())
}

fn options(loaded: &Loaded) -> impl Iterator<Item = UrlOption> {
    let amqp = &loaded.settings.amqp;
    let files = [("tls_ca", &amqp.tls_ca), ("tls_cert", &amqp.tls_cert), ("tls_key", &amqp.tls_key)];
    let files = files.map(|(key, file)| Some((key, file.as_ref()?.to_string_lossy().into_owned())));
    let exchange = Some(amqp.request_exchange.clone()).filter(|exchange| !exchange.is_empty());
    // The limit of a broker cannot be read; one who states a size knows that his broker takes it.
    let size = given(loaded, "max_bytes").then(|| ("max_message", loaded.settings.max_bytes.to_string()));
    let others = [exchange.map(|exchange| ("exchange", exchange)), size, prefix(loaded)];
    files.into_iter().chain(others).flatten()
}

/// Everything but unreserved characters as `%XX` (RFC 3986, 2.1).
fn encoded(text: &str) -> String {
    text.bytes().fold(String::new(), |mut out, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            // Writing to a text cannot fail.
            let _written = write!(out, "%{byte:02X}");
        }
        out
    })
}

#[cfg(test)]
mod tests {
    use polybus::config::{Family, Loaded, Loader};

    use super::*;

    fn loaded(flags: &[(&str, &str)]) -> Loaded {
        let loader =
            Loader::new(Family::Prisem).directory("/nonexistent").system_file("/nonexistent/polybus.toml");
        flags.iter().fold(loader, |loader, (key, value)| loader.flag("--test", key, *value)).load().unwrap()
    }

    #[test]
    fn the_settings_of_a_broker_make_a_url() {
        let url = |flags| broker_url(&loaded(flags));
        let plain = url(&[("amqp.password", "p@ss/word")]);
        assert_eq!(plain, "amqp://rpc_user:p%40ss%2Fword@localhost:5672/%2F?heartbeat=60");
        let more = url(&[
            ("amqp.server", "[2001:db8::1]:5673"),
            ("amqp.tls", "yes"),
            ("amqp.tls_ca", "a b.pem"),
            ("amqp.request_exchange", "rpc"),
            ("amqp.vhost", "v"),
        ]);
        assert_eq!(more, "amqps://rpc_user@[2001:db8::1]:5673/v?heartbeat=60&tls_ca=a%20b.pem&exchange=rpc");
    }

    #[test]
    fn a_url_is_completed_and_never_overruled() {
        let url = |text: &str, flags| completed(&BusUrl::new(text), &loaded(flags), false);
        assert_eq!(url("amqp://mq.example.org", &[]), "amqp://mq.example.org");
        let secret = &[("amqp.password", "s3"), ("amqp.user", "me"), ("amqp.request_exchange", "rpc")];
        assert_eq!(url("amqp://mq.example.org/v", secret), "amqp://me:s3@mq.example.org/v?exchange=rpc");
        assert_eq!(
            url("amqps://you:x@mq.example.org/v?exchange=e&heartbeat=5", secret),
            "amqps://you:x@mq.example.org/v?exchange=e&heartbeat=5"
        );
        assert_eq!(url("nats://mq.example.org", secret), "nats://mq.example.org");
        assert_eq!(url("embedded:", secret), "embedded:");
        let tenant = &[("prefix", "t1"), ("max_bytes", "1000"), ("amqp.heartbeat", "0")];
        assert_eq!(url("nats://mq.example.org?a=b", tenant), "nats://mq.example.org?a=b&prefix=t1");
        assert_eq!(url("amqp://mq.example.org", tenant), "amqp://mq.example.org?max_message=1000&prefix=t1");
    }

    #[test]
    fn under_an_old_name_the_heartbeat_is_the_old_one() {
        let url = |text: &str, flags| completed(&BusUrl::new(text), &loaded(flags), true);
        assert_eq!(url("amqp://mq.example.org", &[]), "amqp://mq.example.org?heartbeat=60");
        assert_eq!(url("amqp://mq.example.org?heartbeat=7", &[]), "amqp://mq.example.org?heartbeat=7");
        let (set, none) = (&[("amqp.heartbeat", "20")], &[("amqp.heartbeat", "0")]);
        assert_eq!(url("amqp://mq.example.org", set), "amqp://mq.example.org?heartbeat=20");
        assert_eq!(url("amqp://mq.example.org", none), "amqp://mq.example.org");
        assert_eq!(url("nats://mq.example.org", set), "nats://mq.example.org");
    }

    #[test]
    fn a_caller_can_have_a_reply_address_of_its_own() {
        let each = |url: &str| with_own_reply_address(url.to_owned());
        assert_eq!(each("amqp://mq.example.org"), "amqp://mq.example.org?reply=each");
        assert_eq!(each("amqp://mq.example.org?reply=direct"), "amqp://mq.example.org?reply=direct");
        assert_eq!(each("nats://mq.example.org"), "nats://mq.example.org");
    }
}
