//! Which Pods are leaving, and from when on their WebSockets may be closed.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// The tests and Penstock hear of a departure by different watches: so much may lie between.
const TOLERANCE: Duration = Duration::from_millis(250);

/// Known departures by name or address of the Pod. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct Departures(Arc<Mutex<HashMap<String, Window>>>);

#[derive(Debug, Clone, Copy)]
struct Window {
    seen: Instant,
    opens: Instant,
}

impl Departures {
    /// From now on this Pod is leaving; its WebSockets may be closed after `quiet`. Only the first call for a Pod counts.
    pub fn leaving(&self, pod: &str, quiet: Duration) {
        let seen = Instant::now();
        self.all().entry(pod.to_owned()).or_insert(Window { seen, opens: seen + quiet });
    }

    /// How many names and addresses are known to be leaving.
    #[must_use]
    pub fn count(&self) -> usize {
        self.all().len()
    }

    /// Whether a WebSocket through these Pods may be closed now; if not, why not.
    ///
    /// # Errors
    /// None of them is leaving, or none has come to the end of its drain.
    pub fn may_close(&self, pods: &[&str]) -> Result<(), String> {
        let (now, all) = (Instant::now(), self.all());
        let windows: Vec<_> = pods.iter().filter_map(|pod| Some((*pod, *all.get(*pod)?))).collect();
        if windows.iter().any(|(_, window)| now + TOLERANCE >= window.opens) {
            return Ok(());
        }
        let said = windows.iter().map(|(pod, window)| {
            let (after, early) = (now - window.seen, window.opens - now);
            format!("{pod} has been leaving for {after:.1?}, and its window opens in {early:.1?}")
        });
        Err(if windows.is_empty() { "none of them is leaving".to_owned() } else { said.collect::<Vec<_>>().join("; ") })
    }

    fn all(&self) -> std::sync::MutexGuard<'_, HashMap<String, Window>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
