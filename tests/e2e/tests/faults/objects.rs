//! The objects of a site.

use std::net::SocketAddr;

/// Requests whose backend does not answer, and probes that see it, are over soon.
const SETTINGS: &str = "name: s, requestTimeout: 5s, connectTimeout: 500ms, webSocket: {idleTimeout: 1m}, probe: p";
const PROBE: &str = "name: p, path: /healthz, interval: 1s, timeout: 1s, unhealthyThreshold: 2";

/// A gateway of this class with a listener on `port`, and these backends as its pool `p`.
pub(crate) fn gateway(class: &str, port: u16, backends: &[SocketAddr]) -> String {
    let addresses: Vec<_> = backends.iter().map(|b| format!("{{host: {}, port: {}}}", b.ip(), b.port())).collect();
    format!(
        "apiVersion: penstock.dev/v1alpha1\nkind: ApplicationGateway\nmetadata: {{name: edge}}\nspec:\n  className: {class}\n  \
         listeners: [{{name: http, port: {port}, protocol: HTTP}}]\n  backendPools: [{{name: p, addresses: [{}]}}]\n  \
         probes: [{{{PROBE}}}]\n  backendSettings: [{{{SETTINGS}}}]\n",
        addresses.join(", "),
    )
}

/// A rule that sends a host to the backends.
pub(crate) fn rule(name: &str, host: &str) -> String {
    rule_by(name, host, "settings: s")
}

/// The same with these settings.
pub(crate) fn rule_by(name: &str, host: &str, settings: &str) -> String {
    format!(
        "apiVersion: penstock.dev/v1alpha1\nkind: RoutingRule\nmetadata: {{name: {name}}}\nspec:\n  gatewayRef: {{name: edge}}\n  \
         hostNames: [{host}]\n  backend: {{pool: p, {settings}}}\n"
    )
}
