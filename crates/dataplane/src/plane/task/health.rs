//! What the plane does when endpoints become well or unwell.

use std::sync::Arc;
use std::time::{Duration, Instant};

use penstock_model::ClusterId;

use super::Plane;
use crate::cluster::Health;
use crate::plane::ejections::Failing;
use crate::probe::Report;

/// How long results of probes are gathered: the picture of a cluster costs as much as it has endpoints, and after the start
/// each of them has its first result.
const LOOK: Duration = Duration::from_millis(50);

impl Plane {
    /// A probe changed its mind about an endpoint. That is in the traffic at once, and seen a little later.
    pub(super) fn report(&mut self, report: &Report) {
        for id in &report.clusters {
            let Some(cluster) = self.clusters.get(id) else { continue };
            if let Some(endpoint) = cluster.endpoint(report.address) {
                let before = endpoint.health();
                if before == Health::Down && report.health == Health::Up {
                    self.ejections.forgive(&endpoint);
                    endpoint.begin_anew(Instant::now());
                }
                if endpoint.set_health(report.health) {
                    tracing::info!(
                        pool = %cluster.config().pool, endpoint = %report.address, health = report.health.as_str(),
                        reason = report.reason.as_deref().unwrap_or(""), "health changed"
                    );
                }
                // One that is not known to be well takes traffic as one that is.
                if (before == Health::Down) != (report.health == Health::Down) {
                    cluster.refresh();
                }
            }
            match &report.reason {
                Some(reason) => self.reasons.insert((id.clone(), report.address), reason.clone()),
                None => self.reasons.remove(&(id.clone(), report.address)),
            };
        }
        self.unseen.extend(report.clusters.iter().cloned());
        self.look_at.get_or_insert(Instant::now() + LOOK);
    }

    /// Shows what probes have found meanwhile.
    pub(super) fn look(&mut self) {
        self.look_at = None;
        let unseen: Vec<ClusterId> = std::mem::take(&mut self.unseen).into_iter().collect();
        self.publish_observed(&unseen);
    }

    /// Requests of an endpoint fail.
    pub(super) fn eject(&mut self, failing: &Failing) {
        let live = self.clusters.get(&failing.cluster.id());
        if !live.is_some_and(|live| Arc::ptr_eq(live, &failing.cluster)) {
            return;
        }
        let Some(time) = self.ejections.eject(failing, Instant::now()) else { return };
        let config = failing.cluster.config();
        tracing::warn!(
            pool = %config.pool, endpoint = %failing.endpoint.address, ?time,
            "ejected: {} requests in a row failed", config.outlier.consecutive_failures
        );
        self.metrics.backend_ejections.with_label_values(&[&*config.pool, &*config.settings]).inc();
        failing.cluster.refresh();
        self.publish_observed(&[failing.cluster.id()]);
    }

    /// Ejected endpoints whose time is over.
    pub(super) fn take_back(&mut self) {
        let back: Vec<ClusterId> = self.ejections.take_back(Instant::now()).into_iter().collect();
        for id in &back {
            if let Some(cluster) = self.clusters.get(id) {
                cluster.refresh();
            }
        }
        self.publish_observed(&back);
    }
}
