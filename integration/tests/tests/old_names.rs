//! The old program names over RabbitMQ, with the old configuration file.

use polybus_brokers::Kind;
use polybus_tests::{Desk, Error, House, account};

const MAP: &str = "192.0.2.0/24|ALPHA|CITYA\n";

/// A folder as an old program would find it: settings in `rpc_config.yml` alone.
fn old_desk(house: &House) -> Result<Desk, Error> {
    let url = house.broker.url();
    let (user, password) = account(&url).ok_or("the URL has an account")?;
    let vhost = url.rsplit('/').next().unwrap_or_default();
    let server = house.broker.address();
    let desk = Desk::new()?.with_variable("TZ", "UTC").with_variable("SOURCE_DATE_EPOCH", "1392876660");
    desk.file(
        "rpc_config.yml",
        format!("RPC_SERVER: '{server}'\nRPC_USER: {user}\nRPC_PWD: {password}\nRPC_VHOST: {vhost}\nRPC_QUEUEBASE: rpc\n"),
    )?;
    desk.file("map.txt", MAP)?;
    desk.file("text", "192.0.2.1 and 203.0.113.5\n")?;
    Ok(desk)
}

/// The row of a queue or an exchange in a listing of `rabbitmqctl`.
fn row(listing: &str, name: &str) -> String {
    listing.lines().find(|line| line.split('\t').next() == Some(name)).unwrap_or_default().to_owned()
}

#[test]
fn old_names_work_with_their_old_settings_and_flags() -> Result<(), Error> {
    let house = House::new(Kind::RABBITMQ)?;
    let desk = old_desk(&house)?;
    let mut monitor = desk.start("logmon")?;
    monitor.tells("[*] Waiting for logs on exchange \"logs\". To exit press CTRL+C")?;
    let anon = desk.start("anon_server -v")?;
    let crosscor = desk.start("crosscor_server -v -q crosscor_test")?;
    let masked = desk.until_success("anon_client -m map.txt -r text", "")?;
    assert_eq!(masked.stdout, b"[_CITYA_] and 203.0.113.5\n");
    let listed = desk.until_success("crosscor_client -q crosscor_test -m map.txt -r text -I friend", "")?;
    let local = desk.run("crosscor -n map.txt -I friend text", "")?;
    assert_eq!(listed.stdout, local.stdout);

    let line = monitor.prints("anon_client program=anon pika_version=polybus-")?;
    assert!(line.contains(" anon_client [-] ["), "{line}");
    monitor.prints("anon_server [-] [")?;
    assert!(desk.run("logmon -m deployed", "")?.status.success());
    assert!(monitor.prints("deployed")?.contains(" logmon [-] ["));
    assert!(desk.run("logmon -l devops -m deployed", "")?.status.success());

    flags_are_the_old_ones(&house)?;
    for server in [anon, crosscor] {
        assert_eq!(server.terminate()?.0, Some(0));
    }
    Ok(())
}

/// Section 2 of the specification: what old programs make, and what they would be refused beside.
fn flags_are_the_old_ones(house: &House) -> Result<(), Error> {
    let url = house.broker.url();
    let vhost = url.rsplit('/').next().unwrap_or_default();
    let words =
        ["list_queues", "-q", "-p", vhost, "name", "durable", "auto_delete", "exclusive", "arguments"];
    let queues = house.rabbitmqctl(&words)?;
    for queue in ["anon_0.5.5", "crosscor_test_0.5.5"] {
        // Servers of version 4 write down the type that they chose themselves.
        let row = row(&queues, queue).replace("{\"x-queue-type\",\"classic\"}", "");
        assert_eq!(row, format!("{queue}\tfalse\tfalse\tfalse\t[]"), "{queues}");
    }
    let words = ["list_exchanges", "-q", "-p", vhost, "name", "type", "durable"];
    let exchanges = house.rabbitmqctl(&words)?;
    assert_eq!(row(&exchanges, "logs"), "logs\tfanout\tfalse", "{exchanges}");
    assert_eq!(row(&exchanges, "devops"), "devops\tfanout\ttrue", "{exchanges}");
    Ok(())
}

#[test]
fn serve_makes_its_queue_durable_and_both_serve_what_is_there() -> Result<(), Error> {
    let house = House::new(Kind::RABBITMQ)?;
    let desk = old_desk(&house)?;
    let durable = house.serve(&format!("polybus serve anon {}", house.flag()), "anon", "anon")?;
    let words = ["list_queues", "-q", "-p", "main", "name", "durable"];
    assert_eq!(row(&house.rabbitmqctl(&words)?, "anon_0.5.5"), "anon_0.5.5\ttrue");
    assert_eq!(durable.terminate()?.0, Some(0));
    // The old name serves the durable queue, and `polybus serve` one with the old flags.
    let old = desk.start("anon_server")?;
    let ask = "anon_client -m map.txt -r text --require-server";
    assert_eq!(desk.until_success(ask, "")?.stdout, b"[_CITYA_] and 203.0.113.5\n");
    assert_eq!(old.terminate()?.0, Some(0));

    let old = desk.start("crosscor_server")?;
    let ask = "crosscor_client -m map.txt -r text --require-server";
    desk.until_success(ask, "")?;
    assert_eq!(old.terminate()?.0, Some(0));
    let new = house.serve(&format!("polybus serve crosscor {}", house.flag()), "crosscor", "crosscor")?;
    assert!(desk.run(ask, "")?.status.success());
    assert_eq!(row(&house.rabbitmqctl(&words)?, "crosscor_0.5.5"), "crosscor_0.5.5\tfalse");
    let (code, told) = new.terminate()?;
    assert_eq!(code, Some(0), "{told}");
    assert!(told.contains("used as it is"), "{told}");
    Ok(())
}

#[test]
fn requests_may_go_through_an_exchange_of_their_own() -> Result<(), Error> {
    let house = House::new(Kind::RABBITMQ)?;
    let desk = old_desk(&house)?;
    let _server = desk.start("anon_server -e requests")?;
    let masked = desk.until_success("anon_client -e requests -m map.txt -r text", "")?;
    assert_eq!(masked.stdout, b"[_CITYA_] and 203.0.113.5\n");
    let exchanges = house.rabbitmqctl(&["list_exchanges", "-q", "-p", "main", "name", "type", "durable"])?;
    assert_eq!(row(&exchanges, "requests"), "requests\tdirect\tfalse", "{exchanges}");
    Ok(())
}
