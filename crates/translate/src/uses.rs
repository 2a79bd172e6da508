//! Which clusters the rules of a gateway use. A cluster lives for as long as one rule names it.

use std::collections::BTreeMap;
use std::sync::Arc;

use penstock_model::{Cluster, ClusterId, Name};

/// Clusters in use, with the number of rules that use them.
///
/// Rules may call one cluster by different pools, which are labels only: a pool of the gateway goes before an inline one,
/// then the alphabet decides.
#[derive(Debug, Default)]
pub(crate) struct Uses(BTreeMap<ClusterId, BTreeMap<Label, (Arc<Cluster>, usize)>>);

/// Inline or not, and the pool.
type Label = (bool, Name);

fn label(cluster: &Cluster) -> Label {
    // The label of an inline backend is the rule's `namespace/name`.
    (cluster.pool.contains('/'), cluster.pool.clone())
}

impl Uses {
    /// A rule uses a cluster; its newest version counts.
    pub(crate) fn add(&mut self, cluster: &Arc<Cluster>) {
        let labels = self.0.entry(cluster.id.clone()).or_default();
        let (version, count) = labels.entry(label(cluster)).or_insert_with(|| (Arc::clone(cluster), 0));
        if !Arc::ptr_eq(version, cluster) && version != cluster {
            *version = Arc::clone(cluster);
        }
        *count += 1;
    }

    /// A rule uses it no more.
    pub(crate) fn remove(&mut self, cluster: &Cluster) {
        let Some(labels) = self.0.get_mut(&cluster.id) else { return };
        let label = label(cluster);
        if let Some((_, count)) = labels.get_mut(&label) {
            *count -= 1;
            if *count == 0 {
                labels.remove(&label);
            }
        }
        if labels.is_empty() {
            self.0.remove(&cluster.id);
        }
    }

    /// Every cluster in use, sorted.
    pub(crate) fn clusters(&self) -> impl Iterator<Item = (&ClusterId, &Arc<Cluster>)> {
        self.0.iter().filter_map(|(id, labels)| labels.values().next().map(|(cluster, _)| (id, cluster)))
    }
}
