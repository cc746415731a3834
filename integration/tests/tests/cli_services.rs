//! The services anon and crosscor through the command and the bus inside its process: the same bytes as the local
//! engine gives, and as the vectors say.

use data_encoding::BASE64;
use polybus_tests::{Desk, Error, Programs, cases, feed, judge, service_calls, vectors};
use serde_json::Value;

fn desk() -> Result<Desk, Error> {
    Ok(Desk::new()?.with_variable("SOURCE_DATE_EPOCH", "1392876660").with_variable("TZ", "UTC"))
}

#[test]
fn every_call_of_the_vectors() -> Result<(), Error> {
    let (desk, calls) = (desk()?, service_calls(&vectors())?);
    assert!(!calls.is_empty());
    let mut faults = Vec::new();
    for call in &calls {
        faults.extend(call.fault(&desk, "")?);
    }
    assert!(faults.is_empty(), "{} faults in {} calls:\n{}", faults.len(), calls.len(), faults.join("\n"));
    Ok(())
}

#[test]
fn clients_give_what_the_local_tools_give() -> Result<(), Error> {
    let (folder, programs) = (vectors(), Programs::new()?);
    let (mut faults, mut run) = (Vec::new(), 0);
    for case in cases(&folder)? {
        let Some(mut case) = case.through_service(&folder) else { continue };
        case.argv.extend(["--bus", "embedded:"].map(str::to_owned));
        let found = judge(&case, &programs, &folder, None)?;
        faults.extend(found.into_iter().map(|fault| format!("{} as {:?}: {fault}", case.id, case.argv)));
        run += 1;
    }
    assert!(run > 20, "only {run} cases");
    assert!(faults.is_empty(), "{} faults in {run} cases:\n{}", faults.len(), faults.join("\n"));
    Ok(())
}

const MAP: &str = "192.0.2.0/24|ALPHA|CITYA\n";

#[test]
fn files_and_standard_input_are_the_same() -> Result<(), Error> {
    let desk = desk()?;
    desk.file("map.txt", MAP)?;
    desk.file("one.txt", "192.0.2.1 203.0.113.9")?;
    desk.file("two.txt", "192.0.2.2\n")?;
    let masked = "[_CITYA_] 203.0.113.9";
    for line in
        ["polybus anon -m map.txt -r one.txt", "polybus anon -m map.txt", "polybus anon -m map.txt -r -"]
    {
        let output = desk.run(line, "192.0.2.1 203.0.113.9")?;
        assert_eq!(
            (output.status.code(), String::from_utf8(output.stdout)?.as_str()),
            (Some(0), masked),
            "{line}"
        );
        assert!(output.stderr.is_empty(), "{line}");
    }
    let joined = desk.run("polybus crosscor -n map.txt one.txt two.txt", "")?.stdout;
    let local = desk.run("crosscor -n map.txt one.txt two.txt", "")?.stdout;
    assert_eq!(String::from_utf8(joined)?, String::from_utf8(local)?);
    let local = desk.run("polybus crosscor --local -n map.txt --iff foe one.txt", "")?;
    assert_eq!(
        (local.status.code(), local.stdout.starts_with(b"{\"program\": \"crosscor\",")),
        (Some(0), true)
    );
    Ok(())
}

#[test]
fn a_worker_uses_its_own_map_for_requests_without_one() -> Result<(), Error> {
    let desk = desk()?.with_variable("POLYBUS_MAP", "map.txt");
    desk.file("map.txt", MAP)?;
    let output = desk.run("polybus anon", "192.0.2.1\n")?;
    assert_eq!(String::from_utf8(output.stdout)?, "[_CITYA_]\n");
    Ok(())
}

#[test]
fn a_worker_shows_the_labels_of_its_audience() -> Result<(), Error> {
    let map = "ALPHA:\n  cidr: 192.0.2.0/24\n  tlp_tags: {amber: SITE-A, green: CITYA}\n";
    for (level, masked) in [("red", "[_SITE-A]"), ("TLP:GREEN", "[_CITYA_]"), ("white", "[__ANON_]")] {
        let desk = desk()?.with_variable("RPC_TLP", level);
        desk.file("map.yml", map)?;
        let output = desk.run("polybus anon -m map.yml", "192.0.2.1\n")?;
        assert_eq!(String::from_utf8(output.stdout)?, format!("{masked}\n"), "{level}");
    }
    Ok(())
}

#[test]
fn notices_of_the_service_come_with_a_usable_result() -> Result<(), Error> {
    let desk = desk()?;
    desk.file("map.txt", format!("{MAP}no rule\n"))?;
    let output = desk.run("polybus anon -m map.txt", "192.0.2.1\n")?;
    assert_eq!((output.status.code(), &*output.stdout), (Some(0), &b"[_CITYA_]\n"[..]));
    assert!(String::from_utf8(output.stderr)?.contains('2'), "the broken row is named");
    Ok(())
}

#[test]
fn the_raw_reply_is_the_whole_frame() -> Result<(), Error> {
    let desk = desk()?;
    let output = desk.run("polybus call anon --raw --field usage=true", "")?;
    let frame: Value = serde_json::from_slice(&output.stdout)?;
    assert_eq!((&frame["name"], &frame["appdata"]["retcode"]), (&"anon".into(), &0.into()));
    let usage = BASE64.decode(frame["appdata"]["stdout"].as_str().unwrap_or_default().as_bytes())?;
    assert_eq!(usage, desk.run("polybus call anon --field usage=true", "")?.stdout);
    desk.file("map.txt", MAP)?;
    desk.file("text", "192.0.2.1")?;
    let fields = "--file-field data=text --file-field netmap=map.txt --field stats=false";
    let output = desk.run(&format!("polybus call anon {fields}"), "")?;
    assert_eq!(output.stdout, b"[_CITYA_]");
    Ok(())
}

#[test]
fn a_large_text_passes() -> Result<(), Error> {
    let desk = desk()?;
    desk.file("map.txt", MAP)?;
    let text = "192.0.2.1 198.51.100.1\n".repeat(1 << 18);
    let output = feed(desk.command("polybus anon -m map.txt")?, text.as_bytes())?;
    assert_eq!(output.status.code(), Some(0));
    assert!(output.stdout == text.replace("192.0.2.1", "[_CITYA_]").into_bytes());
    Ok(())
}
