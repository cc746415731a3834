//! Each source, their order, errors, and that nothing secret is shown.

use std::path::PathBuf;
use std::time::Duration;

use figment::providers::Serialized;
use tempfile::TempDir;

use super::*;
use crate::frame::Json;
use crate::log::Zone;

/// A folder with files, and a loader that sees nothing else.
struct Place {
    folder: TempDir,
    variables: Vec<(String, String)>,
}

impl Place {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), variables: Vec::new() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn file(self, name: &str, content: impl AsRef<[u8]>) -> Self {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
        self
    }

    fn variable(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    fn loader(&self, family: Family) -> Loader {
        Loader::new(family)
            .environment(self.variables.clone())
            .directory(self.folder.path())
            .system_file(self.path("etc/polybus.toml"))
    }

    fn load(&self, family: Family) -> Loaded {
        self.loader(family).load().unwrap()
    }

    fn error(&self) -> ConfigError {
        self.loader(Family::Prisem).load().unwrap_err()
    }
}

fn value(loaded: &Loaded, key: &str) -> String {
    loaded.effective.get(key).unwrap().value.compact()
}

fn origin(loaded: &Loaded, key: &str) -> String {
    loaded.effective.get(key).unwrap().origin.to_string()
}

#[test]
fn defaults_are_those_of_the_specification() {
    let Settings { bus, domain, timeout, max_bytes, durable, log, service, amqp, .. } =
        Place::new().load(Family::Prisem).settings;
    assert_eq!((bus, domain.as_str(), timeout), (None, "localdomain", Some(Duration::from_mins(30))));
    assert_eq!((max_bytes, durable, log.exchange.as_str()), (67_108_864, None, "logs"));
    assert_eq!(log.zone(), Zone::Utc);
    assert_eq!((service.jobs, service.max_attempts), (1, 5));
    assert_eq!((service.drain, service.job_limit), (Duration::from_secs(30), Duration::from_mins(25)));
    assert_eq!((amqp.host.as_str(), amqp.port, amqp.vhost.as_str()), ("localhost", 5672, "/"));
    assert_eq!((amqp.user.as_str(), amqp.password, amqp.request_exchange.as_str()), ("rpc_user", None, ""));
    assert_eq!(amqp.heartbeat, Duration::from_mins(1));
}

#[test]
fn the_new_file_is_typed_and_strict() {
    let toml = "bus = 'nats://n1.example.org'\ntimeout = 2.5\n[service]\njobs = 4\ndead_letter = 'Full'\n[log]\nlevel='debug'\n";
    let loaded = Place::new().file("polybus.toml", toml).load(Family::Polybus);
    assert_eq!(loaded.settings.bus, Some(BusUrl::new("nats://n1.example.org")));
    assert_eq!(loaded.settings.timeout, Some(Duration::from_millis(2500)));
    assert_eq!(loaded.settings.service.jobs, 4);
    assert_eq!(loaded.settings.service.dead_letter, crate::DeadLetterPolicy::Full);
    assert_eq!(loaded.settings.log.level, crate::log::Level::Debug);
    assert!(origin(&loaded, "service.jobs").ends_with("/polybus.toml"));
    assert_eq!(origin(&loaded, "domain"), "default");
}

#[test]
fn names_come_in_an_array_or_with_commas_between_them() {
    let named = |place: Place| {
        let loaded = place.load(Family::Polybus);
        (loaded.settings.up.services.clone(), value(&loaded, "up.services"))
    };
    let file = |text: &str| Place::new().file("polybus.toml", format!("[up]\nservices = {text}\n"));
    let both = (Some(vec!["anon".to_owned(), "crosscor".to_owned()]), r#"["anon","crosscor"]"#.to_owned());
    assert_eq!(named(file("['anon', 'crosscor']")), both);
    assert_eq!(named(file("'anon, crosscor'")), both);
    assert_eq!(named(file("['other']").variable("POLYBUS_UP_SERVICES", "anon,,crosscor,")), both);
    assert_eq!(named(file("[]")), (Some(Vec::new()), "[]".to_owned()));
    assert_eq!(named(file("''")), (None, "null".to_owned()));
    assert_eq!(Place::new().load(Family::Polybus).settings.up, super::UpSettings::default());
}

#[test]
fn errors_of_the_new_file_name_place_key_and_expectation() {
    for (toml, want) in [
        ("[amqp]\nport = 's3cret'", "amqp.port: expected an integer from 1 to 65535"),
        ("[amqp]\nport = 0", "amqp.port: expected an integer from 1 to 65535"),
        ("[amqp]\npassword = 5", "amqp.password: expected a text"),
        ("[amqp]\ntls = 's3cret'", "amqp.tls: expected true or false"),
        ("[amqp]\nsever = 's3cret'", "amqp.sever: unknown key, known are amqp.server, amqp.port"),
        ("amqp = 's3cret'", "amqp: expected a table"),
        ("bus = {}", "bus: expected a bus URL such as amqps://mq.example.org"),
        ("timeout = -1", "timeout: expected seconds from 0 to 31536000"),
        ("timeout = nan", "timeout: expected seconds from 0 to 31536000"),
        ("a = 1", "a: unknown key"),
        ("durable = 2020-01-01", "durable: expected true or false"),
        ("[up]\nservices = [1]", "up.services: expected names, in an array or with commas between them"),
        ("\n  password = s3cret", "line 2, column"),
        ("password = 's3cret", "line 1, column"),
    ] {
        let place = Place::new().file("polybus.toml", toml);
        let error = place.error();
        let text = error.to_string();
        assert!(text.starts_with(&format!("{}: ", place.path("polybus.toml").display())), "{text}");
        assert!(text.contains(want), "{text}");
        assert!(!text.contains("s3cret") && !text.contains('\n'), "{text}");
        assert_eq!(error.exit_code(), 78);
    }
}

#[test]
fn the_new_file_is_the_first_of_its_places() {
    let file = |domain: &str| format!("domain = '{domain}'");
    let place = Place::new().file("etc/polybus.toml", file("system"));
    assert_eq!(place.load(Family::Polybus).settings.domain, "system");
    let home = place.path("home").display().to_string();
    let place = place.file("home/.config/polybus/polybus.toml", file("home")).variable("HOME", &home);
    assert_eq!(place.load(Family::Polybus).settings.domain, "home");
    let xdg = place.path("xdg").display().to_string();
    let place = place.file("xdg/polybus/polybus.toml", file("xdg")).variable("XDG_CONFIG_HOME", &xdg);
    assert_eq!(place.load(Family::Polybus).settings.domain, "xdg");
    let place = place.file("polybus.toml", file("here"));
    assert_eq!(place.load(Family::Polybus).settings.domain, "here");
    let place = place.file("home/named.toml", file("named")).variable("POLYBUS_CONFIG", "~/named.toml");
    assert_eq!(place.load(Family::Polybus).settings.domain, "named");
    let missing = Place::new().variable("POLYBUS_CONFIG", "none.toml").error();
    assert!(missing.to_string().contains("none.toml: cannot be read: "), "{missing}");
}

#[test]
fn the_old_file_knows_both_spellings_and_typed_words() {
    let yaml = "---\n# a comment\nUSER: 007\nRPC_USER: 0123\nDOMAIN: example.org\nDISPLAY_UTC: No\nRPC_TLS: ON\n\
                RPC_QUEUEBASE: rpc\nPWD: 'a b'\nRPC_VHOST: ~\nSERVER: '[2001:db8::1]:5673'\nother: [1, {a: b}]\n\
                ? [x, y]\n: z\nRPC_RPCEXCHANGE: ''\n";
    let loaded = Place::new().file("rpc_config.yml", yaml).load(Family::Prisem);
    let Settings { domain, log, amqp, .. } = &loaded.settings;
    assert_eq!((amqp.user.as_str(), domain.as_str(), log.zone()), ("0123", "example.org", Zone::Local));
    assert_eq!((amqp.tls, amqp.vhost.as_str()), (true, "/"));
    assert_eq!(amqp.password.as_ref().map(Secret::expose), Some("a b"));
    assert_eq!((amqp.host.as_str(), amqp.port), ("2001:db8::1", 5673));
    assert_eq!(loaded.notices.len(), 1, "{:?}", loaded.notices);
    assert!(loaded.notices[0].ends_with("rpc_config.yml: other is not known"));
}

#[test]
fn an_old_file_that_is_no_mapping_stops_the_program() {
    for (yaml, want) in [
        (&b""[..], "is not a mapping"),
        (b"# only a comment\n", "is not a mapping"),
        (b"- RPC_PWD: s3cret\n", "is not a mapping"),
        (b"s3cret", "is not a mapping"),
        (b"RPC_PWD: 's3cret\n", "not YAML"),
        (b"RPC_PWD: [s3cret]\n", "RPC_PWD: expected a text"),
        (b"a: &x s3cret\nRPC_PWD: *x\n", "RPC_PWD: expected a text"),
        (b"RPC_TLS: s3cret\n", "RPC_TLS: expected true or false"),
        (b"PORT: 1\nRPC_PORT: 99999\n", "RPC_PORT: expected an integer from 1 to 65535"),
        (b"SERVER: 'mq:s3cret'\n", "SERVER: expected host, host:port or [v6]:port"),
        (b"\xff", "is not UTF-8"),
    ] {
        let error = Place::new().file("rpc_config.yml", yaml).error();
        assert!(
            error.to_string().contains("rpc_config.yml: ") && error.to_string().contains(want),
            "{error}"
        );
        assert!(!error.to_string().contains("s3cret"), "{error}");
        assert_eq!(error.exit_code(), 78);
    }
    let large = "#".repeat(1 << 20) + "\n";
    assert!(Place::new().file("rpc_config.yml", large).error().to_string().contains("larger than 1 MiB"));
}

#[test]
fn the_old_file_is_the_first_of_its_places() {
    let file = |user: &str| format!("RPC_USER: {user}\n");
    let user = |place: &Place| place.load(Family::Prisem).settings.amqp.user;
    let place = Place::new();
    let home = place.path("home").display().to_string();
    let place = place.file("home/.rpc_config.yml", file("home")).variable("HOME", &home);
    assert_eq!(user(&place), "home");
    let place = place.file("rpc_config.yml", file("here"));
    assert_eq!(user(&place), "here");
    let place = place.variable("RPC_CONFIG", "~/none");
    assert_eq!(user(&place), "here");
    assert!(place.load(Family::Prisem).notices[0].contains("home/none: named by RPC_CONFIG"));
    let place = place.file("home/folder/rpc_config.yml", file("folder")).variable("RPC_CONFIG", "~/folder");
    assert_eq!(user(&place), "folder");
    let place = place.file("home/file.yml", file("file")).variable("RPC_CONFIG", "~/file.yml");
    assert_eq!(user(&place), "file");
}

#[test]
fn a_folder_in_the_place_of_a_file_is_an_error() {
    let place = Place::new().file("rpc_config.yml/inside", "");
    assert!(place.error().to_string().contains("rpc_config.yml: cannot be read: "));
}

#[test]
fn layers_win_over_weaker_ones_and_families_within_a_layer() {
    let place = Place::new()
        .file("polybus.toml", "domain = 'toml'\n[amqp]\nuser = 'toml'\n")
        .file("rpc_config.yml", "RPC_DOMAIN: yaml\nRPC_USER: yaml\n");
    let user = |family| place.load(family).settings.amqp.user;
    assert_eq!((user(Family::Polybus).as_str(), user(Family::Prisem).as_str()), ("toml", "yaml"));

    let place = place.variable("POLYBUS_AMQP_USER", "new");
    let user = |family| place.load(family).settings.amqp.user;
    assert_eq!((user(Family::Polybus).as_str(), user(Family::Prisem).as_str()), ("new", "new"));

    let place =
        place.variable("RPC_USER", "old").variable("POLYBUS_AMQP_VHOST", "").variable("USER", "login");
    let user = |family| place.load(family).settings.amqp.user;
    assert_eq!((user(Family::Polybus).as_str(), user(Family::Prisem).as_str()), ("new", "old"));

    let loaded = place.loader(Family::Prisem).flag("--user", "amqp.user", "flag").load().unwrap();
    assert_eq!((loaded.settings.amqp.user.as_str(), loaded.settings.amqp.vhost.as_str()), ("flag", "/"));
    assert_eq!(origin(&loaded, "amqp.user"), "--user");
    assert!(origin(&loaded, "domain").ends_with("rpc_config.yml"));
}

#[test]
fn environment_variables_are_checked_too() {
    let error = Place::new().variable("POLYBUS_SERVICE_JOBS", "s3cret").error();
    assert_eq!(
        error.to_string(),
        "environment variable POLYBUS_SERVICE_JOBS: service.jobs: expected an integer from 1 to 65535"
    );
    assert_eq!(error.exit_code(), 78);
    let loaded = Place::new().variable("POLYBUS_JOBS", "3").load(Family::Polybus);
    assert_eq!(loaded.notices, ["environment variable POLYBUS_JOBS is not known"]);
}

#[test]
fn flags_come_typed_or_as_text_or_from_a_provider() {
    let place = Place::new();
    let with_flags =
        place.loader(Family::Polybus).flag("--jobs", "service.jobs", 3).flag("--jobs", "service.jobs", "4");
    let flags = Serialized::global("timeout", 7).profile("default");
    let loaded = with_flags.provider(flags).load().unwrap();
    assert_eq!((loaded.settings.service.jobs, loaded.settings.timeout), (4, Some(Duration::from_secs(7))));
    assert_eq!(origin(&loaded, "service.jobs"), "--jobs");

    let error = place.loader(Family::Polybus).flag("--port", "amqp.port", "x").load().unwrap_err();
    assert_eq!(error.to_string(), "--port: amqp.port: expected an integer from 1 to 65535");
    assert_eq!(error.exit_code(), 2);
    assert!(place.loader(Family::Polybus).flag("--x", "x", 1).load().is_err());
}

#[test]
fn a_timeout_of_zero_waits_for_ever() {
    assert_eq!(Place::new().variable("RPC_TIMEOUT", "0").load(Family::Prisem).settings.timeout, None);
}

#[test]
fn the_stronger_of_bus_and_server_counts() {
    let place =
        Place::new().variable("RPC_BUS", "nats://n1.example.org").file("rpc_config.yml", "SERVER: mq\n");
    assert!(place.load(Family::Prisem).settings.bus.is_some());
    let loaded = place.loader(Family::Prisem).flag("--server", "amqp.server", "mq2").load().unwrap();
    assert_eq!((loaded.settings.bus, loaded.settings.amqp.host.as_str()), (None, "mq2"));
    assert_eq!(
        (value(&place.load(Family::Prisem), "bus"), place.variables.len()),
        ("\"nats://n1.example.org\"".to_owned(), 1)
    );
}

#[test]
fn the_port_belongs_to_the_server_unless_set_at_least_as_strongly() {
    let port = |place: &Place| place.load(Family::Prisem).settings.amqp.port;
    assert_eq!(port(&Place::new().variable("RPC_TLS", "yes")), 5671);
    let place = Place::new().file("rpc_config.yml", "RPC_SERVER: mq:1111\nRPC_PORT: 2222\n");
    assert_eq!(port(&place), 2222);
    let place = place.variable("RPC_SERVER", "mq2:3333");
    assert_eq!(port(&place), 3333);
    assert_eq!(origin(&place.load(Family::Prisem), "amqp.port"), "environment variable RPC_SERVER");
    let place = Place::new().file("rpc_config.yml", "RPC_PORT: 2222\n").variable("RPC_SERVER", "mq2");
    assert_eq!(port(&place), 2222);
}

#[test]
fn a_password_file_gives_its_first_line() {
    let place = Place::new().file("pwd", "s3cret word\r\nmore\n").variable("RPC_PWD_FILE", "pwd");
    let loaded = place.load(Family::Prisem);
    assert_eq!(loaded.settings.amqp.password.as_ref().map(Secret::expose), Some("s3cret word"));
    assert_eq!(origin(&loaded, "amqp.password"), "environment variable RPC_PWD_FILE");
    let place = place.file("rpc_config.yml", "RPC_PWD: weaker\n");
    assert_eq!(
        place.load(Family::Prisem).settings.amqp.password.as_ref().map(Secret::expose),
        Some("s3cret word")
    );
    let missing = Place::new().variable("RPC_PWD_FILE", "none").error();
    assert!(missing.to_string().contains("none: cannot be read: "), "{missing}");
}

#[test]
fn without_credentials_nothing_connects() {
    let check = |place: Place| place.load(Family::Prisem).settings.require_credentials();
    let error = check(Place::new()).unwrap_err();
    assert_eq!(error.exit_code(), 78);
    assert!(check(Place::new().variable("RPC_PWD", "")).is_err());
    assert!(check(Place::new().file("pwd", "\n").variable("RPC_PWD_FILE", "pwd")).is_err());
    assert!(check(Place::new().variable("RPC_PWD", "s3cret")).is_ok());
    let certificate = Place::new().variable("RPC_TLS_CERT", "c.pem");
    assert!(certificate.load(Family::Prisem).settings.require_credentials().is_err(), "no key");
    assert!(check(certificate.variable("RPC_TLS_KEY", "k.pem")).is_ok());
    assert!(check(Place::new().variable("RPC_BUS", "amqp://u@mq.example.org")).is_err());
    assert!(check(Place::new().variable("RPC_BUS", "amqps://u:s3cret@mq.example.org")).is_ok());
    assert!(check(Place::new().variable("RPC_BUS", "embedded:")).is_ok());
}

#[test]
fn nothing_secret_is_shown() {
    let place = Place::new()
        .variable("RPC_PWD", "s3cret")
        .variable("RPC_BUS", "nats://s3cret@n1.example.org?token=s3cret")
        .file("polybus.toml", "[amqp]\npassword = 's3cret'\n");
    let sources = place.loader(Family::Prisem).flag("--password", "amqp.password", "s3cret");
    let texts = [format!("{sources:?}"), {
        let loaded = sources.load().unwrap();
        format!(
            "{loaded:?}{:#?}{}{}",
            loaded.settings,
            loaded.effective.to_text(),
            loaded.effective.to_json().compact()
        )
    }];
    for text in texts {
        assert!(!text.contains("s3cret"), "{text}");
    }
    assert_eq!(format!("{} {:?}", Secret::new("s3cret"), Secret::new("s3cret")), "(hidden) (hidden)");
}

#[test]
fn every_setting_is_shown_with_its_origin() {
    let place = Place::new().variable("RPC_PWD", "s3cret").variable("POLYBUS_TLP", "TLP:Clear");
    let loaded = place.loader(Family::Prisem).flag("--timeout", "timeout", 2.5).load().unwrap();
    assert_eq!(loaded.effective.settings().len(), KEYS.len());
    assert_eq!(
        (value(&loaded, "amqp.password"), value(&loaded, "tlp")),
        ("\"(hidden)\"".into(), "\"white\"".into())
    );
    let text = loaded.effective.to_text();
    assert!(text.contains("timeout               = 2.5  # --timeout\n"), "{text}");
    assert!(
        text.contains("amqp.password         = \"(hidden)\"  # environment variable RPC_PWD\n"),
        "{text}"
    );
    assert!(text.contains("map                   = -  # default\n"), "{text}");
    let json = loaded.effective.to_json();
    let tlp = json.as_object().unwrap().get("tlp").unwrap();
    assert_eq!(tlp.compact(), r#"{"value":"white","origin":"environment variable POLYBUS_TLP"}"#);
    assert_eq!(Json::parse(json.compact()).unwrap(), json);
}

#[test]
fn the_table_of_settings_is_sound() {
    let mut names: Vec<String> = KEYS.iter().map(|key| key.path.to_owned()).collect();
    names.extend(KEYS.iter().flat_map(|key| key.old.iter().map(|&old| old.to_owned())));
    names.extend(KEYS.iter().map(Key::variable));
    let count = names.len();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), count, "no name twice");
    for key in KEYS {
        assert!(key.old.iter().take(1).all(|name| name.starts_with("RPC_")), "{}", key.path);
        assert!(!key.about.is_empty() && !key.kind.expected().is_empty());
    }
}
