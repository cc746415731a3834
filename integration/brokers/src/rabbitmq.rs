//! What a RabbitMQ server is told.

use std::fmt::Write as _;

use serde_json::json;

use crate::layout::Layout;
use crate::tenant::Tenant;
use crate::tls::Tls;

pub(crate) const CONFIG: &str = "rabbitmq.conf";
pub(crate) const DEFINITIONS: &str = "definitions.json";
pub(crate) const PLUGINS: &str = "enabled_plugins";

/// The file of plugins.
pub(crate) const fn plugins(layout: &Layout) -> &'static str {
    if layout.management.is_some() { "[rabbitmq_management].\n" } else { "[].\n" }
}

pub(crate) fn config(layout: &Layout) -> String {
    let Layout { folder, address, port, .. } = layout;
    let mut text = format!(
        "listeners.tcp.1 = {address}:{port}\n\
         loopback_users = none\n\
         disk_free_limit.absolute = 50MB\n\
         load_definitions = {folder}/{DEFINITIONS}\n\
         log.console = true\n\
         log.console.level = info\n\
         log.file = false\n"
    );
    if let Some(tls) = layout.tls {
        text.push_str(&tls_lines(layout, tls));
    }
    if let Some(port) = layout.management {
        let _ = writeln!(text, "management.tcp.ip = {address}\nmanagement.tcp.port = {port}");
    }
    if let Some(member) = &layout.member {
        text.push_str("cluster_formation.peer_discovery_backend = classic_config\n");
        for (index, name) in (1..).zip(&member.names) {
            let _ = writeln!(text, "cluster_formation.classic_config.nodes.{index} = {name}");
        }
    }
    text.push_str(&layout.config);
    text
}

/// The plain listener stays: whether the server is up is asked there.
fn tls_lines(layout: &Layout, tls: Tls) -> String {
    let Layout { folder, address, tls_port, .. } = layout;
    let mutual = tls == Tls::Mutual;
    format!(
        "listeners.ssl.1 = {address}:{tls_port}\n\
         ssl_options.cacertfile = {folder}/ca.pem\n\
         ssl_options.certfile = {folder}/server.pem\n\
         ssl_options.keyfile = {folder}/server.key\n\
         ssl_options.verify = {}\n\
         ssl_options.fail_if_no_peer_cert = {mutual}\n",
        if mutual { "verify_peer" } else { "verify_none" },
    )
}

/// Each tenant is a virtual host and the user who may do everything there.
pub(crate) fn definitions(tenants: &[Tenant]) -> String {
    let users: Vec<_> =
        tenants.iter().map(|t| json!({"name": t.name, "password": t.password, "tags": ""})).collect();
    let vhosts: Vec<_> = tenants.iter().map(|tenant| json!({"name": tenant.name})).collect();
    let permissions: Vec<_> = tenants
        .iter()
        .map(|t| json!({"user": t.name, "vhost": t.name, "configure": ".*", "write": ".*", "read": ".*"}))
        .collect();
    json!({"users": users, "vhosts": vhosts, "permissions": permissions}).to_string()
}

/// Environment of the server and of its command line programs. `RABBITMQ_CONF_ENV_FILE` keeps the machine's own
/// settings out; the logger writes to the standard output.
pub(crate) fn environment(layout: &Layout) -> Vec<(String, String)> {
    let Layout { folder, data, node, .. } = layout;
    let mut environment = vec![
        ("RABBITMQ_NODENAME", node.clone()),
        ("RABBITMQ_CONF_ENV_FILE", "/dev/null".to_owned()),
        ("RABBITMQ_CONFIG_FILE", format!("{folder}/{CONFIG}")),
        ("RABBITMQ_ENABLED_PLUGINS_FILE", format!("{folder}/{PLUGINS}")),
        ("RABBITMQ_MNESIA_BASE", data.clone()),
        ("RABBITMQ_LOGS", "-".to_owned()),
    ];
    if let Some(member) = &layout.member {
        // A file of the image's user would have to be made in each container.
        let cookie = format!("-setcookie {}", member.secret);
        environment.push(("RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS", cookie.clone()));
        environment.push(("RABBITMQ_CTL_ERL_ARGS", cookie));
    }
    environment.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}
