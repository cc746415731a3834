//! A text of any size through the service anon on every bus, in memory that does not grow with it: byte for byte what the
//! local tool gives. The same with a worker that is killed and with a broker that is killed while the job is done.
//!
//! `POLYBUS_LARGE_BYTES` is the size of the text, 64 MiB by default; 1073741824 is the run that the book speaks of.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests end at the first surprise")]
#![allow(clippy::print_stderr, reason = "figures for the book")]

use std::collections::BTreeMap;
use std::env;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{BufReader, BufWriter, Read, Write};
use std::path::Path;
use std::process::Child;
use std::thread;
use std::time::{Duration, Instant};

use polybus_brokers::Kind;
use polybus_tests::{Background, Desk, Error, House, ZmqHouse};

const MAP: &str = "192.0.2.0/24|ALPHA|CITYA\n198.51.100.0/25|BETA|CITYB\n.site.example|GAMMA|CITYC\n";

/// Neither side may hold more than this, whatever the size of the text.
const PEAK_KIB: u64 = 160 << 10;

/// How long a job may take: a debug build masks some ten megabytes in a second, and a lease may have to end.
const WITHIN: Duration = Duration::from_mins(15);

fn size() -> u64 {
    env::var("POLYBUS_LARGE_BYTES").map_or(64 << 20, |text| text.parse().expect("a number of bytes"))
}

/// Writes the text, and what the local tool makes of it.
fn prepare(desk: &Desk) -> Result<(), Error> {
    desk.file("map.txt", MAP)?;
    let mut text = BufWriter::new(File::create(desk.path("text"))?);
    let (mut written, mut number) = (0, 0_u64);
    while written < size() {
        let (low, port) = (number % 256, number % 60_000);
        let line = format!(
            "{number} src=192.0.2.{low} dst=198.51.100.{} via=203.0.113.{low} port={port} host=h{number}.site.example\n",
            255 - low
        );
        text.write_all(line.as_bytes())?;
        (written, number) = (written + line.len() as u64, number + 1);
    }
    text.flush()?;
    let mut local = desk.command("ipgrep -a --context -n map.txt text")?;
    assert!(local.stdout(File::create(desk.path("local"))?).status()?.success());
    Ok(())
}

/// A client on its way.
struct Client {
    child: Child,
    peak: u64,
    began: Instant,
}

impl Client {
    fn start(desk: &Desk, flag: &str) -> Result<Self, Error> {
        let line = format!("polybus anon -v -m map.txt --timeout 900 {flag}");
        let mut command = desk.command(&line)?;
        command.stdin(File::open(desk.path("text"))?).stdout(File::create(desk.path("masked"))?);
        let child = command.stderr(File::create(desk.path("told"))?).spawn()?;
        Ok(Self { child, peak: 0, began: Instant::now() })
    }

    /// Waits until it has sent the text, and the job is in the queue.
    fn asks(&mut self, desk: &Desk) -> Result<(), Error> {
        self.until(|_| fs::read_to_string(desk.path("told")).is_ok_and(|told| told.contains("asking anon")))
    }

    fn ends(&mut self, desk: &Desk) -> Result<(), Error> {
        self.until(|client| client.child.try_wait().is_ok_and(|ended| ended.is_some()))?;
        let told = fs::read_to_string(desk.path("told"))?;
        assert!(self.child.wait()?.success(), "{told}");
        Ok(())
    }

    fn until(&mut self, mut done: impl FnMut(&mut Self) -> bool) -> Result<(), Error> {
        while !done(self) {
            if self.began.elapsed() > WITHIN {
                return Err("it does not end".into());
            }
            self.peak = self.peak.max(peak_of(self.child.id()).unwrap_or(0));
            thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        // It may have ended already.
        let _killed = self.child.kill().and_then(|()| self.child.wait());
    }
}

/// The most memory that a process has had resident, in KiB.
fn peak_of(process: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().trim_end_matches(" kB").parse().ok()
}

fn equal(one: &Path, other: &Path) -> Result<(), Error> {
    let (mut one, mut other) = (BufReader::new(File::open(one)?), BufReader::new(File::open(other)?));
    let (mut left, mut right) = (vec![0; 1 << 20], vec![0; 1 << 20]);
    for block in 0_u64.. {
        let count = one.read(&mut left)?;
        other.read_exact(&mut right[..count]).map_err(|_| format!("it ends in block {block}"))?;
        assert!(left[..count] == right[..count], "they differ in block {block}");
        if count == 0 {
            break;
        }
    }
    assert_eq!(other.read(&mut right)?, 0, "it is too long");
    Ok(())
}

fn is_flat(bus: &str, who: &str, peak: u64) {
    eprintln!("{bus}: {} bytes, peak of the {who} {peak} KiB", size());
    assert!(peak > 0 && peak < PEAK_KIB, "{bus}: the {who} had {peak} KiB");
}

#[test]
fn embedded_in_one_process() -> Result<(), Error> {
    let desk = Desk::new()?;
    prepare(&desk)?;
    let journal = format!("--bus embedded://{}", desk.path("journal").display());
    for flag in ["--bus embedded:", &journal] {
        let mut client = Client::start(&desk, flag)?;
        client.ends(&desk)?;
        equal(&desk.path("local"), &desk.path("masked"))?;
        is_flat("embedded", "one process", client.peak);
    }
    let left = fs::read_dir(desk.path("journal/parts"))?.count();
    assert_eq!(left, 0, "parts were left behind");
    Ok(())
}

/// A broker between the processes.
trait Between {
    fn name(&self) -> String;
    fn desk(&self) -> &Desk;
    fn flag(&self) -> String;
    fn kill(&mut self) -> Result<(), Error>;
    fn restart(&mut self) -> Result<(), Error>;

    /// Kills it, and starts it again after a while.
    fn falls(&mut self) -> Result<(), Error> {
        self.kill()?;
        thread::sleep(Duration::from_secs(1));
        self.restart()
    }
}

impl Between for House {
    fn name(&self) -> String {
        self.broker.kind().product().to_string()
    }

    fn desk(&self) -> &Desk {
        &self.desk
    }

    fn flag(&self) -> String {
        Self::flag(self)
    }

    fn kill(&mut self) -> Result<(), Error> {
        Self::kill(self)
    }

    fn restart(&mut self) -> Result<(), Error> {
        Self::restart(self)
    }
}

impl Between for ZmqHouse {
    fn name(&self) -> String {
        "ZeroMQ".to_owned()
    }

    fn desk(&self) -> &Desk {
        &self.desk
    }

    fn flag(&self) -> String {
        Self::flag(self)
    }

    fn kill(&mut self) -> Result<(), Error> {
        Self::kill(self);
        Ok(())
    }

    fn restart(&mut self) -> Result<(), Error> {
        Self::restart(self)
    }
}

/// Starts a server and gives its process.
fn server(house: &impl Between) -> Result<Background, Error> {
    let flag = house.flag();
    house.desk().serve(&format!("polybus serve anon {flag}"), "anon", "anon", &flag)
}

/// A client whose job has begun and is not done.
fn in_the_middle(house: &impl Between) -> Result<Client, Error> {
    let mut client = Client::start(house.desk(), &house.flag())?;
    client.asks(house.desk())?;
    thread::sleep(Duration::from_millis(200));
    assert!(
        client.child.try_wait()?.is_none(),
        "the job was done too soon for a kill: a larger text is needed"
    );
    Ok(client)
}

fn is_right(house: &impl Between) -> Result<(), Error> {
    equal(&house.desk().path("local"), &house.desk().path("masked"))
}

/// All that happens to a job; gives the worker that is left.
fn on_a_broker(house: &mut impl Between) -> Result<Background, Error> {
    prepare(house.desk())?;
    let bus = house.name();
    let worker = server(house)?;

    let mut client = Client::start(house.desk(), &house.flag())?;
    client.ends(house.desk())?;
    is_right(house)?;
    is_flat(&bus, "client", client.peak);
    is_flat(&bus, "worker", peak_of(worker.id()).unwrap_or(0));

    let mut client = in_the_middle(house)?;
    drop(worker);
    let worker = house.desk().start(&format!("polybus serve anon {}", house.flag()))?;
    client.ends(house.desk()).map_err(|error| format!("the worker was killed: {error}"))?;
    is_right(house)?;

    let mut client = in_the_middle(house)?;
    house.falls()?;
    client.ends(house.desk()).map_err(|error| format!("the broker was killed: {error}"))?;
    is_right(house)?;
    is_flat(&bus, "client that lost its broker", client.peak);
    is_flat(&bus, "worker that lost its broker", peak_of(worker.id()).unwrap_or(0));
    Ok(worker)
}

/// The files in a folder, with their sizes.
fn files(folder: &Path) -> Result<BTreeMap<OsString, u64>, Error> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        // One that is removed meanwhile does not lie there.
        if let Ok(metadata) = entry.metadata() {
            files.insert(entry.file_name(), metadata.len());
        }
    }
    Ok(files)
}

#[test]
fn zeromq_between_processes() -> Result<(), Error> {
    let mut house = ZmqHouse::new()?;
    let _worker = on_a_broker(&mut house)?;
    let parts = house.journal().join("parts");

    // While the client writes the text, and while the worker writes the result.
    for written in [size() / 4, size() + size() / 4] {
        let before = files(&parts)?;
        let mut client = Client::start(&house.desk, &house.flag())?;
        client.until(|client| {
            let ended = client.child.try_wait().is_ok_and(|ended| ended.is_some());
            let now = files(&parts).unwrap_or_default().into_iter();
            let new = now.filter(|(name, _)| !before.contains_key(name)).map(|(_, bytes)| bytes);
            ended || new.sum::<u64>() >= written
        })?;
        assert!(client.child.try_wait()?.is_none(), "it ended before the broker was killed");
        house.falls()?;
        client.ends(&house.desk).map_err(|error| format!("killed after {written} bytes: {error}"))?;
        is_right(&house)?;
    }
    Ok(())
}

#[test]
fn rabbitmq_between_processes() -> Result<(), Error> {
    on_a_broker(&mut House::new(Kind::RABBITMQ)?).map(drop)
}

#[test]
fn nats_between_processes() -> Result<(), Error> {
    on_a_broker(&mut House::new(Kind::NATS)?).map(drop)
}
