//! One configuration, one binary, and the bus by a flag: workers and clients as processes of their own give what the bus
//! inside one process gives, byte for byte.

use polybus_brokers::Kind;
use polybus_tests::{Error, House, Programs, cases, judge, service_calls, vectors};

const NATS_LIMIT: u64 = 1 << 20;

/// Every case of the vectors that a client can ask for, through the workers of this house.
fn cases_of_the_vectors(house: &House) -> Result<(), Error> {
    let (folder, programs) = (vectors(), Programs::new()?);
    let _servers = [
        house.serve(&format!("polybus serve anon crosscor {}", house.flag()), "crosscor", "crosscor")?,
        house.serve(
            &format!("crosscor_server -q short --compat short-site {}", house.flag()),
            "crosscor",
            "short",
        )?,
    ];
    house.desk.until_success(&format!("polybus call anon --field usage=true {}", house.flag()), "")?;
    let (mut faults, mut run, mut large) = (Vec::new(), 0, 0);
    for case in cases(&folder)? {
        let Some(mut case) = case.through_service(&folder) else { continue };
        // Base64 makes four bytes of three. What is larger than a message goes in parts, and the result is the same.
        large += u32::from(case.input_bytes(&folder) * 4 / 3 > NATS_LIMIT);
        if case.argv.iter().any(|word| word == "short-site") {
            case.argv.extend(["-q", "short"].map(str::to_owned));
        }
        case.argv.extend(house.flag().split(' ').map(str::to_owned));
        case.env.insert("POLYBUS_CONFIG".to_owned(), house.desk.path("polybus.toml").display().to_string());
        // A password in the flag is warned of.
        case.expect.stderr_empty &= !house.warns();
        let found = judge(&case, &programs, &folder, None)?;
        faults.extend(found.into_iter().map(|fault| format!("{} as {:?}: {fault}", case.id, case.argv)));
        run += 1;
    }
    assert!(run > 20 && large > 0, "only {run} cases, {large} larger than a message of NATS");
    assert!(faults.is_empty(), "{} faults in {run} cases:\n{}", faults.len(), faults.join("\n"));
    Ok(())
}

/// Every call of the vectors, and the lines that both sides log about them.
fn calls_of_the_vectors(house: &House) -> Result<(), Error> {
    let server = house.serve(&format!("polybus serve anon crosscor {}", house.flag()), "anon", "anon")?;
    let mut monitor = house.desk.start(&format!("polybus log tail {}", house.flag()))?;
    monitor.tells("Waiting for logs on exchange \"logs\"")?;
    let mut faults = Vec::new();
    for call in service_calls(&vectors())? {
        faults.extend(call.fault(&house.desk, &house.flag())?);
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    let client = monitor.prints("side=client")?;
    assert!(client.contains(" polybus-call [-] ") && client.contains(" INFO call service="), "{client}");
    let line = monitor.prints("side=server")?;
    assert!(line.contains(" polybus-serve [-] ") && line.contains("retcode="), "{line}");
    drop(monitor);
    let (code, told) = server.terminate()?;
    assert_eq!(code, Some(0), "{told}");
    assert!(told.contains("stopped: "), "{told}");
    Ok(())
}

#[test]
fn rabbitmq_gives_what_the_vectors_say() -> Result<(), Error> {
    let house = House::new(Kind::RABBITMQ)?;
    cases_of_the_vectors(&house)?;
    calls_of_the_vectors(&house)
}

#[test]
fn nats_gives_what_the_vectors_say() -> Result<(), Error> {
    let house = House::new(Kind::NATS)?;
    cases_of_the_vectors(&house)?;
    calls_of_the_vectors(&house)
}

/// What a client says about a queue that nobody serves, that is missing, or that another version has.
fn absent_servers(house: &House) -> Result<(), Error> {
    let desk = &house.desk;
    let line = format!("polybus call anon --field usage=true {}", house.flag());
    let told = |options: &str| -> Result<(Option<i32>, String), Error> {
        let output = desk.run(format!("{line} {options}").trim_end(), "")?;
        assert!(output.stdout.is_empty(), "{output:?}");
        Ok((output.status.code(), String::from_utf8(output.stderr)?))
    };
    let (code, text) = told("")?;
    assert_eq!(code, Some(69), "{text}");
    assert!(text.contains("anon_0.5.5") && text.contains("nor is there"), "{text}");

    let server = house.serve(
        &format!("polybus serve anon --protocol-version 0.5.5 {}", house.flag()),
        "anon",
        "anon",
    )?;
    let (code, text) = told("--protocol-version 0.4")?;
    assert_eq!(code, Some(69), "{text}");
    assert!(
        text.contains("anon_0.4") && text.contains("there is anon_0.5.5 (--protocol-version 0.5.5)"),
        "{text}"
    );

    assert_eq!(server.terminate()?.0, Some(0));
    let gone = |text: &str| text.contains("nobody serves");
    let (code, text) = told("--require-server --timeout 20")?;
    assert!(code == Some(69) && gone(&text), "{code:?} {text}");
    let (code, text) = told("--timeout 2")?;
    assert!(code == Some(75) && gone(&text), "{code:?} {text}");
    assert!(text.contains("deadline passed") && text.contains("after 2."), "{text}");
    Ok(())
}

#[test]
fn rabbitmq_clients_say_who_is_missing() -> Result<(), Error> {
    absent_servers(&House::new(Kind::RABBITMQ)?)
}

#[test]
fn nats_clients_say_who_is_missing() -> Result<(), Error> {
    absent_servers(&House::new(Kind::NATS)?)
}
