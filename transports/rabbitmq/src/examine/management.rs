//! What only the management interface tells: alarms, nodes, policies, members, the clock.

use std::collections::BTreeMap;

use data_encoding::BASE64;
use jiff::Timestamp;
use polybus_contract::Result;
use serde_json::Value;

use super::http::{self, Answer, Site};
use super::traits::Traits;
use super::words::{ALARM, CLOCK_SKEW, MANAGEMENT, NODE_DOWN, QUEUE_LIMIT};
use super::{Findings, SKEW};
use crate::config::{Config, decoded, place_of, wrong};

/// Where the interface listens, without and with TLS.
const PORTS: (u16, u16) = (15_672, 15_671);

/// The management interface of a broker.
pub(super) struct Management<'a> {
    config: &'a Config,
    site: Site,
}

impl<'a> Management<'a> {
    /// Asks whether it is there and answers this user. Its clock is compared on the way.
    pub(super) async fn open(url: Option<&str>, config: &'a Config, found: &mut Findings) -> Option<Self> {
        let Some(url) = url else {
            let none = "no --management was given";
            found.push(MANAGEMENT.unknown("broker", none));
            found.push(CLOCK_SKEW.unknown("broker", "AMQP does not tell the broker's time"));
            return None;
        };
        let site = match site(url, config) {
            Ok(site) => site,
            Err(error) => {
                found.push(MANAGEMENT.found("management", error.detail().unwrap_or("bad URL")));
                return None;
            }
        };
        let management = Self { config, site };
        let before = Timestamp::now();
        match management.get("/api/overview").await {
            Ok(answer) if answer.status.is_success() => {
                found.push(MANAGEMENT.fine("management", "it answers"));
                found.extend(answer.date.map(|date| skew(date, before, Timestamp::now())));
                Some(management)
            }
            Ok(answer) => {
                found.push(MANAGEMENT.found("management", refusal(&answer)));
                None
            }
            Err(error) => {
                found.push(MANAGEMENT.found("management", error.detail().unwrap_or("no answer")));
                None
            }
        }
    }

    async fn get(&self, path: &str) -> Result<Answer> {
        http::get(self.config, &self.site, path).await
    }

    /// Alarms and nodes. Users need the tag `monitoring` for that.
    pub(super) async fn look_at_nodes(&self, found: &mut Findings) {
        let nodes = match self.get("/api/nodes").await {
            Ok(answer) if answer.status.is_success() => answer.json,
            Ok(answer) => return found.push(ALARM.unknown("nodes", refusal(&answer))),
            Err(error) => return found.push(ALARM.unknown("nodes", error.to_string())),
        };
        for node in nodes.as_array().into_iter().flatten() {
            found.extend(judge_node(node));
        }
    }

    /// Whether the virtual host has as many queues as it may. Newer brokers tell that nowhere else before it is too late.
    pub(super) async fn look_at_limits(&self, found: &mut Findings) {
        let vhost = encoded(&self.config.vhost);
        let Ok(limits) = self.get(&format!("/api/vhost-limits/{vhost}")).await else { return };
        let Some(most) = limits.json[0]["value"]["max-queues"].as_u64() else { return };
        let Ok(page) = self.get(&format!("/api/queues/{vhost}?page=1&page_size=1&columns=name")).await else {
            return;
        };
        let Some(now) = page.json["total_count"].as_u64() else { return };
        let (object, told) =
            (format!("virtual host {}", self.config.vhost), format!("{now} queues of {most}"));
        found.push(if now >= most {
            QUEUE_LIMIT.found(object, told)
        } else {
            QUEUE_LIMIT.fine(object, told)
        });
    }

    /// A queue as the interface shows it; `None`: it does not.
    pub(super) async fn queue(&self, wire: &str) -> Option<Traits> {
        let path = format!("/api/queues/{}/{}", encoded(&self.config.vhost), encoded(wire));
        let answer = self.get(&path).await.ok()?;
        answer.status.is_success().then(|| traits(&answer.json))
    }
}

fn refusal(answer: &Answer) -> String {
    let reason = answer.json["reason"].as_str().or_else(|| answer.json["error"].as_str()).unwrap_or_default();
    format!("HTTP {}: {reason}", answer.status.as_u16()).trim_end_matches(": ").to_owned()
}

/// The date has whole seconds: it may be one behind what it was when it was written.
fn skew(date: Timestamp, before: Timestamp, after: Timestamp) -> polybus_contract::Finding {
    let (date, before, after) = (date.as_second(), before.as_second(), after.as_second());
    let apart = if date < before - 1 { date - before } else { (date - after).max(0) };
    let told = format!("the broker's clock is {apart} s ahead of ours");
    if apart.abs() > SKEW { CLOCK_SKEW.found("broker", told) } else { CLOCK_SKEW.fine("broker", told) }
}

fn judge_node(node: &Value) -> Findings {
    let object = format!("node {}", node["name"].as_str().unwrap_or("?"));
    if node["running"] == Value::Bool(false) {
        return vec![NODE_DOWN.found(object, "it does not run")];
    }
    let raised = |alarm: &str| node[alarm] == Value::Bool(true);
    let told = format!(
        "memory {} of {} bytes, {} bytes of disk free, {} needed",
        node["mem_used"], node["mem_limit"], node["disk_free"], node["disk_free_limit"]
    );
    let alarm = match (raised("mem_alarm"), raised("disk_free_alarm")) {
        (false, false) => ALARM.fine(object.clone(), told),
        (true, false) => ALARM.found(object.clone(), format!("alarm of memory: {told}")),
        (false, true) => ALARM.found(object.clone(), format!("alarm of disk: {told}")),
        (true, true) => ALARM.found(object.clone(), format!("alarms of memory and disk: {told}")),
    };
    vec![NODE_DOWN.fine(object, "it runs"), alarm]
}

fn traits(json: &Value) -> Traits {
    let table = |value: &Value, without: &str| -> BTreeMap<String, String> {
        let entries = value.as_object().into_iter().flatten();
        entries
            .map(|(name, value)| (name.strip_prefix(without).unwrap_or(name).to_owned(), plain(value)))
            .collect()
    };
    let mut arguments = table(&json["arguments"], "x-");
    if let Some(kind) = json["type"].as_str() {
        arguments.entry("queue-type".to_owned()).or_insert_with(|| kind.to_owned());
    }
    let count = |name: &str| json[name].as_array().map(Vec::len);
    Traits {
        durable: json["durable"] == Value::Bool(true),
        auto_delete: json["auto_delete"] == Value::Bool(true),
        arguments,
        policy: table(&json["effective_policy_definition"], ""),
        ready: json["messages_ready"].as_u64().unwrap_or(0),
        consumers: json["consumers"].as_u64().unwrap_or(0),
        state: json["state"].as_str().unwrap_or_default().to_owned(),
        members: count("members").zip(count("online")),
    }
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// `http[s]://[USER:PASSWORD@]HOST[:PORT][/PATH]`. Without a user it is that of the bus.
fn site(url: &str, config: &Config) -> Result<Site> {
    const SHAPE: &str = "the management interface is http://HOST:PORT or https://HOST:PORT";
    let (scheme, rest) = url.split_once("://").ok_or_else(|| wrong("--management", SHAPE))?;
    let tls = match scheme {
        "http" => false,
        "https" => true,
        _ => return Err(wrong(scheme, SHAPE)),
    };
    let (login, place) = rest.rsplit_once('@').map_or((None, rest), |(login, place)| (Some(login), place));
    let (authority, base) = place.split_at(place.find('/').unwrap_or(place.len()));
    let named = authority.rsplit(']').next().is_some_and(|end| end.contains(':'));
    let port = if tls { PORTS.1 } else { PORTS.0 };
    let authority = if named { authority.to_owned() } else { format!("{authority}:{port}") };
    let (host, port) = place_of(&authority, tls)?;
    let (user, password) = match login {
        None => (config.user.clone(), config.password.clone()),
        Some(login) => {
            let (user, password) = login.split_once(':').unwrap_or((login, ""));
            let text = |text| {
                decoded(text).ok_or_else(|| {
                    wrong("--management", "a percent sign is followed by two hexadecimal digits")
                })
            };
            (text(user)?, text(password)?)
        }
    };
    let authorization = format!("Basic {}", BASE64.encode(format!("{user}:{password}").as_bytes()));
    Ok(Site { host, port, tls, base: base.trim_end_matches('/').to_owned(), authorization })
}

/// A name in a path (RFC 3986, 2.1).
fn encoded(name: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    let escape = |byte: u8| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") };
    name.bytes().map(escape).collect()
}

#[cfg(test)]
mod tests {
    use polybus_contract::Grade;
    use serde_json::json;

    use super::*;

    #[test]
    fn where_and_who() {
        let config = Config::from_url("amqp://me:s3cret@mq.example.org/").unwrap();
        let own = site("http://mq.example.org", &config).unwrap();
        assert_eq!((own.host.as_str(), own.port, own.tls), ("mq.example.org", 15_672, false));
        assert_eq!(own.authorization, format!("Basic {}", BASE64.encode(b"me:s3cret")));
        let other = site("https://you:p%40@mq.example.org:443/rabbit/", &config).unwrap();
        assert_eq!((other.port, other.base.as_str()), (443, "/rabbit"));
        assert_eq!(other.authorization, format!("Basic {}", BASE64.encode(b"you:p@")));
        for url in ["mq.example.org", "ftp://u:s3cret@h", "http://u:s3cret%@h", "http://u:s3cret@h:0"] {
            let error = site(url, &config).err().unwrap().to_string();
            assert!(!error.contains("s3cret"), "{error}");
        }
        assert_eq!(encoded("a/b c"), "a%2Fb%20c");
    }

    #[test]
    fn nodes_and_their_alarms() {
        let grade = |node: Value| {
            judge_node(&node)
                .into_iter()
                .map(|finding| (finding.diagnosis.code, finding.grade))
                .max_by_key(|found| found.1)
        };
        assert_eq!(
            grade(json!({"name": "a", "running": true, "mem_alarm": true})),
            Some(("alarm", Grade::Fault))
        );
        assert_eq!(grade(json!({"name": "a", "disk_free_alarm": true})), Some(("alarm", Grade::Fault)));
        assert_eq!(grade(json!({"name": "a", "running": false})), Some(("node-down", Grade::Warning)));
        assert_eq!(judge_node(&json!({"name": "a", "running": true}))[1].grade, Grade::Fine);
    }

    #[test]
    fn clocks_are_compared_in_whole_seconds() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let grade = |date, before, after| skew(at(date), at(before), at(after)).grade;
        assert_eq!(grade(999, 1000, 1001), Grade::Fine);
        assert_eq!(grade(1006, 1000, 1001), Grade::Fine);
        assert_eq!(grade(1008, 1000, 1001), Grade::Warning);
        assert_eq!(grade(990, 1000, 1001), Grade::Warning);
    }

    #[test]
    fn a_queue_is_read() {
        let queue = traits(&json!({
            "durable": true, "auto_delete": false, "type": "quorum", "messages_ready": 3, "consumers": 1,
            "arguments": {"x-delivery-limit": 5}, "state": "running", "members": ["a", "b"], "online": ["a"],
            "effective_policy_definition": {"message-ttl": 1000, "overflow": "drop-head"},
        }));
        assert_eq!((queue.kind(), queue.number("delivery-limit")), ("quorum", Some(5)));
        assert_eq!((queue.word("overflow"), queue.number("message-ttl")), (Some("drop-head"), Some(1000)));
        assert_eq!((queue.members, queue.ready), (Some((2, 1)), 3));
    }
}
