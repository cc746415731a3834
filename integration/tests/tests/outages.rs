//! Programs that are started while their broker is down, and programs whose broker is killed.

use polybus_brokers::Kind;
use polybus_tests::{Error, House};

const MAP: &str = "192.0.2.0/24|ALPHA|CITYA\n";

/// A monitor, a worker and a client are started first, the broker comes last; then it is killed and comes again.
fn come_alive(house: &House) -> Result<(), Error> {
    house.desk.file("map.txt", MAP)?;
    house.desk.file("text", "192.0.2.1\n")?;
    house.kill()?;
    let flag = house.flag();
    let mut monitor = house.desk.start(&format!("polybus log tail {flag}"))?;
    let mut server = house.desk.start(&format!("polybus serve anon {flag}"))?;
    let ask = format!("polybus anon -m map.txt -r text --connect-seconds 90 {flag}");
    let mut client = house.desk.start(&ask)?;
    for program in [&mut monitor, &mut server, &mut client] {
        program.tells("cannot connect to ")?;
    }
    house.restart()?;
    client.prints("[_CITYA_]")?;
    assert_eq!(client.ends()?.0, Some(0));
    monitor.tells("Waiting for logs")?;
    let again = house.desk.until_success(&ask, "")?;
    assert_eq!(again.stdout, b"[_CITYA_]\n");
    monitor.prints("side=server")?;

    house.kill()?;
    monitor.tells("is lost")?;
    server.tells("is lost")?;
    house.restart()?;
    server.tells("again")?;
    let again = house.desk.until_success(&ask, "")?;
    assert_eq!(again.stdout, b"[_CITYA_]\n");
    assert!(server.runs()?);
    monitor.tells("again")?;
    house.desk.until_success(&ask, "")?;
    monitor.prints("side=client")?;
    let (code, told) = server.terminate()?;
    assert_eq!(code, Some(0), "{told}");
    Ok(())
}

#[test]
fn programs_started_before_rabbitmq_come_alive_with_it() -> Result<(), Error> {
    come_alive(&House::new(Kind::RABBITMQ)?)
}

#[test]
fn programs_started_before_nats_come_alive_with_it() -> Result<(), Error> {
    come_alive(&House::new(Kind::NATS)?)
}

/// A client that waits for nobody says so at once, or when its patience ends.
#[test]
fn a_client_without_patience_ends_with_69() -> Result<(), Error> {
    let house = House::new(Kind::NATS)?;
    house.kill()?;
    for options in ["--no-retry", "--connect-seconds 0", "--connect-seconds 3"] {
        let output = house.desk.run(&format!("polybus call anon {options} {}", house.flag()), "")?;
        let told = String::from_utf8(output.stderr)?;
        assert_eq!(output.status.code(), Some(69), "{options}: {told}");
        assert!(told.contains("cannot connect to nats://"), "{options}: {told}");
    }
    Ok(())
}
