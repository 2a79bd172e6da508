//! Short ways to write manifests. Each returns one or more YAML documents.

use std::fmt::Write as _;
use std::net::SocketAddr;

use penstock_testkit::Backend;

/// The listener of most tests: any host, on `$http`.
pub(crate) const HTTP: &str = "listeners: [{name: http, port: $http, protocol: HTTP}]\n";

/// The gateway `edge/shop` with this spec.
pub(crate) fn gateway(spec: &str) -> String {
    format!(
        "apiVersion: penstock.dev/v1alpha1\nkind: ApplicationGateway\nmetadata: {{name: shop, namespace: edge}}\nspec:\n{}",
        indented(spec)
    )
}

/// The gateway with a listener on `$http`, and more of its spec.
pub(crate) fn http_gateway(more: &str) -> String {
    gateway(&format!("{HTTP}{more}"))
}

/// A rule in `edge` for the gateway, with this spec beside `gatewayRef`.
pub(crate) fn rule(name: &str, spec: &str) -> String {
    format!(
        "apiVersion: penstock.dev/v1alpha1\nkind: RoutingRule\nmetadata: {{name: {name}, namespace: edge}}\n\
         spec:\n  gatewayRef: {{name: shop}}\n{}",
        indented(spec)
    )
}

/// A rule that sends everything to port 80 of a Service.
pub(crate) fn rule_to(name: &str, service: &str) -> String {
    rule(name, &format!("backend: {{services: [{{name: {service}, port: 80}}]}}"))
}

/// A Service with port 80, and EndpointSlices with these backends.
pub(crate) fn service(name: &str, backends: &[&Backend]) -> String {
    service_at(name, &backends.iter().map(|backend| backend.addr()).collect::<Vec<_>>())
}

/// The same with addresses.
pub(crate) fn service_at(name: &str, addresses: &[SocketAddr]) -> String {
    let mut yaml = format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{name: {name}, namespace: edge}}\nspec: {{ports: [{{port: 80}}]}}\n"
    );
    // Each in a slice of its own, because the endpoints of one slice share their ports.
    for (n, address) in addresses.iter().enumerate() {
        let _ = write!(
            yaml,
            "---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\n\
             metadata: {{name: {name}-{n}, namespace: edge, labels: {{kubernetes.io/service-name: {name}}}}}\n\
             addressType: IPv4\nports: [{{port: {}}}]\nendpoints: [{{addresses: [{}]}}]\n",
            address.port(),
            address.ip(),
        );
    }
    yaml
}

fn indented(spec: &str) -> String {
    spec.lines().fold(String::new(), |yaml, line| yaml + "  " + line + "\n")
}
