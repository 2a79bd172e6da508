//! What the plane reports: ports, clusters and the health of their endpoints.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use hashbrown::HashMap;
use penstock_model::{ClusterId, ObservedEndpoint, Shared};

use super::clusters::Clusters;
use super::ejections::Ejections;
use crate::cluster::{Health, LiveCluster};

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
    let members = cluster.members();
    members
        .iter()
        .map(|(endpoint, takes_traffic)| {
            let (address, health) = (endpoint.endpoint.address, endpoint.health());
            let down = health == Health::Down;
            let probed = if down { reasons.get(&(id.clone(), address)).cloned() } else { None };
            let reason = probed.or_else(|| ejections.reason(endpoint).map(str::to_owned));
            ObservedEndpoint {
                address,
                healthy: *takes_traffic,
                health: if endpoint.is_available() { health } else { Health::Down }.as_str(),
                reason: reason.unwrap_or_default(),
            }
        })
        .collect()
}
