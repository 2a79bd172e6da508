//! What the plane reports: ports, clusters and the health of their endpoints.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;

use hashbrown::HashMap;
use penstock_model::{ClusterId, ObservedEndpoint, Shared};

use super::clusters::Clusters;
use super::ejections::Ejections;
use crate::cluster::{Health, LiveCluster};
use crate::metrics::Metrics;

/// Ports that were asked for, bound or not.
pub(super) type Ports = BTreeMap<u16, Result<(), String>>;
/// Why endpoints are down, by cluster and address.
pub(super) type Reasons = HashMap<(ClusterId, SocketAddr), String>;

/// Every cluster as it was seen last. What is reported shares it, and what did not change in it.
#[derive(Debug, Default)]
pub(super) struct Seen(Shared<BTreeMap<ClusterId, Arc<[ObservedEndpoint]>>>);

impl Seen {
    /// Looks again at clusters that may have changed.
    pub(super) fn look(&mut self, ids: &[ClusterId], clusters: &Clusters, reasons: &Reasons, ejections: &Ejections) {
        for id in ids {
            match clusters.get(id).map(|cluster| endpoints(cluster, reasons, ejections)) {
                Some(now) if self.0.get(id).is_some_and(|before| **before == *now) => {}
                Some(now) => drop(self.0.insert(id.clone(), now.into())),
                None if self.0.contains_key(id) => drop(self.0.remove(id)),
                None => {}
            }
        }
    }

    /// Every cluster.
    pub(super) fn clusters(&self) -> Shared<BTreeMap<ClusterId, Arc<[ObservedEndpoint]>>> {
        self.0.clone()
    }
}

fn endpoints(cluster: &LiveCluster, reasons: &Reasons, ejections: &Ejections) -> Vec<ObservedEndpoint> {
    let id = cluster.id();
    let all = cluster.endpoints();
    all.iter()
        .map(|endpoint| {
            let (address, health) = (endpoint.endpoint.address, endpoint.health());
            let probed = reasons.get(&(id.clone(), address)).filter(|_| health == Health::Down).cloned();
            let reason = probed.or_else(|| ejections.reason(endpoint).map(str::to_owned));
            let healthy = endpoint.is_available();
            ObservedEndpoint {
                address,
                healthy,
                health: if healthy { health } else { Health::Down }.as_str(),
                reason: reason.unwrap_or_default(),
            }
        })
        .collect()
}

/// The series of one cluster's endpoints: there while the endpoints are.
#[derive(Debug)]
pub(super) struct Series {
    pool: Arc<str>,
    settings: Arc<str>,
    addresses: BTreeSet<Arc<str>>,
}

impl Series {
    /// Brings them in line with the endpoints; `before` are those of the same cluster, or none.
    pub(super) fn of(metrics: &Metrics, cluster: &LiveCluster, before: Option<Self>) -> Self {
        let config = cluster.config();
        let (pool, settings) = (Arc::clone(&config.pool), Arc::clone(&config.settings));
        let mut addresses = BTreeSet::new();
        for endpoint in cluster.endpoints() {
            let up = i64::from(endpoint.is_available());
            metrics.backend_up.with_label_values(&[&*pool, &*settings, &*endpoint.address]).set(up);
            addresses.insert(Arc::clone(&endpoint.address));
        }
        let now = Self { pool, settings, addresses };
        if let Some(before) = before {
            let renamed = (&before.pool, &before.settings) != (&now.pool, &now.settings);
            let gone = before.addresses.iter().filter(|address| renamed || !now.addresses.contains(*address));
            gone.for_each(|address| before.remove_one(metrics, address));
        }
        now
    }

    /// The cluster is gone.
    pub(super) fn remove(&self, metrics: &Metrics) {
        self.addresses.iter().for_each(|address| self.remove_one(metrics, address));
    }

    fn remove_one(&self, metrics: &Metrics, address: &str) {
        let labels = [&*self.pool, &*self.settings, address];
        // Absent already when another cluster of the same labels removed it.
        let _ = metrics.backend_up.remove_label_values(&labels);
        let _ = metrics.backend_connections.remove_label_values(&labels);
    }
}
