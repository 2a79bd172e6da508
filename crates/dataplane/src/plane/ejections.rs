//! Endpoints that are out for a while because their requests fail (outlier ejection). Workers count failures and report
//! the one that is too many; the plane decides here, and takes them back when their time is over.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use penstock_model::{ClusterId, OutlierDetection};

use crate::cluster::{LiveCluster, LiveEndpoint};

/// However often in a row an endpoint fails, it is out no longer than this, or its base time if that is longer.
const MAX_EJECTION: Duration = Duration::from_secs(300);

/// What a worker reports: an endpoint had its limit of failures in a row.
#[derive(Debug)]
pub(crate) struct Failing {
    pub(crate) cluster: Arc<LiveCluster>,
    pub(crate) endpoint: Arc<LiveEndpoint>,
}

/// Those that are out, and those that were out not long ago. By the number of the endpoint.
#[derive(Debug, Default)]
pub(super) struct Ejections(HashMap<u64, Ejection>);

#[derive(Debug)]
struct Ejection {
    cluster: ClusterId,
    endpoint: Arc<LiveEndpoint>,
    /// How often in a row.
    times: u32,
    /// When it comes back, or came.
    until: Instant,
    /// The time of being in, for which one of the `times` is forgiven.
    base: Duration,
    reason: String,
}

impl Ejections {
    /// Takes an endpoint out; for how long. Not when that would leave less than the cluster's share of endpoints that take
    /// traffic, those counted that its probes took out.
    pub(super) fn eject(&mut self, failing: &Failing, now: Instant) -> Option<Duration> {
        let Failing { cluster, endpoint } = failing;
        let OutlierDetection { consecutive_failures, ejection_time: base, max_percent } = cluster.config().outlier;
        let all = cluster.endpoints();
        let member = all.iter().any(|one| Arc::ptr_eq(one, endpoint));
        if consecutive_failures == 0 || !member || !endpoint.is_available() {
            return None;
        }
        let out = all.iter().filter(|one| !one.is_available()).count() + 1;
        if out * 100 > all.len() * usize::try_from(max_percent).unwrap_or(0) {
            return None;
        }
        let before = self.0.remove(&endpoint.number);
        let times = before.map_or(0, |before| before.times_left(now)).saturating_add(1);
        let time = base.saturating_mul(times).min(MAX_EJECTION.max(base));
        let reason = format!("Ejected: {consecutive_failures} requests in a row failed; out for {time:?}");
        endpoint.set_ejected(true);
        let (cluster, endpoint) = (cluster.id(), Arc::clone(endpoint));
        self.0.insert(endpoint.number, Ejection { cluster, endpoint, times, until: now + time, base, reason });
        Some(time)
    }

    /// When the next one comes back.
    pub(super) fn next(&self) -> Option<Instant> {
        self.out().map(|ejection| ejection.until).min()
    }

    /// Takes those back whose time is over, and forgets what is long ago or left. Gives back whose they are.
    pub(super) fn take_back(&mut self, now: Instant) -> Vec<ClusterId> {
        let due = |ejection: &&Ejection| ejection.until <= now;
        let back: Vec<&Ejection> = self.out().filter(due).collect();
        for ejection in &back {
            ejection.endpoint.set_ejected(false);
            ejection.endpoint.begin_anew(now);
        }
        let clusters = back.iter().map(|ejection| ejection.cluster.clone()).collect();
        self.0.retain(|_, ejection| {
            ejection.endpoint.is_ejected() || (ejection.times_left(now) > 0 && !ejection.endpoint.is_departing())
        });
        clusters
    }

    /// Its probes brought an endpoint back from Down: it has changed since its requests failed.
    pub(super) fn forgive(&mut self, endpoint: &LiveEndpoint) {
        endpoint.set_ejected(false);
        self.0.remove(&endpoint.number);
    }

    /// Why an endpoint is out.
    pub(super) fn reason(&self, endpoint: &LiveEndpoint) -> Option<&str> {
        self.0.get(&endpoint.number).filter(|_| endpoint.is_ejected()).map(|ejection| &*ejection.reason)
    }

    fn out(&self) -> impl Iterator<Item = &Ejection> {
        self.0.values().filter(|ejection| ejection.endpoint.is_ejected())
    }
}

impl Ejection {
    /// How often in a row counts still: one time less for each base time that it was in.
    fn times_left(&self, now: Instant) -> u32 {
        let served = now.saturating_duration_since(self.until).as_nanos();
        let forgiven = served.checked_div(self.base.as_nanos()).unwrap_or(u128::MAX);
        self.times.saturating_sub(u32::try_from(forgiven).unwrap_or(u32::MAX))
    }
}
