//! What happened, counted while it happens and printed as a table.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;

/// So many failures are kept with their texts; all are counted.
const KEPT: usize = 20;

/// The counters that the tasks of a load share.
#[derive(Debug)]
pub(super) struct Tally {
    started: Instant,
    report: Mutex<Report>,
    opened: Opened,
}

/// How many WebSockets were opened so far.
#[derive(Debug, Default)]
pub(super) struct Opened(watch::Sender<u64>);

/// What happened.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// How long the load went on.
    pub lasted: Duration,
    /// Requests that were answered with 200.
    pub answered: u64,
    /// How long each took, in the order of their ends.
    pub latencies: Vec<Duration>,
    /// Connections that requests were sent on.
    pub connections: u64,
    /// WebSockets opened.
    pub opened: u64,
    /// Messages that came back.
    pub messages: u64,
    /// WebSockets closed with 1001 in the window at the end of their Pod's drain.
    pub closed_in_window: u64,
    /// Requests and handshakes that failed, messages that came back wrong.
    pub errors: u64,
    /// WebSockets that ended in any other way.
    pub cut: u64,
    /// How many errors were of which kind: a status such as `503`, or `no answer`.
    pub kinds: BTreeMap<String, u64>,
    /// The first of those and of what was cut, in words.
    pub failures: Vec<String>,
}

impl Tally {
    pub(super) fn starting_now() -> Self {
        Self { started: Instant::now(), report: Mutex::default(), opened: Opened::default() }
    }

    pub(super) fn answered(&self, took: Duration) {
        self.change(|report| {
            report.answered += 1;
            report.latencies.push(took);
        });
    }

    pub(super) fn connected(&self) {
        self.change(|report| report.connections += 1);
    }

    pub(super) fn opened_one(&self) {
        self.change(|report| report.opened += 1);
        self.opened.0.send_modify(|opened| *opened += 1);
    }

    pub(super) fn message(&self) {
        self.change(|report| report.messages += 1);
    }

    pub(super) fn closed_in_window(&self) {
        self.change(|report| report.closed_in_window += 1);
    }

    pub(super) fn error(&self, kind: &str, what: &str) {
        self.change(|report| {
            report.errors += 1;
            *report.kinds.entry(kind.to_owned()).or_default() += 1;
            report.keep(self.started.elapsed(), what);
        });
    }

    pub(super) fn cut(&self, what: &str) {
        self.change(|report| {
            report.cut += 1;
            report.keep(self.started.elapsed(), what);
        });
    }

    pub(super) fn opened(&self) -> &Opened {
        &self.opened
    }

    pub(super) fn report(&self, lasted: Duration) -> Report {
        Report { lasted, ..self.report.lock().unwrap_or_else(PoisonError::into_inner).clone() }
    }

    fn change(&self, change: impl FnOnce(&mut Report)) {
        change(&mut self.report.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

impl Opened {
    pub(super) async fn wait_for_at_least(&self, many: u64) {
        // The sender is `self`, so it is there.
        let _ = self.0.subscribe().wait_for(|opened| *opened >= many).await;
    }
}

impl Report {
    /// Nothing failed and nothing was cut.
    ///
    /// # Panics
    /// With the table, when something did.
    pub fn assert_clean(&self) {
        assert!(self.errors == 0 && self.cut == 0, "{} errors, {} WebSockets cut\n{self}", self.errors, self.cut);
    }

    fn keep(&mut self, after: Duration, what: &str) {
        if self.failures.len() < KEPT {
            self.failures.push(format!("after {after:.1?}: {what}"));
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let took = |share| percentile(&self.latencies, share).as_secs_f64() * 1000.0;
        writeln!(f, "{:<42}{:>10.1} s", "lasted", self.lasted.as_secs_f64())?;
        writeln!(f, "{:<42}{:>10}", "requests answered with 200", self.answered)?;
        writeln!(f, "{:<42}{:>10.1} per s", "", self.answered as f64 / self.lasted.as_secs_f64().max(0.001))?;
        writeln!(f, "{:<42}{:>10.1} / {:.1} / {:.1} ms", "  p50 / p99 / slowest", took(0.5), took(0.99), took(1.0))?;
        writeln!(f, "{:<42}{:>10}", "  connections they were sent on", self.connections)?;
        writeln!(f, "{:<42}{:>10}", "WebSockets opened", self.opened)?;
        writeln!(f, "{:<42}{:>10}", "  messages sent and echoed", self.messages)?;
        writeln!(f, "{:<42}{:>10}", "  closed with 1001 in their drain's window", self.closed_in_window)?;
        writeln!(f, "{:<42}{:>10}", "WebSockets cut", self.cut)?;
        write!(f, "{:<42}{:>10}", "errors", self.errors)?;
        for failure in &self.failures {
            write!(f, "\n  {failure}")?;
        }
        Ok(())
    }
}

/// The value that this share of all values does not exceed; zero when there are none.
#[must_use]
pub fn percentile(values: &[Duration], share: f64) -> Duration {
    let mut sorted = values.to_vec();
    sorted.sort_unstable();
    let rank = (share * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.clamp(1, sorted.len().max(1)) - 1).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_that_occurred() {
        let ms: Vec<Duration> = (1..=200).rev().map(Duration::from_millis).collect();
        assert_eq!(percentile(&ms, 0.5), Duration::from_millis(100));
        assert_eq!(percentile(&ms, 0.99), Duration::from_millis(198));
        assert_eq!(percentile(&ms, 1.0), Duration::from_millis(200));
        assert_eq!(percentile(&ms[..1], 0.01), Duration::from_millis(200));
        assert_eq!(percentile(&[], 0.5), Duration::ZERO);
    }
}
