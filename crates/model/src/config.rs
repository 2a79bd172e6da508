//! The whole configuration: what one translation yields and one compilation takes.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::cluster::{Cluster, ClusterId};
use crate::listener::Listener;
use crate::shared::{Shared, same};

/// Everything that the data plane shall do. Published whole, only when it differs from the last one.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// Listeners, sorted by identity.
    pub listeners: Vec<Arc<Listener>>,
    /// Every cluster that a route names.
    pub clusters: Shared<BTreeMap<ClusterId, Arc<Cluster>>>,
}

/// What did not change is shared between configurations: then pointers are equal, and nothing else is looked at.
impl PartialEq for Config {
    fn eq(&self, other: &Self) -> bool {
        let Self { listeners, clusters } = self;
        listeners.len() == other.listeners.len()
            && clusters.len() == other.clusters.len()
            && listeners.iter().zip(&other.listeners).all(|(a, b)| same(a, b))
            && (Shared::ptr_eq(clusters, &other.clusters)
                || clusters
                    .iter()
                    .zip(other.clusters.iter())
                    .all(|((a, mine), (b, theirs))| a == b && same(mine, theirs)))
    }
}

/// A cluster that came, changed or went.
#[derive(Clone, Copy, Debug)]
pub struct ClusterChange<'a> {
    /// Its identity.
    pub id: &'a ClusterId,
    /// As it was.
    pub before: Option<&'a Arc<Cluster>>,
    /// As it is.
    pub now: Option<&'a Arc<Cluster>>,
}

impl Config {
    /// Clusters that are not the very same as in the configuration before: one look at each pointer.
    pub fn cluster_changes<'a>(&'a self, before: &'a Self) -> Vec<ClusterChange<'a>> {
        let mut changes = Vec::new();
        if Shared::ptr_eq(&self.clusters, &before.clusters) {
            return changes;
        }
        let (mut old, mut new) = (before.clusters.iter().peekable(), self.clusters.iter().peekable());
        loop {
            let (was, is) = match (old.peek(), new.peek()) {
                (None, None) => return changes,
                (Some((_, was)), Some((_, is))) if Arc::ptr_eq(was, is) => {
                    old.next();
                    new.next();
                    continue;
                }
                (Some((was, _)), Some((is, _))) => (was <= is, is <= was),
                (was, is) => (was.is_some(), is.is_some()),
            };
            let was = if was { old.next() } else { None };
            let is = if is { new.next() } else { None };
            let id = was.or(is).map(|(id, _)| id);
            changes.extend(id.map(|id| ClusterChange {
                id,
                before: was.map(|(_, was)| was),
                now: is.map(|(_, is)| is),
            }));
        }
    }
}
