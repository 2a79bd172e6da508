//! The process's own metrics by their conventional names, read from `/proc` at each scrape.
//!
//! By hand, because the metrics library's own collector brings a second copy of the system call bindings.

use std::collections::HashMap;
use std::fs;
use std::sync::Mutex;
use std::sync::PoisonError;

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{Counter, Gauge, Opts, Registry};

/// Registers the `process_*` metrics.
///
/// # Errors
/// They are registered already.
pub fn register(registry: &Registry) -> prometheus::Result<()> {
    registry.register(Box::new(ProcessCollector::new()?))
}

struct ProcessCollector {
    /// Two scrapes at once must not both add the same seconds.
    cpu: Mutex<Counter>,
    resident: Gauge,
    open_fds: Gauge,
    max_fds: Gauge,
    threads: Gauge,
    start_time: Gauge,
}

impl ProcessCollector {
    fn new() -> prometheus::Result<Self> {
        let gauge = |name: &str, help: &str| Gauge::with_opts(Opts::new(name, help));
        let cpu = Opts::new("process_cpu_seconds_total", "User and system CPU time spent, in seconds.");
        let start_time = gauge("process_start_time_seconds", "Start of the process, in seconds since the Unix epoch.")?;
        start_time.set(start_seconds().unwrap_or(0.0));
        Ok(Self {
            cpu: Mutex::new(Counter::with_opts(cpu)?),
            resident: gauge("process_resident_memory_bytes", "Resident memory, in bytes.")?,
            open_fds: gauge("process_open_fds", "Open file descriptors; a proxied connection or WebSocket has two.")?,
            max_fds: gauge("process_max_fds", "Their limit; accepting pauses at 90 %.")?,
            threads: gauge("process_threads", "Threads.")?,
            start_time,
        })
    }

    fn gauges(&self) -> [&Gauge; 5] {
        [&self.resident, &self.open_fds, &self.max_fds, &self.threads, &self.start_time]
    }
}

impl Collector for ProcessCollector {
    fn desc(&self) -> Vec<&Desc> {
        // The counter's description cannot be lent out of its lock; the gauges' ones name this collector well enough.
        self.gauges().into_iter().flat_map(Collector::desc).collect()
    }

    #[allow(clippy::cast_precision_loss, reason = "counts of files and bytes are far below 2^53")]
    fn collect(&self) -> Vec<MetricFamily> {
        let status = fields("/proc/self/status");
        let number = |name: &str| status.get(name).and_then(|v| v.split_whitespace().next()?.parse::<f64>().ok());
        if let Some(kib) = number("VmRSS") {
            self.resident.set(kib * 1024.0);
        }
        if let Some(threads) = number("Threads") {
            self.threads.set(threads);
        }
        if let Ok(entries) = fs::read_dir("/proc/self/fd") {
            // One of them is the directory that is being read.
            self.open_fds.set(entries.count().saturating_sub(1) as f64);
        }
        self.max_fds.set(crate::limits::open_files() as f64);
        let cpu = self.cpu.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(more) = cpu_seconds().map(|now| now - cpu.get()).filter(|more| *more > 0.0) {
            cpu.inc_by(more);
        }
        self.gauges().into_iter().flat_map(Collector::collect).chain(cpu.collect()).collect()
    }
}

/// `name: value` lines of a file in `/proc`.
fn fields(path: &str) -> HashMap<String, String> {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.lines().filter_map(|l| l.split_once(':')).map(|(n, v)| (n.to_owned(), v.trim().to_owned())).collect()
}

/// Field `number` of `/proc/self/stat`, counted from 1 as proc_pid_stat(5) does; it must come after the name.
fn stat_field(number: usize) -> Option<f64> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    // The name may hold anything, brackets too: what counts is the last one.
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_whitespace().nth(number - 3)?.parse().ok()
}

#[allow(clippy::cast_precision_loss, reason = "the kernel says 100")]
fn ticks_per_second() -> f64 {
    rustix::param::clock_ticks_per_second() as f64
}

fn cpu_seconds() -> Option<f64> {
    Some((stat_field(14)? + stat_field(15)?) / ticks_per_second())
}

fn start_seconds() -> Option<f64> {
    let stat = fs::read_to_string("/proc/stat").ok()?;
    let boot: f64 = stat.lines().find_map(|l| l.strip_prefix("btime "))?.trim().parse().ok()?;
    Some(boot + stat_field(22)? / ticks_per_second())
}
