//! `polybus status`, `polybus top` and `polybus up`: what is said of a bus from outside, on every bus as far as it tells, and
//! a bus with its services in one process.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use polybus::frame::{Appdata, Identity};
use polybus::{Call, Client, Intake, Name, Queue, Topology};
use polybus_brokers::Kind;
use polybus_tests::{Desk, Error, House, PATIENCE};
use serde_json::{Value, json};

const QUEUE: &str = "anon_0.5.5";

/// What a program says of the bus that this flag names.
struct Told<'a> {
    desk: &'a Desk,
    flag: &'a str,
}

impl Told<'_> {
    fn json(&self, words: &str) -> Result<Value, Error> {
        let output = self.desk.run(&format!("polybus status --json {words} {}", self.flag), "")?;
        assert!(output.status.success(), "{words}: {output:?}");
        Ok(serde_json::from_slice(&output.stdout)?)
    }

    /// Looks until it is as wanted.
    fn until(&self, words: &str, wanted: impl Fn(&Value) -> bool) -> Result<Value, Error> {
        let began = Instant::now();
        loop {
            let found = self.json(words)?;
            if wanted(&found) {
                return Ok(found);
            }
            assert!(began.elapsed() < PATIENCE, "{words}: it stays {found:#}");
            thread::sleep(Duration::from_millis(100));
        }
    }

    /// Runs a command that must end with this code, with this word on standard error.
    fn ends(&self, words: &str, code: i32, word: &str) -> Result<(), Error> {
        let output = self.desk.run(&format!("polybus {words} {}", self.flag), "")?;
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{words}: {told}");
        assert!(told.contains(word), "{words}: {told}");
        Ok(())
    }
}

fn service<'a>(found: &'a Value, name: &str) -> &'a Value {
    let all = found["services"].as_array().into_iter().flatten();
    all.into_iter().find(|service| service["service"] == name).unwrap_or(&Value::Null)
}

fn queue<'a>(found: &'a Value, name: &str) -> &'a Value {
    let all = found["queues"].as_array().into_iter().flatten();
    all.into_iter().find(|queue| queue["queue"] == name).unwrap_or(&Value::Null)
}

/// What a bus does not tell of a queue.
fn reasons(figures: &Value) -> Vec<&str> {
    let unknown = figures["unknown"].as_object();
    unknown.map(|unknown| unknown.keys().map(String::as_str).collect()).unwrap_or_default()
}

/// A request that nobody has served yet, in a bus on disk.
async fn left_behind(url: &str) -> Result<(), Error> {
    let bus = polybus::connect(url).await?;
    // As `polybus up` declares it: the last attempt is for the answer that there are no more.
    let declared = Topology::new().queue(Queue::new(Name::new(QUEUE)?).with_max_attempts(6_u32));
    bus.transport().declare(&declared).await?;
    let client = Client::new(&bus, Identity::new("test", "localdomain"));
    let appdata = Appdata::new().bytes("data", "192.0.2.1\n").bytes("netmap", "192.0.2.0/24|A|A\n");
    let call = Call::new("anon", appdata).with_deadline(Duration::from_mins(10));
    let calling = tokio::spawn(async move { client.call(call).await.map(drop) });
    let desk = bus.transport().admin().ok_or("a desk")?;
    while desk.inspect(&Intake::Queue(Name::new(QUEUE)?)).await?.ready != Some(1) {
        tokio::task::yield_now().await;
    }
    calling.abort();
    bus.drain(PATIENCE).await;
    Ok(())
}

#[test]
fn a_bus_and_its_services_stand_in_one_process() -> Result<(), Error> {
    let desk = Desk::new()?;
    let url = format!("embedded://{}", desk.path("bus").display());
    let flag = format!("--bus {url}");
    let told = Told { desk: &desk, flag: &flag };
    told.ends("status", 78, "does not exist")?;
    assert!(!desk.path("bus").exists(), "to look is not to make");

    tokio::runtime::Runtime::new()?.block_on(left_behind(&url))?;
    let found = told.json("--interval 0.1")?;
    let waiting = queue(&found, QUEUE);
    assert_eq!((&waiting["ready"], &waiting["settled_per_second"]), (&json!(1), &json!(0.0)), "{found:#}");
    assert_eq!(waiting["unknown"], json!({"empties_in_seconds": "nothing was settled between the looks"}));
    let anon = service(&found, "anon");
    assert_eq!(
        (&anon["state"], &anon["backlog"], &anon["max_attempts"]),
        (&json!("unserved"), &json!(1), &json!(5))
    );
    assert_eq!(service(&found, "crosscor")["state"], "absent");

    desk.file(
        "polybus.toml",
        format!("[up]\nbus = \"{url}\"\nservices = [\"anon\"]\nlog = \"polybus.log\"\n"),
    )?;
    let mut up = desk.start("polybus up")?;
    up.tells(": anon")?;
    let began = Instant::now();
    while !std::fs::read_to_string(desk.path("polybus.log")).unwrap_or_default().contains("side=server") {
        assert!(began.elapsed() < PATIENCE, "{:?}", std::fs::read_to_string(desk.path("polybus.log")));
        thread::sleep(Duration::from_millis(50));
    }
    told.ends("status", 78, "")?;
    let (code, ended) = up.terminate()?;
    assert!(code == Some(0) && ended.contains("stopped: finished="), "{code:?}: {ended}");

    let found = told.json("--once")?;
    assert_eq!(found["services"].as_array().map(Vec::len), Some(1), "those of up.services: {found:#}");
    assert_eq!((&queue(&found, QUEUE)["ready"], &queue(&found, QUEUE)["dead"]), (&json!(0), &json!(0)));
    assert_eq!(
        queue(&found, QUEUE)["unknown"]["sent_per_second"],
        "there was one look, and a rate takes two"
    );
    told.ends("status no_such_queue", 1, "not found")?;
    told.ends("status --services anno", 2, "it has anon, crosscor")
}

#[test]
fn others_come_to_a_bus_that_is_up() -> Result<(), Error> {
    let desk = Desk::new()?;
    desk.file("polybus.toml", "[up]\nservices = [\"anon\"]\nlisten = [\"zmq://127.0.0.1:0\"]\n")?;
    desk.file("map.txt", "192.0.2.0/24|ALPHA|CITYA\n")?;
    desk.file("text", "192.0.2.1 and more\n")?;
    let mut up = desk.start("polybus up")?;
    let line = up.tells("listening on zmq://")?;
    let flag =
        line.rsplit_once("zmq://").map(|(_, place)| format!("--bus zmq://{place}")).ok_or("no place")?;
    desk.until_success(&format!("polybus call anon --field usage=true --require-server {flag}"), "")?;

    let (here, there) =
        ("polybus anon -r text -m map.txt", format!("polybus anon -r text -m map.txt {flag}"));
    let (here, there) = (desk.run(here, "")?, desk.run(&there, "")?);
    assert!(here.status.success() && !here.stdout.is_empty(), "{here:?}");
    assert_eq!((there.status.code(), &there.stdout), (Some(0), &here.stdout), "{there:?}");

    let found = Told { desk: &desk, flag: &flag }.json("--once")?;
    assert_eq!(service(&found, "anon")["state"], "served", "{found:#}");
    assert_eq!(queue(&found, QUEUE)["consumers"], 1, "{found:#}");
    let (code, ended) = up.terminate()?;
    assert!(code == Some(0) && ended.contains("stopped: finished="), "{code:?}: {ended}");
    Ok(())
}

#[test]
fn up_refuses_what_it_cannot_stand_on() -> Result<(), Error> {
    let desk = Desk::new()?;
    desk.file("polybus.toml", "[up]\nservices = \"anon, nobody\"\n")?;
    for (line, code, word) in [
        ("polybus up", 78, "up.services: no service nobody"),
        ("polybus up anon --bus nats://nats.example.org", 78, "is not inside this process"),
        ("polybus up anon --log none/polybus.log", 78, "cannot open the log file none/polybus.log"),
        ("polybus up nobody", 2, "no service nobody"),
        ("polybus up anon --listen tcp://127.0.0.1:1", 78, "up.listen: "),
        ("polybus up anon --listen zmq://0.0.0.0:0", 78, "identities"),
        ("polybus up anon --identities secrets.toml", 78, "up.listen does not say where"),
        ("polybus up anon --bus embedded: --listen zmq://127.0.0.1:0", 78, "without a name"),
    ] {
        let output = desk.run(line, "")?;
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(code) && told.contains(word), "{line}: {told}");
    }
    Ok(())
}

#[test]
fn the_live_view_gives_the_terminal_back() -> Result<(), Error> {
    let desk = Desk::new()?;
    let line = format!("polybus top --interval 0.2 --bus embedded://{}", desk.path("bus").display());
    let made =
        format!("polybus call anon --field usage=true --bus embedded://{}", desk.path("bus").display());
    assert!(desk.run(&made, "")?.status.success());

    let told = desk.run(&line, "")?;
    assert_eq!(told.status.code(), Some(2));
    assert!(String::from_utf8(told.stderr)?.contains("`polybus status` prints the same once"));
    for (end, code) in [("q", 0), ("\u{3}", 0), ("TERM", 143), ("INT", 130)] {
        let mut top = desk.in_terminal(&line)?;
        top.shows("\u{1b}[?1049h")?;
        top.shows(QUEUE)?;
        assert!(!top.is_free()?);
        top.types("r")?;
        top.shows("small")?;
        if end.len() == 1 {
            top.types(end)?;
        } else {
            top.signal(end)?;
        }
        top.shows("\u{1b}[?1049l")?;
        assert_eq!(top.ends()?, Some(code), "{end:?}");
        assert!(top.is_free()?, "{end:?}");
    }
    Ok(())
}

/// What a bus tells: the state of a service that is served, and which figures of its queue are missing.
struct Tells {
    kind: Kind,
    unserved: Option<&'static str>,
    missing: &'static [&'static str],
    counts: bool,
}

fn seen(tells: &Tells) -> Result<(), Error> {
    let house = House::new(tells.kind)?;
    let flag = house.flag();
    let told = Told { desk: &house.desk, flag: &flag };
    let found = told.json("--once")?;
    assert_eq!(
        (&found["queues"], &service(&found, "anon")["state"]),
        (&json!([]), &json!("absent")),
        "{found:#}"
    );
    told.ends(&format!("queues {QUEUE}"), 1, "not found")?;
    told.ends(&format!("status {QUEUE}"), 1, "not found")?;

    let server = house.serve(&format!("polybus serve anon {flag}"), "anon", "anon")?;
    working(&house, &told, tells)?;
    assert_eq!(server.terminate()?.0, Some(0));
    let found = told.until(&format!("{QUEUE} --interval 0.1 --services anon"), |found| {
        service(found, "anon")["state"] == json!(tells.unserved)
    })?;
    let (quiet, anon) = (queue(&found, QUEUE), service(&found, "anon"));
    assert_eq!(reasons(quiet), tells.missing, "{found:#}");
    assert_eq!(
        (&quiet["ready"], &anon["backlog"], &anon["empties_in_seconds"]),
        (&json!(0), &json!(0), &json!(0.0))
    );
    assert_eq!(anon["attempts"], if tells.counts { json!(1.0) } else { Value::Null });

    let text = house.desk.run(&format!("polybus status --once {flag}"), "")?;
    let text = String::from_utf8(text.stdout)?;
    assert!(
        text.contains("looked at once") && text.contains("\nQUEUE ") && text.contains("\nSERVICE "),
        "{text}"
    );
    live(&house, &flag)
}

/// While somebody calls, the figures move.
fn working(house: &House, told: &Told<'_>, tells: &Tells) -> Result<(), Error> {
    let enough = AtomicBool::new(false);
    let call = format!("polybus call anon --field usage=true {}", told.flag);
    thread::scope(|scope| {
        let calling = scope.spawn(|| -> Result<(), Error> {
            while !enough.load(Ordering::Relaxed) {
                assert!(house.desk.run(&call, "")?.status.success());
            }
            Ok(())
        });
        let found = told.until("--interval 0.5", |found| {
            let busy = queue(found, QUEUE);
            let above_zero = |rate: &str| busy[rate].as_f64().is_some_and(|rate| rate > 0.0);
            let moved = ["sent_per_second", "handed_out_per_second", "settled_per_second"]
                .into_iter()
                .all(above_zero);
            service(found, "anon")["state"] == "served" && moved == tells.counts
        });
        enough.store(true, Ordering::Relaxed);
        calling.join().map_err(|_| "the calls")??;
        found.map(drop)
    })
}

/// A broker that goes away is told, and watched again when it is back.
fn live(house: &House, flag: &str) -> Result<(), Error> {
    let mut top = house.desk.in_terminal(&format!("polybus top {QUEUE} --interval 0.2 {flag}"))?;
    top.shows(QUEUE)?;
    house.kill()?;
    top.shows("inspect")?;
    house.restart()?;
    top.types("q")?;
    assert_eq!(top.ends()?, Some(0));
    assert!(top.is_free()?);
    Ok(())
}

#[test]
fn nats_is_seen() -> Result<(), Error> {
    seen(&Tells { kind: Kind::NATS, unserved: None, missing: &["consumers"], counts: true })
}

#[test]
fn rabbitmq_is_seen() -> Result<(), Error> {
    let missing =
        &["bytes", "delayed", "handed_out_per_second", "leased", "sent_per_second", "settled_per_second"];
    seen(&Tells { kind: Kind::RABBITMQ, unserved: Some("unserved"), missing, counts: false })
}
