//! What the tests know of the cluster: objects by their paths in the API, the gateway's traffic address, and the Pods
//! that leave.
//!
//! Objects are plain JSON here, because the tests come by the public door: what a user's YAML says, not what our types do.

mod objects;
mod pods;
mod program;

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use penstock_testkit::eventually;
use serde_json::Value;

pub use objects::{
    DEPLOYMENTS, GATEWAYS, Kind, LEASES, Objects, PODS, RULES, SECRETS, SERVICES, condition, condition_is,
};
pub use pods::{PodWatch, ready, restarts};
pub use program::{helm, kubectl, kubectl_input, kubectl_plugin, script};

/// How long the cluster may take for anything: two cores do everything here.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// How long Penstock may take for anything that does not wait for Pods.
pub const PROMPT: Duration = Duration::from_secs(20);

/// The cluster under test and where Penstock is in it; run.sh says it all by environment variables.
#[derive(Debug)]
pub struct Cluster {
    /// Its objects.
    pub objects: Objects,
    /// Namespace of Helm's release.
    pub system: String,
    /// Name of Helm's release.
    pub release: String,
    /// Namespace of the tests' own objects.
    pub namespace: String,
}

impl Cluster {
    /// Connects by the usual kubeconfig.
    ///
    /// # Panics
    /// When there is no cluster.
    pub async fn connect() -> Self {
        let objects = Objects::connect().await;
        let (system, release) = (variable("E2E_SYSTEM_NAMESPACE"), variable("E2E_RELEASE"));
        Self { objects, system, release, namespace: variable("E2E_NAMESPACE") }
    }

    /// Applies manifests to the tests' namespace.
    ///
    /// # Panics
    /// When the API server refuses them.
    pub async fn apply(&self, yaml: &str) {
        kubectl_input(&["apply", "--server-side", "--force-conflicts", "-n", &self.namespace, "-f", "-"], yaml).await;
    }

    /// The backend Deployment `echo`, with three Pods, all ready.
    ///
    /// # Panics
    /// When they do not become ready.
    pub async fn backends(&self) {
        self.apply(&include_str!("../../backend.yaml").replace("BACKEND_IMAGE", &variable("E2E_BACKEND_IMAGE"))).await;
        self.rolled_out(&self.namespace, "echo").await;
    }

    /// Waits until a Deployment consists of its newest Pods alone, all available.
    ///
    /// # Panics
    /// When it takes too long.
    pub async fn rolled_out(&self, namespace: &str, deployment: &str) {
        eventually(&format!("the rollout of {namespace}/{deployment}"), PATIENCE, || async {
            let found = self.objects.get(DEPLOYMENTS, namespace, deployment).await.ok_or(Value::Null)?;
            let (wanted, status) = (&found["spec"]["replicas"], &found["status"]);
            let current = status["observedGeneration"] == found["metadata"]["generation"];
            let all = ["replicas", "updatedReplicas", "availableReplicas"].iter().all(|count| &status[count] == wanted);
            if current && all { Ok(()) } else { Err(status.clone()) }
        })
        .await;
    }

    /// Waits until a gateway is programmed, and returns the address of its listeners.
    ///
    /// # Panics
    /// When it takes too long.
    pub async fn address(&self, gateway: &str) -> IpAddr {
        eventually(&format!("gateway {gateway} to be programmed"), PATIENCE, || async {
            let found = self.objects.get(GATEWAYS, &self.namespace, gateway).await.ok_or(Value::Null)?;
            let address = found["status"]["addresses"][0]["value"].as_str().and_then(|value| value.parse().ok());
            let programmed = condition_is(&found, &found["status"], "Programmed", "True");
            address.filter(|_| programmed).ok_or_else(|| found["status"].clone())
        })
        .await
    }

    /// A gateway with one HTTP listener on port 80 and the rule `NAME` that sends the host `NAME.example.com` to the
    /// backends; returns where it answers.
    ///
    /// # Panics
    /// When it does not answer.
    pub async fn gateway(&self, name: &str) -> SocketAddr {
        self.backends().await;
        self.apply(&format!(
            r#"
apiVersion: penstock.dev/v1alpha1
kind: ApplicationGateway
metadata: {{name: {name}}}
spec:
  listeners: [{{name: http, port: 80, protocol: HTTP}}]
  backendSettings:
  - name: quick
    webSocket: {{idleTimeout: 1m}}
    connectionDraining: {{timeout: {}s, spread: {}s}}
---
{}"#,
            DRAIN.as_secs(),
            SPREAD.as_secs(),
            rule(name, name, &format!("{name}.example.com")),
        ))
        .await;
        let addr = SocketAddr::new(self.address(name).await, 80);
        let host = format!("{name}.example.com");
        eventually(&format!("an answer for {host} at {addr}"), PATIENCE, || async {
            let answer = penstock_testkit::client::get(addr, &host, "/").await.map_err(|error| format!("{error:#}"))?;
            if answer.status == 200 { Ok(()) } else { Err(format!("{} {}", answer.status, answer.text())) }
        })
        .await;
        addr
    }

    /// The Deployment of Penstock.
    ///
    /// # Panics
    /// When there is none.
    pub async fn deployment(&self) -> Value {
        let found = self.objects.get(DEPLOYMENTS, &self.system, &self.release).await;
        found.unwrap_or_else(|| panic!("no Deployment {}/{}", self.system, self.release))
    }

    /// The chart of a release and its version, such as `penstock-0.1.0`.
    ///
    /// # Panics
    /// When there is no such release.
    pub async fn chart(&self, release: &str, namespace: &str) -> String {
        let all = helm(&["list", "--namespace", namespace, "--output", "json"]).await;
        let all: Vec<Value> = serde_json::from_str(&all).unwrap_or_else(|error| panic!("{all}: {error}"));
        let chart = all.iter().find(|one| one["name"] == release).and_then(|one| one["chart"].as_str());
        chart.unwrap_or_else(|| panic!("no release {namespace}/{release}: {all:?}")).to_owned()
    }

    /// How long a leaving Pod of Penstock keeps WebSockets untouched: from its arguments, `delay + timeout - spread`.
    ///
    /// # Panics
    /// When they do not say.
    pub async fn own_quiet(&self) -> Duration {
        let deployment = self.deployment().await;
        let args = deployment["spec"]["template"]["spec"]["containers"][0]["args"].clone();
        let seconds = |flag: &str| {
            let args = args.as_array().into_iter().flatten().filter_map(Value::as_str);
            let value = args.filter_map(|arg| arg.strip_prefix(flag)?.strip_suffix('s')?.parse().ok()).next();
            Duration::from_secs(value.unwrap_or_else(|| panic!("no {flag}Ns among the arguments {deployment}")))
        };
        seconds("--drain-delay=") + seconds("--drain-timeout=") - seconds("--drain-spread=")
    }

    /// Watches the backends and Penstock's own Pods, so that the load knows which WebSockets may be closed when.
    ///
    /// # Panics
    /// When the API server does not answer.
    pub async fn watch_departures(&self) -> PodWatch {
        let own = self.own_quiet().await;
        PodWatch::start(&self.objects, &[(&self.namespace, DRAIN - SPREAD), (&self.system, own)]).await
    }

    /// How many Pods of Penstock there should be.
    ///
    /// # Panics
    /// When the Deployment does not say.
    pub async fn own_pods_wanted(&self) -> usize {
        let wanted = self.deployment().await["spec"]["replicas"].as_u64().expect("the API server sets replicas");
        usize::try_from(wanted).expect("a small number")
    }

    /// The Pods of Penstock.
    pub async fn own_pods(&self) -> Vec<Value> {
        self.objects.list(PODS, &self.system, &format!("app.kubernetes.io/instance={}", self.release)).await
    }
}

/// The backend settings `quick` of every test's gateway: how long a leaving backend keeps what it has.
const DRAIN: Duration = Duration::from_secs(8);

/// The last part of it, in which WebSockets are closed.
const SPREAD: Duration = Duration::from_secs(2);

/// A rule that sends everything for a host to the backends.
#[must_use]
pub fn rule(name: &str, gateway: &str, host: &str) -> String {
    format!(
        r#"
apiVersion: penstock.dev/v1alpha1
kind: RoutingRule
metadata: {{name: {name}}}
spec:
  gatewayRef: {{name: {gateway}}}
  hostNames: ["{host}"]
  backend: {{services: [{{name: echo, port: 80}}], settings: quick}}
"#
    )
}

/// A variable that run.sh sets.
///
/// # Panics
/// When it is not set.
#[must_use]
pub fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set: these tests are started by tests/e2e/run.sh"))
}

/// A number from the environment.
///
/// # Panics
/// When it is none.
#[must_use]
pub fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |value| value.parse().unwrap_or_else(|_| panic!("{name}={value} is no number")))
}
