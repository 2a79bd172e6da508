//! Penstock in standalone mode: the objects a cluster would hold, as files. A rule for each host; changes are new files.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::Result;

use super::{Front, Setup, free_port, host};

/// How many rules share a file.
const RULES_PER_FILE: usize = 100;

pub(super) fn prepare(setup: &Setup<'_>) -> Result<Command> {
    let Setup { site, folder, port, front, hosts } = setup;
    let manifests = folder.join("manifests");
    fs::create_dir(&manifests)?;
    let (ip, backend) = (site.backend.address.ip(), site.backend.address.port());
    let listener = match front {
        Front::Plain => "protocol: HTTP",
        Front::Tls => {
            let (chain, key) =
                (fs::read_to_string(site.certificate.chain())?, fs::read_to_string(site.certificate.key())?);
            let secret = format!(
                "apiVersion: v1
kind: Secret
metadata: {{name: bench}}
type: kubernetes.io/tls
stringData: {{tls.crt: {chain:?}, tls.key: {key:?}}}
"
            );
            fs::write(manifests.join("secret.yaml"), secret)?;
            "protocol: HTTPS, tls: {certificateRefs: [{name: bench}]}"
        }
    };
    // An idle WebSocket lives for an hour, as in the peers' configurations; everything else is the default.
    let text = format!(
        "apiVersion: penstock.dev/v1alpha1
kind: ApplicationGateway
metadata: {{name: bench}}
spec:
  listeners: [{{name: http, port: {port}, {listener}}}]
  backendSettings: [{{name: echo, webSocket: {{idleTimeout: 1h}}}}]
---
apiVersion: v1
kind: Service
metadata: {{name: echo}}
spec:
  ports: [{{name: http, port: 80, targetPort: {backend}}}]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: echo, labels: {{kubernetes.io/service-name: echo}}}}
addressType: IPv4
ports: [{{name: http, port: {backend}}}]
endpoints: [{{addresses: [{ip}], conditions: {{ready: true}}}}]
"
    );
    fs::write(manifests.join("gateway.yaml"), text)?;
    let rules: Vec<String> = (0..*hosts).map(|n| rule(&host(n))).collect();
    for (n, rules) in rules.chunks(RULES_PER_FILE).enumerate() {
        fs::write(manifests.join(format!("rules-{n:03}.yaml")), rules.concat())?;
    }
    let admin = free_port()?;
    let mut command = Command::new(&site.penstock);
    command.arg("run").arg("--manifests").arg(manifests);
    command.args(["--workers", "1", "--admin-address", &format!("127.0.0.1:{admin}")]);
    Ok(command)
}

/// The file is complete before it gets its name in the folder.
pub(super) fn add_host(folder: &Path, name: &str) -> Result<()> {
    let draft = folder.join("draft");
    fs::write(&draft, rule(name))?;
    Ok(fs::rename(draft, folder.join("manifests").join(format!("added-{name}.yaml")))?)
}

fn rule(host: &str) -> String {
    format!(
        "---
apiVersion: penstock.dev/v1alpha1
kind: RoutingRule
metadata: {{name: {host}}}
spec:
  gatewayRef: {{name: bench}}
  hostNames: [{host}]
  backend: {{services: [{{name: echo, port: 80}}], settings: echo}}
"
    )
}
