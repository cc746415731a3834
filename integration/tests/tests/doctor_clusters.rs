//! `polybus doctor` on clusters that have lost members.

use polybus_brokers::{Cluster, Kind, Options};
use polybus_tests::{Desk, Error, Nats, examined, examined_until};
use serde_json::json;
use tokio::runtime::Runtime;

#[test]
fn rabbitmq() -> Result<(), Error> {
    let runtime = Runtime::new()?;
    let options = Options::default().with_management(true);
    let cluster = runtime.block_on(Cluster::start_with(Kind::RABBITMQ_4_0, &options))?;
    let [first, second, third] = cluster.nodes() else { return Err("three members".into()) };
    runtime.block_on(first.command(&["set_user_tags", "main", "monitoring"]))?;
    let desk = Desk::new()?;
    let bus = format!("--bus {}?replicas=3", first.url());
    let server = desk.start(&format!("polybus serve anon {bus}"))?;
    desk.until_success(&format!("polybus call anon --field usage=true --require-server {bus}"), "")?;
    assert_eq!(server.terminate()?.0, Some(0));
    let management = first.management_url().ok_or("the management interface was asked for")?;
    let words = format!("anon {bus} --management {management}");
    let whole = examined_until(&desk, &words, &[("node-down", "fine", "node ", "runs")])?;
    assert_eq!((whole.bad().as_str(), whole.code), ("", Some(0)));
    runtime.block_on(third.kill())?;
    examined_until(
        &desk,
        &words,
        &[
            ("node-down", "warning", "node ", "does not run"),
            ("members-missing", "warning", "queue anon_0.5.5", "2 of 3 members"),
        ],
    )?;
    runtime.block_on(second.kill())?;
    examined_until(&desk, &words, &[("queue-down", "fault", "queue anon_0.5.5", "its state is")]).map(drop)
}

/// A queue without replicas is on one of the servers, and the others still know of it when that one is lost.
#[test]
fn nats() -> Result<(), Error> {
    let runtime = Runtime::new()?;
    let cluster = runtime.block_on(Cluster::start(Kind::NATS_2_10))?;
    let first = cluster.nodes().first().ok_or("three members")?;
    let (user, password) = first.login();
    Nats::connect(&first.address(), user, password)?.stream("anon_0.5.5", &json!({}))?;
    let has_it =
        runtime.block_on(cluster.leader("polybus+q+anon_0=5=5"))?.ok_or("the stream has a leader")?;
    let desk = Desk::new()?;
    let others: Vec<_> = cluster.nodes().iter().enumerate().filter(|(index, _)| *index != has_it).collect();
    let addresses: Vec<_> = others.iter().map(|(_, node)| node.address()).collect();
    let words = format!("anon --bus {}", first.url_at(&addresses.join(",")));
    let whole = examined(&desk, &words)?;
    assert!(!whole.bad().contains("no-leader"), "{}", whole.bad());
    runtime.block_on(cluster.nodes()[has_it].kill())?;
    let found = examined_until(&desk, &words, &[("no-leader", "fault", "queue anon_0.5.5", "")])?;
    assert!(!found.bad().contains("subject-taken"), "{}", found.bad());
    Ok(())
}
