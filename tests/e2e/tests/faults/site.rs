//! The gateway under load between three backends.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use penstock_e2e::load::{Departures, Load, Plan, Report};
use penstock_testkit::{DEADLINE, Manifests, Metrics, Process, ProcessBuilder, client, eventually, free_port, until};
use serde_json::Value;

use crate::objects::{gateway, rule};
use crate::usage::{Usage, row, usage};

pub(crate) const HOST: &str = "faults.example.com";

/// A gateway before its backends.
pub(crate) struct Site<Objects = Manifests> {
    pub(crate) process: Process,
    /// Where it has its objects from.
    pub(crate) objects: Objects,
    pub(crate) addr: SocketAddr,
    pub(crate) admin: SocketAddr,
}

impl Site {
    /// Before these backends, with more of the command line.
    pub(crate) async fn before(backends: &[SocketAddr], args: &[&str]) -> Self {
        Self::under(&[], backends, args).await
    }

    /// The same by a command that takes a command, such as `prlimit --nofile=100`.
    pub(crate) async fn under(command: &[&str], backends: &[SocketAddr], args: &[&str]) -> Self {
        let (port, admin) = (free_port(), here(free_port()));
        let manifests = Manifests::new();
        manifests.write("site.yaml", &format!("{}---\n{}", gateway("penstock", port, backends), rule("all", HOST)));
        let process = reads(program(command, admin), &manifests).args(args).start();
        Self::ready(process, manifests, (here(port), admin), backends.len()).await
    }
}

impl<Objects> Site<Objects> {
    /// Once the process is ready and its backends are healthy.
    pub(crate) async fn ready(
        mut process: Process,
        objects: Objects,
        (addr, admin): (SocketAddr, SocketAddr),
        backends: usize,
    ) -> Self {
        process.wait_ready(admin, DEADLINE).await;
        let site = Self { process, objects, addr, admin };
        site.healthy(backends).await;
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
    pub(crate) async fn backends(&self) -> Vec<Value> {
        let status = client::get(self.admin, "admin", "/status").await.map(|answer| answer.json());
        status.ok().and_then(|status| status["backends"].as_array().cloned()).unwrap_or_default()
    }

    /// Waits until requests for a host are answered with this status.
    pub(crate) async fn answers(&self, host: &str, status: u16) {
        eventually(&format!("{status} for {host}"), DEADLINE, || async {
            let answer = client::get(self.addr, host, "/").await.map_err(|error| format!("{error:#}"))?;
            if answer.status == status { Ok(()) } else { Err(answer.status.to_string()) }
        })
        .await;
    }

    /// Waits until the sum of a metric is this.
    pub(crate) async fn metric(&self, name: &str, labels: &[(&str, &str)], value: f64) {
        let sum = || async { Metrics::fetch(self.admin).await.map(|metrics| metrics.sum(name, labels)).ok() };
        until(&format!("{name} {labels:?} of {value}"), DEADLINE, sum, |sum| *sum == Some(value)).await;
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
        self.without("penstock_connections_open").await;
        self.without("penstock_backend_connections").await;
        self.usage()
    }

    /// Waits until the sum of a metric is zero.
    async fn without(&self, name: &str) {
        let metrics = || async { Metrics::fetch(self.admin).await.expect("metrics") };
        until(&format!("no {name}"), DEADLINE, metrics, |metrics| metrics.sum(name, &[]) == 0.0).await;
    }

    pub(crate) fn usage(&self) -> Usage {
        usage(&self.process)
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
    reads(program(&[], admin), manifests).args(args).start()
}

/// The built binary; faults.sh says where.
pub(crate) fn program(under: &[&str], admin: SocketAddr) -> ProcessBuilder {
    let binary: PathBuf = std::env::var("FAULTS_PENSTOCK").expect("FAULTS_PENSTOCK is set by faults.sh").into();
    let process = match under {
        [command, args @ ..] => Process::of(command).args(args).arg(binary),
        [] => Process::of(binary),
    };
    process.args(["run", "--bind-address", "127.0.0.1", "--workers", "1", "--admin-address", &admin.to_string()])
}

fn reads(process: ProcessBuilder, manifests: &Manifests) -> ProcessBuilder {
    process.arg("--manifests").arg(manifests.path())
}

pub(crate) fn here(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

/// From now on nothing fails: 200 more answers, and no error.
pub(crate) async fn goes_well(load: &Load) {
    let before = load.report();
    more(load, 200).await;
    let after = load.report();
    assert_eq!(after.errors, before.errors, "none once it is down: {after}");
}

/// Waits for so many more answers: of a steady load, a hundred a second.
pub(crate) async fn more(load: &Load, answers: u64) {
    let enough = load.report().answered + answers;
    until("more answers", DEADLINE * 4, || async { load.report() }, |report| report.answered >= enough).await;
}
