//! What Linux says about a process and everything it started: CPU time and memory. Also about the machine, for the report.

use std::fs;

use anyhow::{Context as _, Result};
use rustix::process::{Pid, Signal};

/// A process and all its descendants: nginx and HAProxy have a master and workers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tree {
    root: u32,
}

impl Tree {
    pub(crate) fn new(root: u32) -> Self {
        Self { root }
    }

    /// Process ids, parents before children.
    fn pids(self) -> Vec<u32> {
        let Ok(entries) = fs::read_dir("/proc") else { return vec![self.root] };
        let all: Vec<(u32, u32)> = entries
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
            .filter_map(|pid| Some((pid, stat(pid)?.get(1)?.parse().ok()?)))
            .collect();
        let mut found = vec![self.root];
        let mut next = 0;
        while let Some(&parent) = found.get(next) {
            found.extend(all.iter().filter(|(_, of)| *of == parent).map(|(pid, _)| *pid));
            next += 1;
        }
        found
    }

    /// User and system time of all threads so far, in seconds; that of ended children counts once they are waited for.
    /// The kernel gives hundredths.
    pub(crate) fn cpu(self) -> f64 {
        let ticks: u64 = self
            .pids()
            .into_iter()
            .filter_map(stat)
            // utime, stime, cutime, cstime: fields 14 to 17 of proc_pid_stat(5); `stat` starts with field 3.
            .flat_map(|fields| fields.into_iter().skip(11).take(4))
            .filter_map(|field| field.parse::<u64>().ok())
            .sum();
        ticks as f64 / rustix::param::clock_ticks_per_second() as f64
    }

    /// Proportional set size in KB: shared pages of a master and its workers are not counted twice.
    pub(crate) fn memory(self) -> Result<f64> {
        let mut sum = 0;
        for pid in self.pids() {
            let path = format!("/proc/{pid}/smaps_rollup");
            let text = fs::read_to_string(&path).with_context(|| format!("{path} cannot be read"))?;
            let pss = text.lines().find_map(|line| line.strip_prefix("Pss:")).context("smaps_rollup has no Pss")?;
            sum += pss.trim().trim_end_matches(" kB").parse::<u64>().context("Pss is no number")?;
        }
        Ok(sum as f64)
    }

    /// Tells the first process something.
    pub(crate) fn signal(self, signal: Signal) {
        send(self.root, signal);
    }

    /// Ends all of them. The parent goes first: it would start new children.
    pub(crate) fn kill(self) {
        for pid in self.pids() {
            send(pid, Signal::KILL);
        }
    }
}

fn send(pid: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        // Gone already is what we want.
        let _ = rustix::process::kill_process(pid, signal);
    }
}

/// Fields of `/proc/PID/stat` after the name, which may hold spaces: the first is the state (field 3).
fn stat(pid: u32) -> Option<Vec<String>> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    Some(text.rsplit_once(')')?.1.split_whitespace().map(str::to_owned).collect())
}

/// CPU model and kernel, for the head of the report.
pub(crate) fn machine() -> (String, String) {
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": ")).map(|(_, name)| name);
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    (model.unwrap_or("unknown CPU").to_owned(), kernel.trim().to_owned())
}
