//! Lets metric series go some time after what they belong to. Looking for them takes long where there are many, so a thread
//! of its own does that; the plane removes them, because it alone knows that they have not come back meanwhile.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use penstock_model::Config;
use tokio::task::JoinHandle;
use tokio::time::{Interval, MissedTickBehavior, interval};

use crate::metrics::{Metrics, Orphans, Series, orphans, remove};

/// Looks for what is gone, and remembers since when.
#[derive(Debug)]
pub(super) struct Sweep {
    retention: Duration,
    tick: Interval,
    looking: Option<JoinHandle<Orphans>>,
    orphans: HashMap<Series, Instant>,
    /// What left has something open.
    open: bool,
    /// The configuration of the last look.
    last: Arc<Config>,
}

impl Sweep {
    /// Ten looks in the time for which series stay.
    pub(super) fn new(retention: Duration) -> Self {
        let mut tick = interval((retention / 10).clamp(Duration::from_millis(50), Duration::from_secs(60)));
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { retention, tick, looking: None, orphans: HashMap::new(), open: false, last: Arc::default() }
    }

    /// Ends when a look is over. May be dropped at any time, and asked again.
    pub(super) async fn found(&mut self, metrics: &Metrics, config: &Arc<Config>) -> Orphans {
        loop {
            if let Some(looking) = &mut self.looking {
                let found = looking.await.unwrap_or_default();
                self.looking = None;
                return found;
            }
            self.tick.tick().await;
            // Nothing can have left, and nothing waits to be removed.
            if self.orphans.is_empty() && !self.open && Arc::ptr_eq(&self.last, config) {
                continue;
            }
            self.last = Arc::clone(config);
            let (metrics, config) = (metrics.clone(), Arc::clone(config));
            self.looking = Some(tokio::task::spawn_blocking(move || orphans(&metrics, &config)));
        }
    }

    /// Removes what has been found for long enough.
    pub(super) fn remove(&mut self, found: Orphans, metrics: &Metrics, config: &Config) {
        let now = Instant::now();
        self.open = found.open;
        self.orphans.retain(|series, _| found.series.contains(series));
        for series in found.series {
            self.orphans.entry(series).or_insert(now);
        }
        let due = |since: &Instant| now.duration_since(*since) >= self.retention;
        if self.orphans.values().any(due) {
            remove(metrics, config, self.orphans.iter().filter(|(_, since)| due(since)).map(|(series, _)| series));
            let retention = self.retention;
            self.orphans.retain(|_, since| now.duration_since(*since) < retention);
        }
    }
}
