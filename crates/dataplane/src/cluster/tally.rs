//! What an endpoint is shown with that decides nothing: WebSockets so far, their bytes, the time of the last probe.
//!
//! Bytes of a tunnel that is open are counted by its worker alone. They are added here when it ends; whoever wants to know
//! before asks the workers.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwapOption;

/// Bytes that tunnels have relayed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moved {
    /// To the backend.
    pub from_client: u64,
    /// To clients.
    pub from_backend: u64,
}

/// What was relayed to and from each endpoint since it is there, by [`LiveEndpoint::number`](super::LiveEndpoint::number).
pub type Traffic = HashMap<u64, Moved>;

impl std::ops::AddAssign for Moved {
    fn add_assign(&mut self, other: Self) {
        self.from_client += other.from_client;
        self.from_backend += other.from_backend;
    }
}

/// Counters of an endpoint, written when a tunnel begins and ends.
#[derive(Debug, Default)]
pub(super) struct Tally {
    opened: AtomicU64,
    from_client: AtomicU64,
    from_backend: AtomicU64,
    probed: ArcSwapOption<LastProbe>,
}

impl Tally {
    pub(super) fn opened(&self) -> u64 {
        self.opened.load(Ordering::Relaxed)
    }

    pub(super) fn one_opened(&self) {
        self.opened.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn moved(&self) -> Moved {
        Moved {
            from_client: self.from_client.load(Ordering::Relaxed),
            from_backend: self.from_backend.load(Ordering::Relaxed),
        }
    }

    pub(super) fn ended(&self, moved: Moved) {
        self.from_client.fetch_add(moved.from_client, Ordering::Relaxed);
        self.from_backend.fetch_add(moved.from_backend, Ordering::Relaxed);
    }

    pub(super) fn last_probe(&self) -> Option<SystemTime> {
        self.probed.load().as_ref()?.last()
    }

    pub(super) fn probed_by(&self, probed: Option<&Arc<LastProbe>>) {
        self.probed.store(probed.cloned());
    }
}

/// When a probe ended last; endpoints of several clusters may share it.
#[derive(Debug, Default)]
pub(crate) struct LastProbe(AtomicU64);

impl LastProbe {
    /// One has just ended.
    pub(crate) fn now(&self) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_millis());
        self.0.store(u64::try_from(now).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    fn last(&self) -> Option<SystemTime> {
        match self.0.load(Ordering::Relaxed) {
            0 => None,
            millis => UNIX_EPOCH.checked_add(Duration::from_millis(millis)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_probe_is_seen_by_every_endpoint_that_shares_it() {
        let (one, other, probed) = (Tally::default(), Tally::default(), Arc::new(LastProbe::default()));
        one.probed_by(Some(&probed));
        other.probed_by(Some(&probed));
        assert_eq!(one.last_probe(), None, "it has not ended yet");
        probed.now();
        assert!(one.last_probe().is_some());
        assert_eq!(one.last_probe(), other.last_probe());
        one.probed_by(None);
        assert_eq!(one.last_probe(), None);
    }

    #[test]
    fn what_ended_adds_up() {
        let tally = Tally::default();
        tally.ended(Moved { from_client: 1, from_backend: 10 });
        tally.ended(Moved { from_client: 2, from_backend: 20 });
        assert_eq!(tally.moved(), Moved { from_client: 3, from_backend: 30 });
    }
}
