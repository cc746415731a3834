//! `polybus doctor` where there is no broker: nobody at the port, no such name, and directories of an embedded bus.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use polybus_tests::{Desk, Error, examined};

#[test]
fn nobody_there() -> Result<(), Error> {
    let desk = Desk::new()?;
    let free = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    for scheme in ["amqp", "nats"] {
        let bus = format!("{scheme}://u:s3cret@{free}");
        let found = examined(&desk, &format!("anon --bus {bus}"))?;
        found.names("port-refused", "fault", &free.to_string(), "refused")?;
        assert!(!found.text.contains("s3cret"), "{}", found.text);
    }
    let found = examined(&desk, "anon --bus nats://none.example")?;
    found.names("name-unresolved", "fault", "none.example", "")?;
    examined(&desk, "anon --bus warp://x")?.names("bus-url", "fault", "URL", "warp")?;
    let authority = format!("anon --bus amqps://{free}?ca=missing.pem");
    examined(&desk, &authority)?.names("connection-settings", "fault", "", "missing.pem")
}

/// A port where nobody answers what is asked.
#[test]
fn somebody_else_there() -> Result<(), Error> {
    let desk = Desk::new()?;
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    std::thread::spawn(move || {
        use std::io::Write;
        for mut client in listener.incoming().flatten() {
            // Whoever is gone already has heard nothing.
            let _ = client.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
        }
    });
    examined(&desk, &format!("anon --bus nats://{address}"))?.names(
        "other-protocol",
        "fault",
        &address.to_string(),
        "HTTP",
    )
}

fn bus_of(folder: &Path) -> String {
    format!("--bus embedded://{}", folder.display())
}

/// A bus with a journal in which something happened.
fn used(desk: &Desk) -> Result<String, Error> {
    desk.file("map.txt", "192.0.2.0/24|ALPHA|CITYA\n")?;
    let bus = bus_of(&desk.path("bus"));
    let output = desk.run(&format!("polybus anon -m map.txt {bus}"), "192.0.2.1\n")?;
    assert!(output.status.success(), "{output:?}");
    Ok(bus)
}

fn segment(folder: &Path) -> Result<std::path::PathBuf, Error> {
    let files = fs::read_dir(folder)?.filter_map(Result::ok).map(|entry| entry.path());
    Ok(files.filter(|path| path.extension().is_some_and(|end| end == "journal")).min().ok_or("no segment")?)
}

#[test]
fn a_directory_as_it_should_be_is_left_as_it_is() -> Result<(), Error> {
    let desk = Desk::new()?;
    let missing = bus_of(&desk.path("none"));
    let found = examined(&desk, &format!("anon {missing}"))?;
    assert_eq!(found.code, Some(0), "{}", found.bad());
    found.names("journal-not-writable", "fine", "none", "can be made")?;
    assert!(!desk.path("none").exists());
    let bus = used(&desk)?;
    let before: Vec<u8> = fs::read(segment(&desk.path("bus"))?)?;
    let found = examined(&desk, &format!("anon {bus}"))?;
    assert_eq!(found.code, Some(0), "{}", found.bad());
    found.names("journal-in-use", "fine", "bus", "")?;
    found.names("journal-damaged", "fine", "bus", "kept ")?;
    assert_eq!(before, fs::read(segment(&desk.path("bus"))?)?);
    let slack = format!("{bus}?sync=50");
    examined(&desk, &format!("anon {slack}"))?.names("sync-delayed", "notice", "bus", "50 ms")
}

#[test]
fn damage_and_torn_ends_are_told() -> Result<(), Error> {
    let desk = Desk::new()?;
    let bus = used(&desk)?;
    let file = segment(&desk.path("bus"))?;
    let whole = fs::read(&file)?;
    let end = whole.iter().rposition(|byte| *byte != 0).ok_or("something is written")?;
    let mut torn = whole.clone();
    torn[end] ^= 1;
    fs::write(&file, &torn)?;
    examined(&desk, &format!("anon {bus}"))?.names("journal-torn", "notice", "bus", "not whole")?;
    assert_eq!(torn, fs::read(&file)?);
    let mut damaged = whole;
    damaged[end / 2] ^= 1;
    fs::write(&file, &damaged)?;
    examined(&desk, &format!("anon {bus}"))?.names("journal-damaged", "fault", "bus", "damaged at byte")?;
    let aside = desk.run(&format!("polybus queues {bus}?damaged=set-aside"), "")?;
    assert!(aside.status.success(), "{aside:?}");
    examined(&desk, &format!("anon {bus}"))?.names("damage-set-aside", "notice", "bus", "*.damaged")
}

#[test]
fn a_directory_that_is_in_use_names_who_has_it() -> Result<(), Error> {
    let desk = Desk::new()?;
    let bus = used(&desk)?;
    let lock = desk.path("bus").join("lock");
    let mut holder = Command::new("flock").arg("--no-fork").arg(&lock).args(["sleep", "60"]).spawn()?;
    let found = loop {
        let found = examined(&desk, &format!("anon {bus}"))?;
        if found.code == Some(1) || holder.try_wait()?.is_some() {
            break found;
        }
    };
    holder.kill()?;
    holder.wait()?;
    found.names("journal-in-use", "fault", "bus", "in use by process")
}

/// Root may write everywhere: then the doctor is run as somebody else, from a copy that everybody can reach.
#[test]
fn a_directory_that_cannot_be_written() -> Result<(), Error> {
    let desk = Desk::new()?;
    let bus = used(&desk)?;
    let copy = desk.path("copy-of-polybus");
    fs::copy(desk.command("polybus")?.get_program(), &copy)?;
    let mut command = Command::new(&copy);
    command.args(["doctor", "anon", "--json"]).args(bus.split(' ')).current_dir(desk.path("")).env_clear();
    let is_root = fs::metadata("/proc/self")?.uid() == 0;
    if is_root {
        command.uid(65_534).gid(65_534);
    }
    set_mode(&desk.path("bus"), 0o555)?;
    set_mode(&desk.path(""), 0o755)?;
    let output = command.output()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(text.contains("journal-not-writable") && text.contains("denied"), "{text}");
    Ok(())
}

fn set_mode(folder: &Path, mode: u32) -> Result<(), Error> {
    Ok(fs::set_permissions(folder, fs::Permissions::from_mode(mode))?)
}

/// A disk with little room. It takes a mount of its own, for which namespaces of users must be allowed.
#[test]
fn a_disk_that_is_nearly_full() -> Result<(), Error> {
    let desk = Desk::new()?;
    fs::create_dir(desk.path("small"))?;
    let small = desk.path("small");
    let polybus = desk.command("polybus")?.get_program().to_owned();
    let line = format!(
        "mount -t tmpfs -o size=1m tmpfs {0} && exec \"$0\" doctor anon --json --bus embedded://{0}/bus",
        small.display()
    );
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "--mount", "sh", "-c", &line]).arg(polybus);
    let output = command.current_dir(desk.path("")).output()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if text.is_empty() && std::env::var_os("POLYBUS_ALLOW_MISSING").is_some() {
        eprintln!("NOT RUN: no file system can be mounted here: {output:?}");
        return Ok(());
    }
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    for word in ["disk-low", "journal-volatile"] {
        assert!(text.contains(word), "{word}: {text}");
    }
    Ok(())
}
