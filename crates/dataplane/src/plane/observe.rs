//! What the plane reports: ports, clusters and the health of their endpoints.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use hashbrown::HashMap;
use penstock_model::{ClusterId, Observed, ObservedEndpoint};

use super::clusters::Clusters;
use crate::cluster::{Health, LiveCluster};
use crate::metrics::Metrics;

/// Ports that were asked for, bound or not.
pub(super) type Ports = BTreeMap<u16, Result<(), String>>;
/// Why endpoints are down, by cluster and address.
pub(super) type Reasons = HashMap<(ClusterId, SocketAddr), String>;

/// The whole picture.
pub(super) fn observed(generation: u64, ports: &Ports, clusters: &Clusters, reasons: &Reasons) -> Observed {
    let clusters = clusters.iter().map(|cluster| (cluster.id(), endpoints(cluster, reasons))).collect();
    Observed { generation, ports: ports.clone(), clusters }
}

fn endpoints(cluster: &LiveCluster, reasons: &Reasons) -> Vec<ObservedEndpoint> {
    let id = cluster.id();
    let all = cluster.endpoints();
    all.iter()
        .map(|endpoint| {
            let (address, health) = (endpoint.endpoint.address, endpoint.health());
            let reason = reasons.get(&(id.clone(), address)).filter(|_| health == Health::Down);
            ObservedEndpoint {
                address,
                healthy: health != Health::Down,
                health: health.as_str(),
                reason: reason.cloned().unwrap_or_default(),
            }
        })
        .collect()
}

/// Brings `penstock_backend_up` of a cluster in line with its endpoints; `before` are the addresses it had.
pub(super) fn gauge(
    metrics: &Metrics,
    cluster: &LiveCluster,
    before: &[std::sync::Arc<str>],
) -> Vec<std::sync::Arc<str>> {
    let config = cluster.config();
    let now: Vec<_> = cluster.endpoints();
    for endpoint in &now {
        let up = i64::from(endpoint.health() != Health::Down);
        metrics.backend_up.with_label_values(&[&*config.pool, &*config.settings, &*endpoint.address]).set(up);
    }
    let addresses: Vec<_> = now.iter().map(|endpoint| std::sync::Arc::clone(&endpoint.address)).collect();
    for gone in before.iter().filter(|address| !addresses.contains(address)) {
        // Absent already when another cluster of the same labels removed it.
        let _ = metrics.backend_up.remove_label_values(&[&*config.pool, &*config.settings, &**gone]);
    }
    addresses
}
