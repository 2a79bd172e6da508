//! HTTP/2 over TLS by h2load. The requests are counted by the backend, so that a window within h2load's run can be measured.

use std::net::SocketAddr;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use tokio::process::Command;

use super::Sample;
use crate::backend::{Backend, SMALL};
use crate::sys::Tree;

/// Connections, and requests at a time on each.
const CONNECTIONS: &str = "8";
const STREAMS: &str = "16";

/// Runs h2load against the proxy; measures for `time` of it.
pub(crate) async fn measure(
    to: SocketAddr,
    host: &str,
    backend: &Backend,
    proxy: Tree,
    warm_up: Duration,
    time: Duration,
) -> Result<Sample> {
    // The time it takes to start is not known: some more.
    let whole = (warm_up + time).as_secs() + 1;
    let load = Command::new("h2load")
        .args(["-t", "1", "-c", CONNECTIONS, "-m", STREAMS, "-D", &whole.to_string(), "--npn-list", "h2"])
        .arg(format!("--connect-to={to}"))
        .arg(format!("https://{host}{SMALL}"))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .context("h2load cannot be started")?;
    tokio::time::sleep(warm_up).await;
    let (cpu, done, start) = (proxy.cpu(), backend.answered(), Instant::now());
    tokio::time::sleep(time).await;
    let (cpu, done) = (proxy.cpu() - cpu, backend.answered() - done);
    let seconds = start.elapsed().as_secs_f64();
    let output = load.wait_with_output().await?;
    let said = String::from_utf8_lossy(&output.stdout);
    let fine = output.status.success()
        && said.contains("Application protocol: h2")
        && said.contains(" 0 failed, 0 errored, 0 timeout")
        && said.contains(" 0 3xx, 0 4xx, 0 5xx");
    ensure!(fine, "h2load: {}{}", summary(&said), String::from_utf8_lossy(&output.stderr));
    ensure!(done > 0, "nothing was done in {seconds:.1} s");
    Ok(Sample {
        cpu_us: cpu * 1e6 / done as f64,
        cpu_ms_per_gb: f64::NAN,
        rate: done as f64 / seconds,
        latency_us: None,
        core: cpu / seconds,
    })
}

/// The lines that say what went wrong.
fn summary(said: &str) -> String {
    let told = ["Application protocol", "requests: ", "status codes: "];
    said.lines().filter(|line| told.iter().any(|start| line.starts_with(start))).collect::<Vec<_>>().join("; ")
}
