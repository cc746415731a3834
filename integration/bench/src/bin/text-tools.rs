//! `ipgrep` beside `grepcidr`: the same log, the same networks, in turn in one run; and peak memory by input size.
//!
//! `cargo run --release -p polybus-bench --bin text-tools [MEGABYTES] [ROUNDS]`
//!
//! Needs `grepcidr` and `taskset` on the path, and the release builds of `polybus` and `bench-log` beside this program
//! (`integration/bench/run.sh` sees to all of it). Prints Markdown.

use std::env;
use std::error::Error;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use polybus_bench::{Spread, machine, say};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

const NETWORKS: &str = "10000";

/// One way to read the log.
struct Contender {
    name: &'static str,
    arguments: Vec<String>,
    program: PathBuf,
}

fn main() -> Result<()> {
    let mut arguments = env::args().skip(1).map(|text| text.parse::<usize>());
    let megabytes = arguments.next().transpose()?.unwrap_or(100);
    let rounds = arguments.next().transpose()?.unwrap_or(7);
    let folder = tempfile::tempdir()?;
    let log = generated(folder.path(), "log", &megabytes.to_string())?;
    generated(folder.path(), "map", NETWORKS)?;
    generated(folder.path(), "nets", NETWORKS)?;
    let bytes = fs::metadata(&log)?.len();
    say(&format!("{}; {}", machine(), version("grepcidr", "-V")));
    let about = format!("{bytes} bytes of log, {NETWORKS} networks, {rounds} rounds in turn");
    say(&format!("\n{about}, output to a null device.\n"));
    speed(folder.path(), bytes, rounds)?;
    memory(folder.path())
}

/// `bench-log KIND AMOUNT` into a file of that name.
fn generated(folder: &Path, kind: &str, amount: &str) -> Result<PathBuf> {
    let path = folder.join(kind);
    let status =
        Command::new(beside("bench-log")?).args([kind, amount]).stdout(File::create(&path)?).status()?;
    if status.success() { Ok(path) } else { Err(format!("bench-log {kind}: {status}").into()) }
}

fn beside(program: &str) -> Result<PathBuf> {
    let path = env::current_exe()?.with_file_name(program);
    if path.exists() {
        Ok(path)
    } else {
        Err(format!("{} is missing: build it first", path.display()).into())
    }
}

fn version(program: &str, option: &str) -> String {
    let output = Command::new(program).arg(option).output();
    let text = output.map(|output| [output.stdout, output.stderr].concat()).unwrap_or_default();
    String::from_utf8_lossy(&text).lines().next().unwrap_or("unknown version").to_owned()
}

fn speed(folder: &Path, bytes: u64, rounds: usize) -> Result<()> {
    let contenders = contenders()?;
    let mut times = vec![Vec::new(); contenders.len()];
    for round in 0..=rounds {
        for (contender, times) in contenders.iter().zip(&mut times) {
            let time = contender.run(folder)?;
            // The first round fills the file cache.
            if round > 0 {
                times.push(time);
            }
        }
    }
    say("| one thread, on one core | MB/s, median | from | to | times grepcidr |");
    say("|---|---|---|---|---|");
    let peer = Spread::of(bytes, &times[0]).median;
    for (contender, times) in contenders.iter().zip(&times) {
        let Spread { median, least, most } = Spread::of(bytes, times);
        let ratio = median / peer;
        let name = contender.name;
        say(&format!(
            "| {name} | {:.0} | {:.0} | {:.0} | {ratio:.2} |",
            median / 1e6,
            least / 1e6,
            most / 1e6
        ));
    }
    Ok(())
}

fn contenders() -> Result<Vec<Contender>> {
    let polybus = beside("polybus")?;
    let ours = |name, options: &str| {
        let arguments =
            format!("ipgrep {options} -n map log").split_whitespace().map(str::to_owned).collect();
        Contender { name, arguments, program: polybus.clone() }
    };
    let grepcidr = ["-f", "nets", "log"].map(str::to_owned).to_vec();
    Ok(vec![
        Contender { name: "`grepcidr -f nets log`", arguments: grepcidr, program: "grepcidr".into() },
        ours("`ipgrep -n map log` (lines with a match)", ""),
        ours("`ipgrep -a -n map log` (those lines, masked)", "-a"),
        ours("`ipgrep -a --context -n map log` (all lines, masked)", "-a --context"),
        ours("`ipgrep -l -n map log` (list)", "-l"),
        ours("`ipgrep --json -n map log` (classification)", "--json"),
    ])
}

impl Contender {
    fn run(&self, folder: &Path) -> Result<Duration> {
        let mut command = Command::new("taskset");
        command.args(["-c", "0"]).arg(&self.program).args(&self.arguments).current_dir(folder);
        let began = Instant::now();
        let status = command.stdout(Stdio::null()).stderr(Stdio::null()).status()?;
        if status.success() { Ok(began.elapsed()) } else { Err(format!("{}: {status}", self.name).into()) }
    }
}

fn memory(folder: &Path) -> Result<()> {
    let block = fs::read(folder.join("log"))?;
    let block = &block[..block.len().min(1_000_000)];
    say("\n| input, piped in | `-a --context`, peak | `-a --context`, all cores, peak | `-l`, peak |");
    say("|---|---|---|---|");
    for megabytes in [1, 10, 100, 1000] {
        let one = peak(folder, block, megabytes, &["taskset", "-c", "0"], &["-a", "--context"])?;
        let all = peak(folder, block, megabytes, &[], &["-a", "--context"])?;
        let list = peak(folder, block, megabytes, &["taskset", "-c", "0"], &["-l"])?;
        say(&format!("| {megabytes} MB | {one} KiB | {all} KiB | {list} KiB |"));
    }
    Ok(())
}

/// The high-water mark of resident memory while `megabytes` copies of `block` go through, in KiB.
fn peak(folder: &Path, block: &[u8], megabytes: usize, before: &[&str], options: &[&str]) -> Result<u64> {
    let polybus = beside("polybus")?.display().to_string();
    let mut words = before.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    words.extend([polybus, "ipgrep".to_owned()]);
    words.extend(options.iter().chain(&["-n", "map"]).map(|word| (*word).to_owned()));
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]).current_dir(folder).stdin(Stdio::piped()).stdout(Stdio::null());
    let mut child = command.spawn()?;
    let mut stdin = child.stdin.take().ok_or("no standard input")?;
    let data = block.to_vec();
    let writer = thread::spawn(move || (0..megabytes).try_for_each(|_| stdin.write_all(&data)));
    let high = watch(&mut child)?;
    writer.join().map_err(|_| "the writer broke down")??;
    Ok(high)
}

fn watch(child: &mut Child) -> Result<u64> {
    let path = format!("/proc/{}/status", child.id());
    let mut high = 0;
    while child.try_wait()?.is_none() {
        let mut status = String::new();
        if File::open(&path).and_then(|mut file| file.read_to_string(&mut status)).is_ok() {
            let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
            let seen = line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok());
            high = high.max(seen.unwrap_or(0));
        }
        thread::sleep(Duration::from_millis(2));
    }
    Ok(high)
}
