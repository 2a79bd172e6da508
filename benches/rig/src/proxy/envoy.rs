//! Envoy with its routes in a file that it watches, as a control plane would give them: they change without a reload.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::Result;

use super::{Front, Setup, host};

pub(super) fn prepare(setup: &Setup<'_>) -> Result<Command> {
    let Setup { site, folder, port, front, hosts } = setup;
    let (ip, backend) = (site.backend.address.ip(), site.backend.address.port());
    let routes = folder.join("routes.yaml");
    let text: String = (0..*hosts).map(|n| virtual_host(&host(n))).collect();
    fs::write(&routes, format!("{ROUTES}{text}"))?;
    let tls = match front {
        Front::Plain => String::new(),
        Front::Tls => {
            let (chain, key) = (site.certificate.chain(), site.certificate.key());
            let (chain, key) = (chain.display(), key.display());
            format!(
                "      transport_socket:
        name: tls
        typed_config:
          \"@type\": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext
          common_tls_context:
            alpn_protocols: [h2, http/1.1]
            tls_certificates: [{{certificate_chain: {{filename: {chain}}}, private_key: {{filename: {key}}}}}]
"
            )
        }
    };
    let file = folder.join("envoy.yaml");
    // The 1,024 connections, requests and waiting requests that are the default would refuse idle WebSockets.
    let text = format!(
        "node: {{id: rig, cluster: rig}}
static_resources:
  listeners:
  - name: f
    address: {{socket_address: {{address: 127.0.0.1, port_value: {port}}}}}
    filter_chains:
    - filters:
      - name: http
        typed_config:
          \"@type\": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: f
          use_remote_address: true
          stream_idle_timeout: 3600s
          upgrade_configs: [{{upgrade_type: websocket}}]
          rds:
            route_config_name: r
            config_source: {{path_config_source: {{path: {routes}}}}}
          http_filters:
          - name: router
            typed_config: {{\"@type\": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}}
{tls}  clusters:
  - name: b
    connect_timeout: 5s
    circuit_breakers: {{thresholds: [{{max_connections: 9000, max_requests: 9000, max_pending_requests: 9000}}]}}
    load_assignment:
      cluster_name: b
      endpoints:
      - lb_endpoints: [{{endpoint: {{address: {{socket_address: {{address: {ip}, port_value: {backend}}}}}}}}}]
",
        routes = routes.display(),
    );
    fs::write(&file, text)?;
    let mut command = Command::new(&site.envoy);
    command.args(["--concurrency", "1", "--disable-hot-restart", "--log-level", "error", "-c"]).arg(file);
    Ok(command)
}

/// Envoy looks at the file when it is moved into its place.
pub(super) fn add_host(folder: &Path, name: &str) -> Result<()> {
    let (routes, draft) = (folder.join("routes.yaml"), folder.join("draft"));
    fs::write(&draft, format!("{}{}", fs::read_to_string(&routes)?, virtual_host(name)))?;
    Ok(fs::rename(draft, routes)?)
}

const ROUTES: &str = "resources:
- \"@type\": type.googleapis.com/envoy.config.route.v3.RouteConfiguration
  name: r
  virtual_hosts:
";

fn virtual_host(name: &str) -> String {
    format!(
        "  - {{name: {name}, domains: [{name}], routes: [{{match: {{prefix: /}}, route: {{cluster: b, timeout: 0s}}}}]}}\n"
    )
}
