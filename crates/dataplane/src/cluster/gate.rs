//! How much of a cluster is in use, over all workers, and who waits for a place (`limits` of the backend settings).
//!
//! A place is a request or a WebSocket under way. Only clusters with a limit are counted: what began before there was
//! one is not. Places go to those who wait in the order in which they came, as nearly as threads have an order.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use penstock_model::Limits;
use tokio::sync::Notify;

use crate::timer;

/// Stands for no limit.
const UNLIMITED: u32 = u32::MAX;

/// The places of one cluster.
#[derive(Debug)]
pub(crate) struct Gate {
    max: AtomicU32,
    max_pending: AtomicU32,
    used: AtomicU32,
    pending: AtomicU32,
    freed: Notify,
}

/// A place, for as long as this lives.
#[derive(Debug)]
pub(crate) struct Place(Arc<Gate>);

/// No place, and no room to wait or no time left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Full;

/// One that waits, for as long as this lives.
struct Waiting<'a>(&'a Gate);

impl Gate {
    pub(crate) fn new(limits: Limits) -> Arc<Self> {
        let zero = || AtomicU32::new(0);
        let gate = Self { max: zero(), max_pending: zero(), used: zero(), pending: zero(), freed: Notify::new() };
        gate.configure(limits);
        Arc::new(gate)
    }

    /// New limits. Those who wait look again.
    pub(crate) fn configure(&self, limits: Limits) {
        self.max.store(limits.max_connections.unwrap_or(UNLIMITED), Ordering::Relaxed);
        self.max_pending.store(limits.max_pending, Ordering::Relaxed);
        self.freed.notify_waiters();
    }

    /// A place at once: nobody else waits, and there is one. `Ok(None)`: no place is needed.
    pub(crate) fn try_enter(self: &Arc<Self>) -> Result<Option<Place>, Full> {
        if self.max.load(Ordering::Relaxed) == UNLIMITED {
            return Ok(None);
        }
        if self.pending.load(Ordering::Relaxed) > 0 {
            return Err(Full);
        }
        self.take().map(Some).ok_or(Full)
    }

    /// Waits for a place, in turn and for so long at most.
    pub(crate) async fn wait(self: &Arc<Self>, patience: Option<Duration>) -> Result<Place, Full> {
        let limit = self.max_pending.load(Ordering::Relaxed);
        let more = |pending: u32| (pending < limit).then(|| pending + 1);
        self.pending.fetch_update(Ordering::SeqCst, Ordering::SeqCst, more).map_err(|_full| Full)?;
        let _waiting = Waiting(self);
        let turn = Box::pin(self.turn());
        match patience {
            None => Ok(turn.await),
            Some(patience) => timer::timeout(patience, turn).await.map_err(|_elapsed| Full),
        }
    }

    async fn turn(self: &Arc<Self>) -> Place {
        loop {
            let mut freed = std::pin::pin!(self.freed.notified());
            // In this order: a place that is given back between the two is not missed.
            freed.as_mut().enable();
            if let Some(place) = self.take() {
                return place;
            }
            freed.await;
        }
    }

    fn take(self: &Arc<Self>) -> Option<Place> {
        let max = self.max.load(Ordering::Relaxed);
        let more = |used: u32| (used < max).then(|| used + 1);
        self.used.fetch_update(Ordering::SeqCst, Ordering::SeqCst, more).ok()?;
        Some(Place(Arc::clone(self)))
    }
}

impl Place {
    /// Whether it is one of that cluster.
    pub(crate) fn is_of(&self, gate: &Arc<Gate>) -> bool {
        Arc::ptr_eq(&self.0, gate)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // One order for all: who begins to wait meanwhile sees the place, or is seen waiting.
        self.0.used.fetch_sub(1, Ordering::SeqCst);
        if self.0.pending.load(Ordering::SeqCst) > 0 {
            self.0.freed.notify_one();
        }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.pending.fetch_sub(1, Ordering::SeqCst);
    }
}
