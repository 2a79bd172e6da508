//! The gateway under load between three backends, and what it holds before and after.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use penstock_e2e::load::{Departures, Load, Plan, Report};
use penstock_testkit::{DEADLINE, Manifests, Metrics, Process, client, eventually, free_port, until};
use serde_json::Value;

/// The built binary; faults.sh says where.
pub(crate) fn penstock() -> PathBuf {
    std::env::var("FAULTS_PENSTOCK").expect("FAULTS_PENSTOCK is set by faults.sh").into()
}

pub(crate) const HOST: &str = "faults.example.com";
/// Requests whose backend does not answer, and probes that see it, are over soon.
const SETTINGS: &str = "name: s, requestTimeout: 5s, connectTimeout: 500ms, webSocket: {idleTimeout: 1m}, probe: p";
const PROBE: &str = "name: p, path: /healthz, interval: 1s, timeout: 1s, unhealthyThreshold: 2";

/// A backend as a process, on an address of its own.
pub(crate) struct Backend {
    pub(crate) process: Process,
    pub(crate) addr: SocketAddr,
    name: String,
    /// The network namespace that it runs in.
    namespace: Option<String>,
}

impl Backend {
    pub(crate) async fn start(name: &str, addr: SocketAddr, namespace: Option<&str>) -> Self {
        let process = Self::process(name, addr, namespace);
        eventually(&format!("backend {name}"), DEADLINE, || client::get(addr, HOST, "/healthz")).await;
        Self { process, addr, name: name.to_owned(), namespace: namespace.map(str::to_owned) }
    }

    fn process(name: &str, addr: SocketAddr, namespace: Option<&str>) -> Process {
        let program = env!("CARGO_BIN_EXE_e2e-backend");
        let process = match namespace {
            Some(namespace) => Process::of("ip").args(["netns", "exec", namespace, program]),
            None => Process::of(program),
        };
        process.env("POD_NAME", name).env("PORT", &addr.port().to_string()).start()
    }

    /// Starts it again where it was.
    pub(crate) async fn again(&mut self) {
        *self = Self::start(&self.name, self.addr, self.namespace.as_deref()).await;
    }
}

/// A gateway before its backends.
pub(crate) struct Site {
    pub(crate) process: Process,
    pub(crate) manifests: Manifests,
    pub(crate) addr: SocketAddr,
    pub(crate) admin: SocketAddr,
}

/// What a process holds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Usage {
    pub(crate) megabytes: f64,
    pub(crate) files: usize,
}

impl Site {
    /// Before these backends, with more of the command line.
    pub(crate) async fn before(backends: &[SocketAddr], args: &[&str]) -> Self {
        let (port, admin) = (free_port(), SocketAddr::from(([127, 0, 0, 1], free_port())));
        let addresses: Vec<_> = backends.iter().map(|b| format!("{{host: {}, port: {}}}", b.ip(), b.port())).collect();
        let manifests = Manifests::new();
        manifests.write(
            "site.yaml",
            &format!(
                "apiVersion: penstock.dev/v1alpha1\nkind: ApplicationGateway\nmetadata: {{name: edge}}\nspec:\n  \
                 listeners: [{{name: http, port: {port}, protocol: HTTP}}]\n  backendPools: [{{name: p, addresses: [{}]}}]\n  \
                 probes: [{{{PROBE}}}]\n  backendSettings: [{{{SETTINGS}}}]\n---\n{}",
                addresses.join(", "),
                rule("all", HOST),
            ),
        );
        let mut process = start(&manifests, admin, args);
        process.wait_ready(admin, DEADLINE).await;
        let site = Self { process, manifests, addr: SocketAddr::from(([127, 0, 0, 1], port)), admin };
        site.healthy(backends.len()).await;
        site
    }

    /// Waits until so many backends pass their probes.
    pub(crate) async fn healthy(&self, count: usize) {
        let up = || async { self.backends().await.iter().filter(|backend| backend["health"] == "Up").count() };
        until(&format!("{count} healthy backends"), DEADLINE, up, |up| *up == count).await;
    }

    /// Waits until the probes of one find it down; its requests may have had it out before.
    pub(crate) async fn one_down(&self) {
        let ejected = |backend: &Value| backend["reason"].as_str().is_some_and(|reason| reason.starts_with("Ejected"));
        let down = |all: &Vec<Value>| all.iter().any(|backend| backend["health"] == "Down" && !ejected(backend));
        until("a backend to be down", DEADLINE, || self.backends(), down).await;
    }

    /// Waits until nothing waits any more for an answer of one that is down.
    pub(crate) async fn nothing_waits(&self) {
        let waits = |backend: &Value| backend["health"] == "Down" && backend["active"] != 0;
        until("the last answer", DEADLINE, || self.backends(), |all| !all.iter().any(waits)).await;
    }

    /// As `/status` has them.
    async fn backends(&self) -> Vec<Value> {
        let status = client::get(self.admin, "admin", "/status").await.map(|answer| answer.json());
        status.ok().and_then(|status| status["backends"].as_array().cloned()).unwrap_or_default()
    }

    pub(crate) async fn load(&self, departures: &Departures) -> Load {
        let message_every = Duration::from_millis(200);
        let plan =
            Plan { addr: self.addr, host: HOST.to_owned(), requests_per_second: 100, websockets: 21, message_every };
        Load::start(&plan, departures).await
    }

    /// What it holds after some load: everything that is made once is there.
    pub(crate) async fn warm(&self) -> Usage {
        let load = self.load(&Departures::default()).await;
        let enough = |report: &Report| report.answered >= 200;
        until("some load", DEADLINE, || async { load.report() }, enough).await;
        load.stop().await.assert_clean();
        self.settled().await
    }

    /// What it holds when its idle connections to backends are over.
    async fn settled(&self) -> Usage {
        let open = || async {
            let metrics = Metrics::fetch(self.admin).await.expect("metrics");
            metrics.sum("penstock_backend_connections", &[]) + metrics.sum("penstock_connections_open", &[])
        };
        until("no connection", DEADLINE, open, |open| *open == 0.0).await;
        usage(self.process.id().expect("it runs"))
    }

    /// The row of a fault, once everything of the load is over: no panic, and no more descriptors and memory than before.
    pub(crate) async fn finish(self, fault: &str, report: &Report, before: Usage) {
        let after = self.settled().await;
        row(fault, report, before, after);
        let log = self.process.stderr().join("\n");
        assert!(!log.contains("panicked"), "{log}");
        assert!(after.files <= before.files + 8, "descriptors leak: {before:?} became {after:?}");
        assert!(after.megabytes <= before.megabytes * 1.25 + 4.0, "memory leaks: {before:?} became {after:?}");
    }
}

/// A process that serves these manifests.
pub(crate) fn start(manifests: &Manifests, admin: SocketAddr, args: &[&str]) -> Process {
    Process::of(penstock())
        .args([
            "run",
            "--bind-address",
            "127.0.0.1",
            "--workers",
            "1",
            "--admin-address",
            &admin.to_string(),
            "--manifests",
        ])
        .arg(manifests.path())
        .args(args)
        .start()
}

/// A rule that sends a host to the backends.
pub(crate) fn rule(name: &str, host: &str) -> String {
    format!(
        "apiVersion: penstock.dev/v1alpha1\nkind: RoutingRule\nmetadata: {{name: {name}}}\nspec:\n  gatewayRef: {{name: edge}}\n  \
         hostNames: [{host}]\n  backend: {{pool: p, settings: s}}\n"
    )
}

/// From now on nothing fails: 200 more answers, and no error.
pub(crate) async fn goes_well(load: &Load) {
    let before = load.report();
    let more = |report: &Report| report.answered >= before.answered + 200;
    until("more answers", DEADLINE, || async { load.report() }, more).await;
    let after = load.report();
    assert_eq!(after.errors, before.errors, "none once it is down: {after}");
}

/// Three of them on this machine.
pub(crate) async fn three() -> Vec<Backend> {
    let mut all = Vec::new();
    for name in ["a", "b", "c"] {
        all.push(Backend::start(name, SocketAddr::from(([127, 0, 0, 1], free_port())), None).await);
    }
    all
}

pub(crate) fn addresses(backends: &[Backend]) -> Vec<SocketAddr> {
    backends.iter().map(|backend| backend.addr).collect()
}

pub(crate) fn usage(pid: u32) -> Usage {
    let memory = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    let kilobytes =
        memory.lines().find_map(|line| line.strip_prefix("Pss_Anon:")?.trim().strip_suffix(" kB")?.trim().parse().ok());
    let files = fs::read_dir(format!("/proc/{pid}/fd")).map(Iterator::count).unwrap_or_default();
    Usage { megabytes: kilobytes.unwrap_or(0.0) / 1024.0, files }
}

/// One line of the table.
pub(crate) fn row(fault: &str, report: &Report, before: Usage, after: Usage) {
    let kinds: Vec<_> = report.kinds.iter().map(|(kind, count)| format!("{count} x {kind}")).collect();
    let kinds = if kinds.is_empty() { "none".to_owned() } else { kinds.join(", ") };
    println!(
        "\n| {fault} | {} | {kinds} | {} of {} | {} | {:.1} to {:.1} MB, {} to {} files |",
        report.answered,
        report.cut,
        report.opened,
        report.messages,
        before.megabytes,
        after.megabytes,
        before.files,
        after.files
    );
}
