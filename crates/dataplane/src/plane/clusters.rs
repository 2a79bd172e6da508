//! The live clusters: born, reconfigured, given endpoints, let go.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use penstock_model::{Cluster, ClusterChange, ClusterId, Draining, EndpointSet, EndpointSource, Name, Shared};

use super::DrainingEndpoint;
use crate::cluster::{LiveCluster, LiveEndpoint};
use crate::worker::{Command, Departure};

/// Every live cluster, and endpoints that left and are still draining.
#[derive(Debug, Default)]
pub(super) struct Clusters {
    live: Shared<HashMap<ClusterId, Arc<LiveCluster>>>,
    /// Clusters that no configuration names any more. What runs there goes on: only the departure of an endpoint ends it,
    /// so they hear of those until they have nothing left.
    retired: HashMap<ClusterId, Arc<LiveCluster>>,
    by_source: HashMap<EndpointSource, Vec<ClusterId>>,
    /// By the cluster and what they were, with the end of their drain.
    draining: HashMap<ClusterId, Vec<(Arc<LiveEndpoint>, Instant)>>,
}

impl Clusters {
    pub(super) fn get(&self, id: &ClusterId) -> Option<&Arc<LiveCluster>> {
        self.live.get(id)
    }

    /// All of them at this moment.
    pub(super) fn all(&self) -> Shared<HashMap<ClusterId, Arc<LiveCluster>>> {
        self.live.clone()
    }

    /// Brings clusters in line with what a configuration changes, all but the removal of those that are gone. Gives back
    /// those that are new or whose probing may have changed, and what workers must be told. `resolved` knows the endpoints
    /// of names, once there was an answer.
    pub(super) fn update(
        &mut self,
        changes: &[ClusterChange<'_>],
        resolved: impl Fn(&EndpointSource) -> Option<EndpointSet>,
    ) -> (Vec<ClusterId>, Vec<Command>) {
        let (mut changed, mut commands) = (Vec::new(), Vec::new());
        self.forget_quiet();
        for (id, cluster) in changes.iter().filter_map(|change| Some((change.id, change.now?))) {
            let returned = self.retired.remove(id).map(|back| self.live.insert(id.clone(), back)).is_some();
            let Some(live) = self.live.get(id).cloned() else {
                self.live.insert(id.clone(), Arc::new(LiveCluster::new(Arc::clone(cluster))));
                self.by_source.entry(cluster.source.clone()).or_default().push(id.clone());
                changed.push(id.clone());
                if let Some(set) = resolved(&cluster.source) {
                    commands.extend(self.replace(id, &set));
                }
                continue;
            };
            let before = live.config();
            if Arc::ptr_eq(&before, cluster) && !returned {
                continue;
            }
            if before.source != cluster.source {
                self.unlink(&before.source, id);
                self.by_source.entry(cluster.source.clone()).or_default().push(id.clone());
            }
            if returned || *before != **cluster {
                live.configure(Arc::clone(cluster));
                changed.push(id.clone());
            }
            let same_source = before.source == cluster.source;
            match &cluster.source {
                // These come on the fast way, which may be ahead of this configuration.
                EndpointSource::Service { .. } if same_source && !returned => {}
                // What it had serves until there is an answer about its new name.
                EndpointSource::Name { .. } => {
                    if let Some(set) = resolved(&cluster.source) {
                        commands.extend(self.replace(id, &set));
                    }
                }
                _ => commands.extend(self.replace(id, &cluster.endpoints)),
            }
        }
        (changed, commands)
    }

    /// Retires clusters that a configuration does not have. Nothing departs by that: it asks only new requests.
    pub(super) fn remove_missing(&mut self, changes: &[ClusterChange<'_>]) -> Vec<ClusterId> {
        let gone = changes.iter().filter(|change| change.now.is_none());
        let gone: Vec<ClusterId> = gone.map(|change| change.id.clone()).collect();
        for id in &gone {
            self.retired.extend(self.live.remove_entry(id));
        }
        gone
    }

    /// Endpoints that left and may still have requests or WebSockets.
    pub(super) fn draining(&self) -> Vec<DrainingEndpoint> {
        let clusters = self.draining.iter().filter_map(|(id, endpoints)| {
            let cluster = self.live.get(id).or_else(|| self.retired.get(id))?;
            Some((cluster.config(), endpoints))
        });
        clusters
            .flat_map(|(config, endpoints)| {
                endpoints.iter().map(move |(endpoint, end)| DrainingEndpoint {
                    pool: config.pool.clone(),
                    settings: config.settings.clone(),
                    endpoint: Arc::clone(endpoint),
                    until: *end,
                })
            })
            .collect()
    }

    /// Lets go of retired clusters where nothing runs any more, and of drains that are over.
    fn forget_quiet(&mut self) {
        let quiet: Vec<_> = self.retired.extract_if(|_, cluster| !cluster.is_busy()).collect();
        for (id, cluster) in quiet {
            self.unlink(&cluster.config().source, &id);
        }
        let now = Instant::now();
        self.draining.retain(|_, draining| {
            draining.retain(|(_, end)| *end > now);
            !draining.is_empty()
        });
    }

    /// Sources that are names, also of retired clusters.
    pub(super) fn names(&self) -> impl Iterator<Item = (&Name, &EndpointSource)> {
        self.by_source.keys().filter_map(|source| match source {
            EndpointSource::Name { name, .. } => Some((name, source)),
            _ => None,
        })
    }

    /// New endpoints of every cluster that has this source.
    pub(super) fn endpoints(&mut self, source: &EndpointSource, set: &EndpointSet) -> (Vec<ClusterId>, Vec<Command>) {
        let ids = self.by_source.get(source).cloned().unwrap_or_default();
        let commands = ids.iter().flat_map(|id| self.replace(id, set)).collect();
        (ids, commands)
    }

    fn replace(&mut self, id: &ClusterId, set: &EndpointSet) -> Vec<Command> {
        let Some(live) = self.live.get(id).or_else(|| self.retired.get(id)) else { return Vec::new() };
        let now = Instant::now();
        let draining = self.draining.entry(id.clone()).or_default();
        draining.retain(|(_, end)| *end > now);
        let mut commands = Vec::new();
        let moved = live.replace(set, |endpoint| {
            let place = draining.iter().position(|(old, _)| old.endpoint == *endpoint)?;
            let (back, _) = draining.swap_remove(place);
            back.set_departing(false);
            back.begin_anew(now);
            commands.push(Command::Returned(Arc::clone(&back)));
            Some(back)
        });
        let departure = departure(&live.config());
        for endpoint in moved.departed {
            endpoint.set_departing(true);
            draining.push((Arc::clone(&endpoint), now + departure.timeout + Duration::from_secs(1)));
            commands.push(Command::Departed(endpoint, departure));
        }
        if draining.is_empty() {
            self.draining.remove(id);
        }
        commands
    }

    fn unlink(&mut self, source: &EndpointSource, id: &ClusterId) {
        if let Some(ids) = self.by_source.get_mut(source) {
            ids.retain(|other| other != id);
            if ids.is_empty() {
                self.by_source.remove(source);
            }
        }
    }
}

fn departure(cluster: &Cluster) -> Departure {
    let Draining { timeout, spread } = cluster.draining;
    Departure { timeout, spread }
}
