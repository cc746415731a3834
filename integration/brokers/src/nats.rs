//! What a NATS server is told.

use std::fmt::Write as _;

use crate::layout::{Layout, Member};
use crate::tenant::Tenant;
use crate::tls::Tls;

pub(crate) const CONFIG: &str = "nats.conf";

/// A stream with a bound reserves it, though it may never hold a byte: by default the streams of many tests would not fit.
const RESERVED: &str = "max_memory_store: 1TB, max_file_store: 100TB";

/// Each tenant is an account with JetStream. The system account is for what looks after the server.
pub(crate) fn config(layout: &Layout, tenants: &[Tenant], full: bool) -> String {
    let Layout { address, port, node, data, secret, .. } = layout;
    let mut text = format!(
        "listen: \"{address}:{port}\"\n\
         server_name: \"{node}\"\n\
         jetstream: {{store_dir: \"{data}\", {RESERVED}}}\n\
         accounts: {{\n{accounts}  SYS: {{users: [{{user: system, password: \"{secret}\"}}]}}\n}}\n\
         system_account: SYS\n",
        accounts = accounts(tenants, full),
    );
    if let Some(tls) = layout.tls {
        text.push_str(&tls_block(&layout.folder, tls));
    }
    if let Some(member) = &layout.member {
        text.push_str(&cluster_block(address, member));
    }
    text.push_str(&layout.config);
    text
}

/// The limit of an account that may store nothing, in bytes: zero would be none.
pub(crate) const FULL: i64 = 1;

/// At its limit an account refuses every publish to a stream.
fn accounts(tenants: &[Tenant], full: bool) -> String {
    let limit = format!("{{max_memory: {FULL}, max_file: {FULL}}}");
    let jetstream = if full { limit.as_str() } else { "enabled" };
    let mut text = String::new();
    for Tenant { name, password } in tenants {
        let users = format!("[{{user: {name}, password: \"{password}\"}}]");
        let _ = writeln!(text, "  {name}: {{jetstream: {jetstream}, users: {users}}}");
    }
    text
}

fn tls_block(folder: &str, tls: Tls) -> String {
    let verify = tls == Tls::Mutual;
    format!(
        "tls: {{cert_file: \"{folder}/server.pem\", key_file: \"{folder}/server.key\", \
         ca_file: \"{folder}/ca.pem\", verify: {verify}}}\n"
    )
}

/// Clients are told of no other server than those they know: the addresses inside of containers are of no use to them.
fn cluster_block(address: &str, member: &Member) -> String {
    let routes: Vec<_> = member.routes.iter().map(|route| format!("\"nats://{route}\"")).collect();
    format!(
        "cluster: {{name: polybus, listen: \"{address}:{}\", no_advertise: true, routes: [{}]}}\n",
        member.port,
        routes.join(", "),
    )
}
