//! A real Kubernetes API server for tests: etcd, kube-apiserver and controller manager, by `tests/cluster/cluster`.
//!
//! A guard process waits for the end of this one, however it ends, and takes the servers down: the destructor of a
//! value that all tests of a binary share does not run.

use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{Request, client, free_ports};

static SHARED: OnceLock<ApiServer> = OnceLock::new();

/// A running API server; taken down when dropped, or when the test process ends.
#[derive(Debug)]
pub struct ApiServer {
    cluster: Cluster,
    guard: Child,
    _dir: TempDir,
}

/// How to call the script.
#[derive(Debug, Clone)]
struct Cluster {
    script: PathBuf,
    dir: PathBuf,
    port: u16,
}

impl ApiServer {
    /// The one that all tests of this binary share; started by the first that asks.
    ///
    /// # Panics
    /// When it does not start.
    pub fn shared() -> &'static Self {
        SHARED.get_or_init(|| Self::start_new().unwrap_or_else(|e| panic!("no API server to test against: {e:#}")))
    }

    /// One of one's own, for tests that stop it. Blocks until it is ready.
    ///
    /// # Errors
    /// What the script said.
    pub fn start_new() -> Result<Self> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/cluster/cluster");
        let script = script.canonicalize().with_context(|| format!("{} is missing", script.display()))?;
        let dir = TempDir::with_prefix("penstock-api-")?;
        // API server, etcd, controller manager.
        let cluster = Cluster { script, dir: dir.path().join("state"), port: free_ports(3) };
        let guard = cluster.guard()?;
        let server = Self { cluster, guard, _dir: dir };
        server.cluster.run(&["up", "--apiserver"])?;
        Ok(server)
    }

    /// The administrator's kubeconfig.
    #[must_use]
    pub fn kubeconfig(&self) -> PathBuf {
        self.cluster.dir.join("admin.conf")
    }

    /// The API server's port on 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.cluster.port
    }

    /// Stops the API server alone; etcd keeps the objects.
    ///
    /// # Errors
    /// What the script said.
    pub fn stop(&self) -> Result<()> {
        self.cluster.run(&["stop", "apiserver"])
    }

    /// Starts it again, and waits until it answers.
    ///
    /// # Errors
    /// What the script said, or that it does not answer within a minute.
    pub fn start(&self) -> Result<()> {
        self.cluster.run(&["start", "apiserver"])?;
        let end = std::time::Instant::now() + std::time::Duration::from_secs(60);
        while let Err(error) = self.kubectl(&["get", "--raw", "/readyz"], "") {
            if std::time::Instant::now() > end {
                return Err(error.context("the API server does not come back"));
            }
            std::thread::sleep(std::time::Duration::from_millis(100));
        }
        Ok(())
    }

    /// Asks etcd by its gateway for JSON, such as `kv/range`. It goes on when the API server is stopped.
    ///
    /// # Errors
    /// What it said.
    pub async fn etcd(&self, what: &str, question: &Value) -> Result<Value> {
        let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, self.port() + 1));
        let request = Request::post("etcd", &format!("/v3/{what}"), question.to_string());
        let answer = client::send(addr, &request.with("Content-Type", "application/json")).await?;
        if answer.status != 200 {
            bail!("etcd answers {what} with {}: {}", answer.status, answer.text());
        }
        Ok(answer.json())
    }

    /// Lets etcd forget everything before now. An API server that starts after that has nothing for watches that go on from
    /// there (410 Expired).
    ///
    /// # Errors
    /// What etcd said.
    pub async fn compact(&self) -> Result<()> {
        let newest = self.etcd("kv/range", &json!({"key": "AA==", "count_only": true})).await?;
        let revision = &newest["header"]["revision"];
        self.etcd("kv/compaction", &json!({"revision": revision, "physical": true})).await.map(drop)
    }

    /// Applies manifests.
    ///
    /// # Errors
    /// What kubectl said.
    pub fn apply(&self, yaml: &str) -> Result<String> {
        self.kubectl(&["apply", "--server-side", "-f", "-"], yaml)
    }

    /// Runs kubectl as administrator with this input, and returns its output.
    ///
    /// # Errors
    /// What kubectl said.
    pub fn kubectl(&self, args: &[&str], input: &str) -> Result<String> {
        // The script knows where its binaries are.
        let mut command = self.cluster.command("bash");
        command.arg("-c").arg("eval \"$(\"$0\" env)\" && exec kubectl \"$@\"").arg(&self.cluster.script).args(args);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        // A kubectl that has failed by now says why on stderr; a broken pipe adds nothing.
        let _ = child.stdin.take().context("stdin is piped")?.write_all(input.as_bytes());
        let output = child.wait_with_output()?;
        succeeded(&format!("kubectl {}", args.join(" ")), &output)?;
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

impl Drop for ApiServer {
    fn drop(&mut self) {
        // The guard acts at the end of its input.
        drop(self.guard.stdin.take());
        let _ = self.guard.wait();
    }
}

impl Cluster {
    fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        command.env("CLUSTER_DIR", &self.dir).env("CLUSTER_PORT", self.port.to_string());
        // etcd makes a socket where it is started.
        command.current_dir(self.dir.parent().unwrap_or(&self.dir));
        command
    }

    fn run(&self, args: &[&str]) -> Result<()> {
        // Into a file, not a pipe: the servers keep what they inherit, and a pipe would not end before they do.
        let log = self.dir.with_extension("log");
        let file = std::fs::File::create(&log)?;
        let status = self
            .command(&self.script)
            .args(args)
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .status()?;
        if !status.success() {
            bail!("cluster {} failed ({status}): {}", args.join(" "), std::fs::read_to_string(&log)?.trim());
        }
        Ok(())
    }

    /// A process that takes everything down when its input ends, in a group of its own so that Ctrl-C does not reach it.
    fn guard(&self) -> Result<Child> {
        let mut command = self.command("/bin/sh");
        command.arg("-c").arg("cat >/dev/null; \"$0\" down; cd /; rm -rf \"$1\"").arg(&self.script);
        command.arg(self.dir.parent().unwrap_or(&self.dir)).process_group(0);
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        command.spawn().context("starting the guard")
    }
}

fn succeeded(what: &str, output: &Output) -> Result<()> {
    if !output.status.success() {
        bail!("{what} failed ({}): {}", output.status, String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}
