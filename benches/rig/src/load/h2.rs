//! HTTP/2 over TLS by h2load. The requests are counted by the backend, so that a window within h2load's run can be measured.

use std::fs;
use std::net::SocketAddr;
use std::ops::Range;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, ensure};
use tokio::process::Command;

use super::Sample;
use crate::backend::{Backend, SMALL};
use crate::sys::Tree;

/// Connections, and requests at a time on each.
const CONNECTIONS: u32 = 8;
const STREAMS: &str = "16";

/// Runs h2load against the proxy, with so many requests a second where a rate is given; measures for `time` of it.
pub(crate) async fn measure(
    to: SocketAddr,
    host: &str,
    backend: &Backend,
    proxy: Tree,
    (warm_up, time): (Duration, Duration),
    rate: Option<u32>,
) -> Result<Sample> {
    // The time it takes to start is not known: some more.
    let whole = (warm_up + time).as_secs() + 1;
    let log = std::env::temp_dir().join(format!("penstock-rig-h2load-{}", std::process::id()));
    let mut command = Command::new("h2load");
    if let Some(rate) = rate {
        command.arg(format!("--rps={}", rate / CONNECTIONS)).arg("--log-file").arg(&log);
    }
    let load = command
        .args(["-t", "1", "-c", &CONNECTIONS.to_string(), "-m", STREAMS, "-D", &whole.to_string(), "--npn-list", "h2"])
        .arg(format!("--connect-to={to}"))
        .arg(format!("https://{host}{SMALL}"))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .context("h2load cannot be started")?;
    tokio::time::sleep(warm_up).await;
    let (cpu, done, start, began) = (proxy.cpu(), backend.answered(), Instant::now(), SystemTime::now());
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
        latency_us: rate.map(|_| quantiles(&log, began..began + time)).transpose()?,
        core: cpu / seconds,
    })
}

/// Of the requests that began in this time, half took so many microseconds at most, and 99 of 100; from h2load's log.
fn quantiles(log: &Path, within: Range<SystemTime>) -> Result<(f64, f64)> {
    let text = fs::read_to_string(log).context("h2load's log")?;
    let _ = fs::remove_file(log);
    // Start in microseconds since 1970, status, microseconds to the end.
    let line = |line: &str| {
        let mut fields = line.split('\t');
        let began = UNIX_EPOCH + Duration::from_micros(fields.next()?.parse().ok()?);
        let took: f64 = fields.nth(1)?.parse().ok()?;
        within.contains(&began).then_some(took)
    };
    let mut all: Vec<f64> = text.lines().filter_map(line).collect();
    ensure!(!all.is_empty(), "h2load's log has no request of the time that counts");
    all.sort_by(f64::total_cmp);
    let at = |share: f64| all[((all.len() - 1) as f64 * share) as usize];
    Ok((at(0.5), at(0.99)))
}

/// The lines that say what went wrong.
fn summary(said: &str) -> String {
    let told = ["Application protocol", "requests: ", "status codes: "];
    said.lines().filter(|line| told.iter().any(|start| line.starts_with(start))).collect::<Vec<_>>().join("; ")
}
