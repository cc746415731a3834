//! What sets a host up: links, completions, manuals, settings, the check of a bus.

use std::fs;

use polybus_tests::{Desk, Error};
use serde_json::Value;

fn text(desk: &Desk, line: &str) -> Result<String, Error> {
    let output = desk.run(line, "")?;
    assert!(output.status.success(), "{line}: {output:?}");
    Ok(String::from_utf8(output.stdout)?)
}

const OLD_NAMES: [&str; 8] = [
    "anon_client",
    "anon_server",
    "crosscor",
    "crosscor_client",
    "crosscor_server",
    "cumdist",
    "ipgrep",
    "logmon",
];

#[test]
fn links_are_made_kept_and_never_take_a_foreign_file() -> Result<(), Error> {
    let desk = Desk::new()?;
    assert_eq!(text(&desk, "polybus install-links bin")?.matches("made ").count(), OLD_NAMES.len());
    for name in OLD_NAMES {
        assert!(fs::read_link(desk.path("bin").join(name)).is_ok(), "{name}");
    }
    assert_eq!(text(&desk, "polybus install-links bin")?.matches("kept ").count(), OLD_NAMES.len());
    fs::remove_file(desk.path("bin/logmon"))?;
    desk.file("bin/logmon", "the old program")?;
    let output = desk.run("polybus install-links --json bin", "")?;
    assert_eq!(output.status.code(), Some(1));
    let states: Vec<Value> =
        String::from_utf8(output.stdout)?.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    let logmon = states.iter().find(|state| state["name"] == "logmon").ok_or("logmon is reported")?;
    assert_eq!(logmon["state"], "refused");
    assert_eq!(fs::read_to_string(desk.path("bin/logmon"))?, "the old program");
    assert!(text(&desk, "polybus install-links --force bin")?.contains("replaced bin/logmon"));
    assert!(fs::read_link(desk.path("bin/logmon")).is_ok());
    Ok(())
}

#[test]
fn every_program_tells_its_version_help_and_usage() -> Result<(), Error> {
    let desk = Desk::new()?;
    for name in OLD_NAMES {
        let version = text(&desk, &format!("{name} -V"))?;
        assert!(version.starts_with(&format!("{name} ")) && version.trim_end().ends_with(')'), "{version}");
        assert_eq!(version, text(&desk, &format!("{name} --version"))?);
        for option in ["-h", "--help"] {
            assert!(text(&desk, &format!("{name} {option}"))?.contains("--version"), "{name} {option}");
        }
        let usage = text(&desk, &format!("{name} --usage"))?;
        assert!(usage.contains(name) && usage.lines().count() > 2, "{usage}");
    }
    for name in ["anon_client", "anon_server", "crosscor_client", "crosscor_server", "logmon"] {
        assert_eq!(text(&desk, &format!("{name} -u"))?, text(&desk, &format!("{name} --usage"))?);
    }
    Ok(())
}

#[test]
fn help_names_every_command_and_the_buses() -> Result<(), Error> {
    let desk = Desk::new()?;
    let help = text(&desk, "polybus --help")?;
    for name in ["anon", "crosscor", "ipgrep", "cumdist", "call", "serve", "log", "check", "config", "man"] {
        assert!(help.contains(&format!("\n  {name} ")), "{name}");
        let own = text(&desk, &format!("polybus {name} --help"))?;
        assert_eq!(own, text(&desk, &format!("polybus help {name}"))?);
        assert!(own.contains("Usage: polybus"), "{own}");
    }
    assert!(!help.contains("reference"));
    assert!(text(&desk, "polybus anon --help")?.contains("embedded:NAME"));
    for verb in ["tail", "send"] {
        assert!(text(&desk, &format!("polybus log {verb} --help"))?.contains("--log-exchange"));
    }
    Ok(())
}

#[test]
fn completions_and_manuals_are_written() -> Result<(), Error> {
    let desk = Desk::new()?;
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        assert!(text(&desk, &format!("polybus completions {shell}"))?.contains("install-links"), "{shell}");
        let old = text(&desk, &format!("polybus completions {shell} --for logmon --for anon_client"))?;
        assert!(old.contains("send-message") && old.contains("require-server"), "{shell}");
    }
    assert!(text(&desk, "polybus man")?.contains(".TH polybus 1"));
    text(&desk, "polybus man pages")?;
    for name in ["polybus", "polybus-serve", "polybus-log-tail", "anon_client", "logmon", "ipgrep"] {
        let page = fs::read_to_string(desk.path("pages").join(format!("{name}.1")))?;
        assert!(page.contains(".SH OPTIONS"), "{name}");
    }
    assert!(!desk.path("pages/polybus-reference.1").exists());
    Ok(())
}

#[test]
fn settings_are_shown_with_their_origin_and_without_secrets() -> Result<(), Error> {
    let desk = Desk::new()?
        .with_variable("RPC_PWD", "s3cret")
        .with_variable("POLYBUS_BUS", "nats://user:s3cret@n1.example.org?token=s3cret");
    desk.file("polybus.toml", "timeout = 7\n[service]\njobs = 3\n")?;
    for line in
        ["polybus config", "polybus --show-config", "polybus anon --show-config", "logmon --show-config"]
    {
        let shown = text(&desk, line)?;
        assert!(!shown.contains("s3cret") && shown.contains("(hidden)"), "{line}: {shown}");
        assert!(shown.contains("environment variable RPC_PWD") && shown.contains("polybus.toml"), "{shown}");
    }
    let shown = text(&desk, "polybus config --json --timeout 9")?;
    assert!(!shown.contains("s3cret"), "{shown}");
    let settings: Value = serde_json::from_str(&shown)?;
    assert_eq!(
        (&settings["timeout"]["value"], &settings["timeout"]["origin"]),
        (&9.into(), &"--timeout".into())
    );
    assert_eq!(settings["service.jobs"]["value"], 3);
    let desk = desk.with_variable("RPC_TIMEOUT", "8").with_variable("POLYBUS_TIMEOUT", "6");
    assert!(text(&desk, "polybus config")?.contains("= 6  # environment variable POLYBUS_TIMEOUT"));
    assert!(text(&desk, "anon_client --show-config")?.contains("= 8  # environment variable RPC_TIMEOUT"));
    assert!(text(&desk, "polybus config --old")?.contains("= 8  # environment variable RPC_TIMEOUT"));
    Ok(())
}

#[test]
fn a_bus_is_checked_against_needs() -> Result<(), Error> {
    let desk = Desk::new()?;
    let shown = text(&desk, "polybus check")?;
    assert!(shown.contains("bus embedded:") && shown.contains("anon: can be served"), "{shown}");
    let shown: Value = serde_json::from_str(&text(&desk, "polybus check --json crosscor")?)?;
    assert_eq!((&shown["bus"], &shown["local"]), (&"embedded:".into(), &true.into()));
    assert_eq!(
        (&shown["services"][0]["name"], &shown["services"][0]["met"]),
        (&"crosscor".into(), &true.into())
    );
    assert_eq!(shown["features"]["queue"], true);
    let output = desk.run("polybus check --json --require queue,durability_replicated", "")?;
    assert_eq!(output.status.code(), Some(78));
    let shown: Value = serde_json::from_slice(&output.stdout)?;
    let unmet = &shown["services"][2]["unmet"];
    assert!(unmet[0]["why"].as_str().is_some_and(|why| why.contains("replicated")), "{shown}");
    let able = unmet[0]["met_by"].as_array().cloned().unwrap_or_default();
    assert!(able.contains(&"amqp".into()) && able.contains(&"nats".into()), "{shown}");
    for line in ["polybus check --bus warp:", "polybus check --server mq.example.org"] {
        assert_eq!(desk.run(line, "")?.status.code(), Some(78), "{line}");
    }
    Ok(())
}
