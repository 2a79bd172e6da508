//! The proxies: each is started fresh with a configuration of its own, pinned to one core with one worker, and ended when dropped.

mod envoy;
mod haproxy;
mod nginx;
mod penstock;

use std::fs::{self, File};
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};

use crate::backend::Backend;
use crate::load::http::{self, Connection};
use crate::load::stream::{Certificate, Target};
use crate::sys::Tree;

/// The core that proxies are pinned to; `run.sh` pins the rig to another.
const CORE: &str = "0";
/// How long a proxy may take to answer its first request.
const START: Duration = Duration::from_secs(20);
/// How long an added host may take to answer.
const ADD: Duration = Duration::from_secs(10);

/// Which proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Penstock,
    Haproxy,
    Nginx,
    Envoy,
}

impl Kind {
    pub(crate) const ALL: [Self; 4] = [Self::Penstock, Self::Haproxy, Self::Nginx, Self::Envoy];

    /// As its makers write it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Penstock => "Penstock",
            Self::Haproxy => "HAProxy",
            Self::Nginx => "nginx",
            Self::Envoy => "Envoy",
        }
    }

    /// What the program says about its version, in one line.
    pub(crate) fn version(self, site: &Site) -> String {
        let (program, flag) = match self {
            Self::Penstock => (&*site.penstock, "version"),
            Self::Haproxy => (Path::new("haproxy"), "-v"),
            Self::Nginx => (Path::new("nginx"), "-v"),
            Self::Envoy => (&*site.envoy, "--version"),
        };
        let Ok(output) = Command::new(program).arg(flag).output() else { return "not found".to_owned() };
        let text = [output.stdout, output.stderr].concat();
        let text = String::from_utf8_lossy(&text);
        let said = text.lines().find(|line| !line.is_empty()).unwrap_or("says no version");
        // Envoy names its file first.
        said.rsplit("  version: ").next().unwrap_or(said).to_owned()
    }
}

/// What every proxy of a run has in common.
pub(crate) struct Site {
    /// The binary to measure.
    pub(crate) penstock: PathBuf,
    /// Envoy's binary; it is not asked to run when there is none.
    pub(crate) envoy: PathBuf,
    /// The embedded backend.
    pub(crate) backend: Backend,
    /// What listeners with TLS show.
    pub(crate) certificate: Certificate,
}

/// What the listener of a proxy speaks. There is one listener, so that the memory of the other is not counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Front {
    /// HTTP/1.1 without TLS.
    Plain,
    /// HTTP/1.1 and HTTP/2 over TLS, by ALPN.
    Tls,
}

/// What a configuration is made from.
struct Setup<'a> {
    site: &'a Site,
    folder: &'a Path,
    port: u16,
    front: Front,
    /// That many hosts, see [`host`], each with a route of its own to the one backend.
    hosts: usize,
}

/// Name of the nth host of a configuration.
pub(crate) fn host(n: usize) -> String {
    format!("h{n}.example.com")
}

/// A proxy that answers requests for its hosts. Ended when dropped.
pub(crate) struct Running {
    kind: Kind,
    child: Child,
    folder: PathBuf,
    target: Target,
}

impl Running {
    /// Starts one and waits until the first and the last host answer.
    pub(crate) async fn start(kind: Kind, site: &Site, front: Front, hosts: usize) -> Result<Self> {
        let port = free_port()?;
        let folder = std::env::temp_dir().join(format!("penstock-rig-{}-{port}", std::process::id()));
        fs::create_dir_all(&folder)?;
        let setup = Setup { site, folder: &folder, port, front, hosts };
        let command = match kind {
            Kind::Penstock => penstock::prepare(&setup),
            Kind::Haproxy => haproxy::prepare(&setup),
            Kind::Nginx => nginx::prepare(&setup),
            Kind::Envoy => envoy::prepare(&setup),
        };
        let command = command.with_context(|| format!("{}: the configuration cannot be written", kind.name()))?;
        let log = File::create(folder.join("log"))?;
        let child = Command::new("taskset")
            .args(["-c", CORE])
            .arg(command.get_program())
            .args(command.get_args())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .with_context(|| format!("{} cannot be started", kind.name()))?;
        let address = (Ipv4Addr::LOCALHOST, port).into();
        let target = match front {
            Front::Plain => Target { address, tls: None },
            Front::Tls => site.certificate.target(address, &host(0))?,
        };
        let running = Self { kind, child, folder, target };
        running.answers(&host(0), START).await?;
        running.answers(&host(hosts - 1), START).await?;
        Ok(running)
    }

    /// Where it takes requests.
    pub(crate) fn target(&self) -> &Target {
        &self.target
    }

    /// Its processes.
    pub(crate) fn tree(&self) -> Tree {
        Tree::new(self.child.id())
    }

    /// Adds a host the way this proxy is meant to be told; gives the milliseconds until a fresh connection is answered
    /// by the new route.
    pub(crate) async fn add_host(&self, name: &str) -> Result<f64> {
        let start = Instant::now();
        match self.kind {
            Kind::Penstock => penstock::add_host(&self.folder, name)?,
            Kind::Haproxy => haproxy::add_host(&self.folder, name, self.tree())?,
            Kind::Envoy => envoy::add_host(&self.folder, name)?,
            Kind::Nginx => nginx::add_host(&self.folder, name, self.target.address.port(), self.tree())?,
        }
        self.answers(name, ADD).await?;
        Ok(start.elapsed().as_secs_f64() * 1e3)
    }

    /// Asks, on a fresh connection each time, until the host is answered with 200: at first without a pause, then every millisecond.
    async fn answers(&self, name: &str, deadline: Duration) -> Result<()> {
        let start = Instant::now();
        let request = http::request(name, crate::backend::SMALL);
        loop {
            let answer = async { Connection::open(&self.target).await?.exchange(&request).await };
            let answer = tokio::time::timeout(Duration::from_secs(1), answer).await;
            if matches!(answer, Ok(Ok(http::Answer { status: 200, .. }))) {
                return Ok(());
            }
            if start.elapsed() > deadline {
                let log = fs::read_to_string(self.folder.join("log")).unwrap_or_default();
                let tail: Vec<_> = log.lines().rev().take(5).collect();
                bail!("{}: {name} does not answer; last {answer:?}; log from its end: {tail:#?}", self.kind.name());
            }
            if start.elapsed() > Duration::from_millis(20) {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.tree().kill();
        // Best effort: nothing depends on what may be left.
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// A port that nobody has, from below those of outgoing connections, and another one each time.
fn free_port() -> Result<u16> {
    static NEXT: AtomicU16 = AtomicU16::new(21_000);
    loop {
        let port = NEXT.fetch_add(1, Ordering::Relaxed);
        ensure!(port < 32_000, "no free port between 21000 and 32000");
        if TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).is_ok() {
            return Ok(port);
        }
    }
}
