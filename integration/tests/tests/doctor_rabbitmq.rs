//! `polybus doctor` on RabbitMQ: each of these misconfigurations is made on a real broker, and named with its consequence
//! and remedy.

use polybus_brokers::{Kind, Options, Tls};
use polybus_tests::{Error, Examined, House, Mirror, Wanted, examined, examined_until};

/// A misconfiguration: how it is made, the words of the doctor, and what is found.
struct Case {
    name: &'static str,
    make: fn(&House) -> Result<(), Error>,
    words: &'static str,
    found: Wanted,
    mend: fn(&House) -> Result<(), Error>,
}

const fn case(
    name: &'static str,
    make: fn(&House) -> Result<(), Error>,
    words: &'static str,
    found: Wanted,
) -> Case {
    Case { name, make, words, found, mend: |_| Ok(()) }
}

fn eval(house: &House, code: &str) -> Result<(), Error> {
    let told = house.rabbitmqctl(&["eval", code])?;
    if told.to_lowercase().contains("error") { Err(told.into()) } else { Ok(()) }
}

/// A queue for the service on this queue base, declared by somebody who does not know Polybus.
fn queue(house: &House, base: &str, durable: bool, auto_delete: bool, arguments: &str) -> Result<(), Error> {
    let name = format!("rabbit_misc:r(<<\"main\">>, queue, <<\"{base}_0.5.5\">>)");
    eval(
        house,
        &format!(
            "rabbit_amqqueue:declare({name}, {durable}, {auto_delete}, [{arguments}], none, <<\"main\">>)."
        ),
    )
}

const QUORUM: &str = "{<<\"x-queue-type\">>, longstr, <<\"quorum\">>}";

/// The arguments that the server declares its queue with.
const OWN: [&str; 4] = [
    "{<<\"x-max-length\">>, long, 1000000}",
    "{<<\"x-max-length-bytes\">>, long, 1073741824}",
    "{<<\"x-overflow\">>, longstr, <<\"reject-publish\">>}",
    "{<<\"x-delivery-limit\">>, long, 1000000012}",
];

/// A queue as the server declares it, but for this argument.
fn with_quorum(house: &House, base: &str, argument: &str) -> Result<(), Error> {
    let name = |argument: &str| argument.split(',').next().unwrap_or_default().to_owned();
    let kept = OWN.iter().copied().filter(|own| name(own) != name(argument));
    let all: Vec<_> = std::iter::once(QUORUM)
        .chain(kept)
        .chain(Some(argument).filter(|argument| !argument.is_empty()))
        .collect();
    queue(house, base, true, false, &all.join(", "))
}

fn permissions(house: &House, configure: &str, write: &str, read: &str) -> Result<(), Error> {
    house.rabbitmqctl(&["set_permissions", "-p", "main", "main", configure, write, read]).map(drop)
}

fn all_permitted(house: &House) -> Result<(), Error> {
    permissions(house, ".*", ".*", ".*")
}

fn policy(house: &House, pattern: &str, definition: &str) -> Result<(), Error> {
    house
        .rabbitmqctl(&["set_policy", "-p", "main", "--apply-to", "queues", pattern, pattern, definition])
        .map(drop)
}

fn exchange(house: &House, name: &str, kind: &str, durable: bool) -> Result<(), Error> {
    let name = format!("rabbit_misc:r(<<\"main\">>, exchange, <<\"{name}\">>)");
    eval(
        house,
        &format!("rabbit_exchange:declare({name}, {kind}, {durable}, false, false, [], <<\"main\">>)."),
    )
}

fn disk_to_keep_free(house: &House, bytes: &str) -> Result<(), Error> {
    house.rabbitmqctl(&["set_disk_free_limit", bytes]).map(drop)
}

const MANAGED: &str = "MANAGED";

const CASES: &[Case] = &[
    case(
        "not durable",
        |h| queue(h, "c1", false, false, ""),
        "-q c1",
        ("queue-not-durable", "fault", "queue c1_0.5.5", "durable is false"),
    ),
    case(
        "auto-delete",
        |h| queue(h, "c2", true, true, ""),
        "-q c2",
        ("queue-auto-delete", "fault", "c2", "auto_delete"),
    ),
    case("classic", |h| queue(h, "c3", true, false, ""), "-q c3", ("queue-kind", "warning", "c3", "classic")),
    case(
        "unbounded",
        |h| queue(h, "c4", true, false, ""),
        "-q c4",
        ("queue-unbounded", "notice", "c4", "max-length none"),
    ),
    case(
        "delivery limit",
        |h| with_quorum(h, "c5", "{<<\"x-delivery-limit\">>, long, 3}"),
        "-q c5",
        ("delivery-limit", "fault", "c5", "is 3"),
    ),
    case(
        "message ttl",
        |h| with_quorum(h, "c6", "{<<\"x-message-ttl\">>, long, 60000}"),
        "-q c6",
        ("messages-expire", "fault", "c6", "60 s"),
    ),
    case(
        "queue expires",
        |h| with_quorum(h, "c7", "{<<\"x-expires\">>, long, 3600000}"),
        "-q c7",
        ("queue-expires", "fault", "c7", "3600 s"),
    ),
    case(
        "drop-head",
        |h| with_quorum(h, "c8", "{<<\"x-overflow\">>, longstr, <<\"drop-head\">>}"),
        "-q c8",
        ("overflow-drops", "fault", "c8", "drop-head"),
    ),
    case(
        "small bound",
        |h| with_quorum(h, "c9", "{<<\"x-max-length\">>, long, 10}"),
        "-q c9",
        ("queue-bound", "notice", "c9", "max-length 10"),
    ),
    case(
        "one worker at a time",
        |h| with_quorum(h, "c10", "{<<\"x-single-active-consumer\">>, bool, true}"),
        "-q c10 --jobs 4",
        ("single-active-consumer", "warning", "c10", "4 jobs"),
    ),
    case(
        "dead letters elsewhere",
        |h| with_quorum(h, "c11", "{<<\"x-dead-letter-exchange\">>, longstr, <<\"old.dlx\">>}"),
        "-q c11",
        ("dead-letters-elsewhere", "notice", "c11", "old.dlx"),
    ),
    case(
        "by a policy",
        |h| policy(h, "^c12", "{\"message-ttl\":5000}").and_then(|()| with_quorum(h, "c12", "")),
        "-q c12 MANAGED",
        ("messages-expire", "fault", "c12", "5 s"),
    ),
    case(
        "long jobs",
        |_| Ok(()),
        "-q c13 --job-seconds 3600",
        ("consumer-timeout", "warning", "c13", "3600 s"),
    ),
    Case {
        mend: all_permitted,
        ..case(
            "may not declare",
            |h| permissions(h, "^nothing$", ".*", ".*"),
            "-q c14",
            ("permission-configure", "fault", "queue c14", "refused"),
        )
    },
    Case {
        mend: all_permitted,
        ..case(
            "may not send",
            |h| permissions(h, ".*", "^nothing$", ".*"),
            "-q c15",
            ("permission-write", "fault", "default exchange", "refused"),
        )
    },
    Case {
        mend: all_permitted,
        ..case(
            "may not consume",
            |h| permissions(h, ".*", ".*", "^nothing$"),
            "-q c16",
            ("permission-read", "fault", "queue c16", "refused"),
        )
    },
    Case {
        mend: House::relieve,
        ..case("alarm", House::fill, "-q c17", ("alarm", "fault", "broker", "holds publishers back"))
    },
    Case {
        mend: House::relieve,
        ..case(
            "alarm, as the interface tells it",
            House::fill,
            "-q c17 MANAGED",
            ("alarm", "fault", "node ", "memory"),
        )
    },
    Case {
        mend: |h| disk_to_keep_free(h, "50MB"),
        ..case(
            "alarm of the disk",
            |h| disk_to_keep_free(h, "1000000000000000"),
            "-q c17 MANAGED",
            ("alarm", "fault", "node ", "alarm of disk"),
        )
    },
    Case {
        mend: |h| h.rabbitmqctl(&["clear_vhost_limits", "-p", "main"]).map(drop),
        ..case(
            "too many queues",
            |h| h.rabbitmqctl(&["set_vhost_limits", "-p", "main", "{\"max-queues\": 1}"]).map(drop),
            "-q c18 MANAGED",
            ("queue-limit", "fault", "virtual host", "of 1"),
        )
    },
    Case {
        mend: |h| h.rabbitmqctl(&["clear_vhost_limits", "-p", "main"]).map(drop),
        ..case(
            "too many connections",
            |h| h.rabbitmqctl(&["set_vhost_limits", "-p", "main", "{\"max-connections\": 0}"]).map(drop),
            "-q c19",
            ("connection-limit", "fault", "connection", "limit"),
        )
    },
    Case {
        mend: |h| eval(h, "application:set_env(rabbit, channel_max, 2047)."),
        ..case(
            "few channels",
            |h| eval(h, "application:set_env(rabbit, channel_max, 8)."),
            "-q c20",
            ("channel-limit", "fault", "connection", "8 channels"),
        )
    },
    Case {
        mend: |h| eval(h, "application:set_env(rabbit, frame_max, 131072)."),
        ..case(
            "small frames",
            |h| eval(h, "application:set_env(rabbit, frame_max, 8192)."),
            "-q c21",
            ("frame-limit", "warning", "connection", "8192"),
        )
    },
    Case {
        mend: |h| {
            eval(
                h,
                "application:set_env(rabbit, max_message_size, 134217728), persistent_term:put(max_message_size, 134217728).",
            )
        },
        ..case(
            "small messages",
            |h| {
                eval(
                    h,
                    "application:set_env(rabbit, max_message_size, 65536), persistent_term:put(max_message_size, 65536).",
                )
            },
            "-q c22",
            ("message-limit", "warning", "broker", "65536"),
        )
    },
    case(
        "topic of another kind",
        |h| exchange(h, "lines", "direct", true),
        "-q c23 --log-exchange lines",
        ("topic-kind", "fault", "topic lines", "direct"),
    ),
    case(
        "topic not durable",
        |h| exchange(h, "lines2", "fanout", false),
        "-q c24 --durable --log-exchange lines2",
        ("topic-not-durable", "fault", "topic lines2", "not durable"),
    ),
    case(
        "waiting for nobody",
        |h| with_quorum(h, "c25", "").and_then(|()| left_alone(h)),
        "-q c25",
        ("queue-unserved", "warning", "c25", "1 wait, 0 consumers"),
    ),
    case("exclusive elsewhere", locked, "-q c26", ("queue-locked", "fault", "c26", "another connection")),
];

/// A request that nobody serves, looked at while its caller waits: after its time the broker drops it.
fn left_alone(house: &House) -> Result<(), Error> {
    let _waits = house
        .desk
        .start(&format!("polybus call anon --field usage=true -q c25 --timeout 300 {}", house.flag()))?;
    doctor_until(house, "-q c25", ("queue-unserved", "warning", "c25", "1 wait, 0 consumers")).map(drop)
}

fn locked(house: &House) -> Result<(), Error> {
    let name = "rabbit_misc:r(<<\"main\">>, queue, <<\"c26_0.5.5\">>)";
    eval(
        house,
        &format!(
            "P = spawn(fun() -> timer:sleep(600000) end), rabbit_amqqueue:declare({name}, false, false, [], P, <<\"main\">>)."
        ),
    )
}

/// The words for the doctor, with the place of the management interface.
fn words_of(house: &House, words: &str) -> Result<String, Error> {
    let management = house.broker.management_url().ok_or("the management interface was asked for")?;
    let words = words.replace(MANAGED, &format!("--management {management}"));
    Ok(format!("anon {} {words}", house.flag()))
}

fn doctor(house: &House, words: &str) -> Result<Examined, Error> {
    examined(&house.desk, &words_of(house, words)?)
}

fn doctor_until(house: &House, words: &str, wanted: Wanted) -> Result<Examined, Error> {
    examined_until(&house.desk, &words_of(house, words)?, &[wanted])
}

fn faults_of(house: &House, cases: &[&Case]) -> Vec<String> {
    let mut faults = Vec::new();
    for case in cases {
        let told = (case.make)(house).and_then(|()| doctor_until(house, case.words, case.found));
        faults.extend(told.err().map(|error| format!("{}: {error}", case.name)));
        faults.extend((case.mend)(house).err().map(|error| format!("mending {}: {error}", case.name)));
    }
    faults
}

fn house(kind: Kind) -> Result<House, Error> {
    let house = House::with(kind, &Options::default().with_management(true))?;
    house.rabbitmqctl(&["set_user_tags", "main", "monitoring"])?;
    Ok(house)
}

/// What is as it should be has no fault and no warning but those that the version brings.
fn sound(house: &House, of_version: &[&str]) -> Result<(), Error> {
    let mut ready = doctor(house, "-q sound MANAGED")?;
    // The interface comes up a moment after the broker.
    for _ in 0..50 {
        if !ready.bad().contains("management") {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(200));
        ready = doctor(house, "-q sound MANAGED")?;
    }
    let bad = ready.bad();
    let codes: Vec<_> = bad.lines().filter_map(|line| line.split('"').nth(3)).collect();
    assert_eq!(codes, of_version, "{bad}");
    assert_eq!(ready.code, Some(0), "{bad}");
    // A queue as the server declares it.
    let server = house.serve(&format!("polybus serve anon -q sound {}", house.flag()), "anon", "sound")?;
    let during = doctor(house, "-q sound MANAGED")?;
    let bad = during.bad();
    let codes: Vec<_> = bad.lines().filter_map(|line| line.split('"').nth(3)).collect();
    assert_eq!(codes, of_version, "{bad}");
    assert!(!during.text.contains(house.broker.login().1), "no password is shown");
    assert_eq!(server.terminate()?.0, Some(0));
    Ok(())
}

fn examines(kind: Kind, of_version: &[&str]) -> Result<(), Error> {
    let house = house(kind)?;
    sound(&house, of_version)?;
    let faults = faults_of(&house, &CASES.iter().collect::<Vec<_>>());
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    clocks(&house)?;
    who_may_ask(&house)?;
    strict(&house)
}

#[test]
fn rabbitmq_3_10() -> Result<(), Error> {
    examines(Kind::RABBITMQ_3_10, &["server-old"])?;
    Ok(())
}

#[test]
fn rabbitmq_4_0() -> Result<(), Error> {
    examines(Kind::RABBITMQ_4_0, &[])?;
    Ok(())
}

/// A broker whose clock is a year ahead, as the header of its answers tells.
fn clocks(house: &House) -> Result<(), Error> {
    let management = house.broker.management_url().ok_or("there is one")?;
    let year = this_year();
    let mirror = Mirror::new(
        management.trim_start_matches("http://"),
        &format!(" {year} "),
        &format!(" {} ", year + 1),
    )?;
    let words = format!("anon {} --management http://{}", house.flag(), mirror.address());
    examined(&house.desk, &words)?.names("clock-skew", "warning", "broker", "ahead of ours")
}

fn this_year() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    // The mean year of the calendar is near enough except within hours of New Year.
    1970 + since.as_secs() / 31_556_952
}

/// A user without the tag is refused by the interface, and what it would have told is unknown.
fn who_may_ask(house: &House) -> Result<(), Error> {
    house.rabbitmqctl(&["set_user_tags", "main"])?;
    let found = doctor(house, "MANAGED")?;
    house.rabbitmqctl(&["set_user_tags", "main", "monitoring"])?;
    found.names("management", "warning", "management", "HTTP 401")?;
    let alone = doctor(house, "")?;
    assert_eq!(alone.code, Some(0));
    alone.names("clock-skew", "unknown", "broker", "AMQP does not tell")
}

/// Warnings count when asked for.
fn strict(house: &House) -> Result<(), Error> {
    let lax = doctor(house, "--job-seconds 3600")?;
    let strict = doctor(house, "--job-seconds 3600 --strict")?;
    assert_eq!((lax.code, strict.code), (Some(0), Some(1)), "{}", lax.bad());
    Ok(())
}

#[test]
fn who_cannot_connect_is_told_why() -> Result<(), Error> {
    let house = House::new(Kind::RABBITMQ)?;
    let (user, password) = house.broker.login();
    let address = house.broker.address();
    let wrong = house.broker.stranger_url();
    for (bus, code, observed) in [
        (wrong.as_str(), "credentials-refused", "ACCESS_REFUSED"),
        (&format!("amqp://{user}:{password}@{address}/nowhere"), "vhost-refused", "nowhere"),
        (&format!("amqp://{user}:{password}@{address}/neighbour"), "vhost-refused", "neighbour"),
        (&format!("amqps://{user}:{password}@{address}/main"), "tls-missing", "in the clear"),
        (&format!("nats://{user}:{password}@{address}"), "other-protocol", "AMQP"),
    ] {
        let found = examined(&house.desk, &format!("anon --bus {bus}"))?;
        found.names(code, "fault", "", observed).map_err(|error| format!("{code}: {error}"))?;
        assert!(!found.text.contains(password) && !found.text.contains("not-the-password"), "{}", found.text);
    }
    Ok(())
}

#[test]
fn trust_is_looked_at() -> Result<(), Error> {
    let house = House::with(Kind::RABBITMQ, &Options::default().with_tls(Tls::Server))?;
    let good = house.broker.tls_url();
    let found = examined(&house.desk, &format!("anon --bus {good}"))?;
    assert_eq!(found.code, Some(0), "{}", found.bad());
    let plain = good.replace("amqps://", "amqp://");
    let plain = plain.split('?').next().unwrap_or_default();
    examined(&house.desk, &format!("anon --bus {plain}"))?.names("tls-expected", "fault", "127.0.0.1", "")?;
    let (user, password) = house.broker.login();
    let unknown = format!("amqps://{user}:{password}@{}/main", house.broker.address());
    examined(&house.desk, &format!("anon --bus {unknown}"))?.names("tls-failed", "fault", "127.0.0.1", "")?;
    let house = House::with(Kind::RABBITMQ, &Options::default().with_tls(Tls::WrongName))?;
    let found = examined(&house.desk, &format!("anon --bus {}", house.broker.tls_url()))?;
    found.names("tls-failed", "fault", "127.0.0.1", "")
}

/// What newer brokers let a queue say of the time that a job may take.
#[test]
fn the_consumer_timeout_of_a_queue_is_compared_with_the_time_of_a_job() -> Result<(), Error> {
    let house = house(Kind::RABBITMQ_4_0)?;
    sound(&house, &[])?;
    with_quorum(&house, "t1", "{<<\"x-consumer-timeout\">>, long, 60000}")?;
    policy(&house, "^t2", "{\"consumer-timeout\":60000}")?;
    with_quorum(&house, "t2", "")?;
    for base in ["t1", "t2"] {
        let wanted = ("consumer-timeout", "fault", base, "60 s, a job may take 1500 s");
        doctor_until(&house, &format!("-q {base} MANAGED"), wanted)?;
        let short = doctor(&house, &format!("-q {base} --job-seconds 30 MANAGED"))?;
        short.names("consumer-timeout", "fine", base, "60 s, a job may take 30 s")?;
    }
    Ok(())
}
