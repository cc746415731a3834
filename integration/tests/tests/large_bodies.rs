//! A text of any size through the service anon on every bus, in memory that does not grow with it: byte for byte what the
//! local tool gives. The same with a worker that is killed and with a broker that is killed while the job is done.
//!
//! `POLYBUS_LARGE_BYTES` is the size of the text, 64 MiB by default; 1073741824 is the run that the book speaks of.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests end at the first surprise")]
#![allow(clippy::print_stderr, reason = "figures for the book")]

use std::env;
use std::fs::{self, File};
use std::io::{BufReader, BufWriter, Read, Write};
use std::path::Path;
use std::process::Child;
use std::thread;
use std::time::{Duration, Instant};

use polybus_brokers::Kind;
use polybus_tests::{Background, Desk, Error, House};

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

/// Starts a server and gives its process.
fn server(house: &House) -> Result<Background, Error> {
    house.serve(&format!("polybus serve anon {}", house.flag()), "anon", "anon")
}

/// A client whose job has begun and is not done.
fn in_the_middle(house: &House) -> Result<Client, Error> {
    let mut client = Client::start(&house.desk, &house.flag())?;
    client.asks(&house.desk)?;
    thread::sleep(Duration::from_millis(200));
    assert!(
        client.child.try_wait()?.is_none(),
        "the job was done too soon for a kill: a larger text is needed"
    );
    Ok(client)
}

fn on_a_broker(kind: Kind) -> Result<(), Error> {
    let house = House::new(kind)?;
    prepare(&house.desk)?;
    let bus = kind.product().to_string();
    let worker = server(&house)?;

    let mut client = Client::start(&house.desk, &house.flag())?;
    client.ends(&house.desk)?;
    equal(&house.desk.path("local"), &house.desk.path("masked"))?;
    is_flat(&bus, "client", client.peak);
    is_flat(&bus, "worker", peak_of(worker.id()).unwrap_or(0));

    let mut client = in_the_middle(&house)?;
    drop(worker);
    let worker = house.desk.start(&format!("polybus serve anon {}", house.flag()))?;
    client.ends(&house.desk).map_err(|error| format!("the worker was killed: {error}"))?;
    equal(&house.desk.path("local"), &house.desk.path("masked"))?;

    let mut client = in_the_middle(&house)?;
    house.kill()?;
    thread::sleep(Duration::from_secs(1));
    house.restart()?;
    client.ends(&house.desk).map_err(|error| format!("the broker was killed: {error}"))?;
    equal(&house.desk.path("local"), &house.desk.path("masked"))?;
    is_flat(&bus, "client that lost its broker", client.peak);
    is_flat(&bus, "worker that lost its broker", peak_of(worker.id()).unwrap_or(0));
    Ok(())
}

#[test]
fn rabbitmq_between_processes() -> Result<(), Error> {
    on_a_broker(Kind::RABBITMQ)
}

#[test]
fn nats_between_processes() -> Result<(), Error> {
    on_a_broker(Kind::NATS)
}
