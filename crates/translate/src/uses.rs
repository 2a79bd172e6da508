//! Which clusters the rules of a gateway use. A cluster lives for as long as one rule names it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use penstock_model::{Cluster, ClusterId, Name};

/// Clusters in use, with the number of rules that use them.
///
/// Rules may call one cluster by different pools, which are labels only: a pool of the gateway goes before an inline one,
/// then the alphabet decides.
#[derive(Debug, Default)]
pub(crate) struct Uses {
    clusters: BTreeMap<ClusterId, BTreeMap<Label, (Arc<Cluster>, usize)>>,
    /// Those that may be others since [`Uses::take_changes`].
    changed: BTreeSet<ClusterId>,
    /// Names of all of them; `None`: to be listed anew.
    ids: Option<Arc<Vec<ClusterId>>>,
}

/// Inline or not, and the pool.
type Label = (bool, Name);

fn label(cluster: &Cluster) -> Label {
    // The label of an inline backend is the rule's `namespace/name`.
    (cluster.pool.contains('/'), cluster.pool.clone())
}

impl Uses {
    /// A rule uses a cluster; its newest version counts.
    pub(crate) fn add(&mut self, cluster: &Arc<Cluster>) {
        let labels = self.clusters.entry(cluster.id.clone()).or_default();
        if labels.is_empty() {
            self.ids = None;
        }
        let (version, count) = labels.entry(label(cluster)).or_insert_with(|| (Arc::clone(cluster), 0));
        let replaced = !Arc::ptr_eq(version, cluster) && version != cluster;
        if replaced {
            *version = Arc::clone(cluster);
        }
        if replaced || *count == 0 {
            self.changed.insert(cluster.id.clone());
        }
        *count += 1;
    }

    /// A rule uses it no more.
    pub(crate) fn remove(&mut self, cluster: &Cluster) {
        let Some(labels) = self.clusters.get_mut(&cluster.id) else { return };
        let label = label(cluster);
        if let Some((_, count)) = labels.get_mut(&label) {
            *count -= 1;
            if *count == 0 {
                labels.remove(&label);
                self.changed.insert(cluster.id.clone());
            }
        }
        if labels.is_empty() {
            self.clusters.remove(&cluster.id);
            self.ids = None;
        }
    }

    /// Clusters that may have come, changed or gone since it was asked last.
    pub(crate) fn take_changes(&mut self) -> impl Iterator<Item = (ClusterId, Option<Arc<Cluster>>)> + use<'_> {
        let Self { clusters, changed, .. } = self;
        std::mem::take(changed).into_iter().map(|id| {
            let now =
                clusters.get(&id).and_then(|labels| labels.values().next()).map(|(cluster, _)| Arc::clone(cluster));
            (id, now)
        })
    }

    /// Names of all clusters in use, sorted; the same list as before when none came or went.
    pub(crate) fn ids(&mut self) -> Arc<Vec<ClusterId>> {
        let Self { clusters, ids, .. } = self;
        Arc::clone(ids.get_or_insert_with(|| Arc::new(clusters.keys().cloned().collect())))
    }
}
