//! The broker over ZeroMQ with programs of our own and in Python at both ends: the same bytes as the local tool.

use std::process::{Command, Output};

use polybus_tests::{Background, Desk, Error};

const CLIENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/peers/zmq_client.py");
const WORKER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/peers/zmq_worker.py");

const MAP: &str = "192.0.2.0/24|ALPHA|CITYA\n198.51.100.0/24|BETA|CITYB\n";
const TEXT: &str = "192.0.2.1 and more\n198.51.100.7 192.0.2.200\n";

const IDENTITIES: &str = "
[[user]]
name = 'peer'
secret = 'peer-0123456789abcdef'
send = ['anon_0.5.5']
serve = ['anon_0.5.5']
publish = ['*']
subscribe = ['*']
desk = ['*']
";

/// A broker, a folder, and how programs find it.
struct Broker {
    desk: Desk,
    running: Background,
    url: String,
}

impl Broker {
    fn start(options: &str, login: &str) -> Result<Self, Error> {
        let found = Command::new("python3").args(["-c", "import zmq"]).output()?;
        assert!(found.status.success(), "NOT RUN: install the Python package pyzmq, for example with pip");
        let desk = Desk::new()?.with_variable("SOURCE_DATE_EPOCH", "1392876660").with_variable("TZ", "UTC");
        desk.file("map.txt", MAP)?;
        desk.file("text", TEXT)?;
        desk.file("identities.toml", IDENTITIES)?;
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        std::fs::set_permissions(desk.path("identities.toml"), mode)?;
        let mut running =
            desk.start(format!("polybus broker --listen zmq://127.0.0.1:0 {options}").trim_end())?;
        let line = running.tells("listening on zmq://")?;
        let place = line.rsplit_once("zmq://").map(|(_, place)| place.to_owned()).ok_or("no place")?;
        Ok(Self { desk, running, url: format!("zmq://{login}{place}") })
    }

    fn python(&self, script: &str, words: &str) -> Command {
        let mut command = Command::new("python3");
        command.arg(script).arg(&self.url).args(words.split(' ')).current_dir(self.desk.path("."));
        command
    }

    fn ours(&self) -> Result<Output, Error> {
        self.desk.run(&format!("polybus anon -r text -m map.txt --timeout 60 --bus {}", self.url), "")
    }

    fn local(&self) -> Result<Vec<u8>, Error> {
        Ok(self.desk.run("polybus anon -r text -m map.txt", "")?.stdout)
    }
}

fn both_clients_get(broker: &Broker, wanted: &[u8]) -> Result<(), Error> {
    let ours = broker.ours()?;
    assert_eq!(ours.stdout, wanted, "{}", String::from_utf8_lossy(&ours.stderr));
    let theirs = broker.python(CLIENT, "anon text map.txt").output()?;
    assert_eq!(theirs.stdout, wanted, "{}", String::from_utf8_lossy(&theirs.stderr));
    assert_eq!((ours.status.code(), theirs.status.code()), (Some(0), Some(0)));
    Ok(())
}

fn every_end_meets_every_other(broker: Broker) -> Result<(), Error> {
    let local = broker.local()?;
    assert!(!local.is_empty());
    let serve = format!("polybus serve anon --bus {}", broker.url);
    let server = broker.desk.start(&serve)?;
    let ask = format!("polybus call anon --field usage=true --require-server --bus {}", broker.url);
    broker.desk.until_success(&ask, "")?;
    both_clients_get(&broker, &local)?;
    let (code, told) = server.terminate()?;
    assert_eq!(code, Some(0), "{told}");

    let theirs = Background::start(broker.python(WORKER, "anon_0.5.5"))?;
    theirs.prints("serving anon_0.5.5")?;
    both_clients_get(&broker, TEXT.to_uppercase().as_bytes())?;
    drop(theirs);
    let (code, told) = broker.running.terminate()?;
    assert_eq!(code, Some(0), "{told}");
    Ok(())
}

#[test]
fn a_worker_and_a_client_in_python_join() -> Result<(), Error> {
    every_end_meets_every_other(Broker::start("", "")?)
}

#[test]
fn the_same_with_identities_and_a_journal() -> Result<(), Error> {
    let options = "--identities identities.toml --journal journal";
    every_end_meets_every_other(Broker::start(options, "peer:peer-0123456789abcdef@")?)
}

#[test]
fn a_wrong_secret_is_refused_everywhere() -> Result<(), Error> {
    let broker = Broker::start("--identities identities.toml", "peer:wrong-0123456789abc@")?;
    let theirs = broker.python(CLIENT, "anon text map.txt").output()?;
    let told = String::from_utf8(theirs.stderr)?;
    assert!(theirs.status.code() == Some(1) && told.contains("unauthorized"), "{told}");
    let ours = broker.ours()?;
    let told = String::from_utf8(ours.stderr)?;
    assert!(!ours.status.success() && told.contains("not permitted"), "{told}");
    assert!(!told.contains("wrong-0123"), "{told}");
    Ok(())
}
