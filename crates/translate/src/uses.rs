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
    clusters: BTreeMap<ClusterId, Versions>,
    /// Those that may be others since [`Uses::take_changes`].
    changed: BTreeSet<ClusterId>,
    /// Names of all of them; `None`: to be listed anew.
    ids: Option<Arc<Vec<ClusterId>>>,
}

/// A cluster that a rule uses.
#[derive(Clone, Debug)]
pub(crate) struct Used {
    /// What the rule calls it.
    pub(crate) pool: Name,
    /// Thousands of rules may share it, so the pool in it may be another's.
    pub(crate) cluster: Arc<Cluster>,
}

/// One cluster by what rules call it, each with the number of those.
#[derive(Debug)]
struct Versions {
    by_label: BTreeMap<Label, (Arc<Cluster>, usize)>,
    last: Arc<Cluster>,
}

/// Inline or not, and the pool.
type Label = (bool, Name);

fn label(pool: &Name) -> Label {
    // The label of an inline backend is the rule's `namespace/name`.
    (pool.contains('/'), pool.clone())
}

/// Whether two differ in nothing but the pool.
pub(crate) fn alike(cluster: &mut Cluster, other: &Cluster) -> bool {
    let pool = std::mem::replace(&mut cluster.pool, other.pool.clone());
    let alike = *cluster == *other;
    cluster.pool = pool;
    alike
}

/// The same cluster under this name.
fn called(cluster: &Arc<Cluster>, pool: &Name) -> Arc<Cluster> {
    if cluster.pool == *pool {
        return Arc::clone(cluster);
    }
    Arc::new(Cluster { pool: pool.clone(), ..(**cluster).clone() })
}

impl Uses {
    /// The cluster of another rule that differs in nothing but the pool.
    pub(crate) fn alike(&self, cluster: &mut Cluster) -> Option<Arc<Cluster>> {
        let last = &self.clusters.get(&cluster.id)?.last;
        alike(cluster, last).then(|| Arc::clone(last))
    }

    /// A rule uses a cluster; its newest version counts.
    pub(crate) fn add(&mut self, Used { pool, cluster }: &Used) {
        let versions = self.clusters.entry(cluster.id.clone()).or_insert_with(|| {
            self.ids = None;
            Versions { by_label: BTreeMap::new(), last: Arc::clone(cluster) }
        });
        versions.last = Arc::clone(cluster);
        let version = versions.by_label.entry(label(pool));
        let (version, count) = version.or_insert_with(|| (Arc::clone(cluster), 0));
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
    pub(crate) fn remove(&mut self, Used { pool, cluster }: &Used) {
        let Some(versions) = self.clusters.get_mut(&cluster.id) else { return };
        let label = label(pool);
        if let Some((_, count)) = versions.by_label.get_mut(&label) {
            *count -= 1;
            if *count == 0 {
                versions.by_label.remove(&label);
                self.changed.insert(cluster.id.clone());
            }
        }
        if versions.by_label.is_empty() {
            self.clusters.remove(&cluster.id);
            self.ids = None;
        }
    }

    /// Clusters that may have come, changed or gone since it was asked last.
    pub(crate) fn take_changes(&mut self) -> impl Iterator<Item = (ClusterId, Option<Arc<Cluster>>)> + use<'_> {
        let Self { clusters, changed, .. } = self;
        std::mem::take(changed).into_iter().map(|id| {
            let first = clusters.get(&id).and_then(|versions| versions.by_label.iter().next());
            let now = first.map(|((_, pool), (cluster, _))| called(cluster, pool));
            (id, now)
        })
    }

    /// Names of all clusters in use, sorted; the same list as before when none came or went.
    pub(crate) fn ids(&mut self) -> Arc<Vec<ClusterId>> {
        let Self { clusters, ids, .. } = self;
        Arc::clone(ids.get_or_insert_with(|| Arc::new(clusters.keys().cloned().collect())))
    }
}

#[cfg(test)]
mod tests {
    use penstock_model::{Balancing, Draining, EndpointSource, Limits, OutlierDetection, Protocol};

    use super::*;

    fn cluster(pool: &str, protocol: Protocol) -> Cluster {
        Cluster {
            id: ClusterId { backend: "default/echo:80".into(), settings: "default/edge/".into() },
            pool: pool.into(),
            settings: "".into(),
            source: EndpointSource::Addresses,
            endpoints: Arc::default(),
            protocol,
            tls: None,
            balancing: Balancing::RoundRobin,
            slow_start: None,
            affinity: None,
            probe: None,
            draining: Draining { timeout: Default::default(), spread: Default::default() },
            outlier: OutlierDetection::default(),
            limits: Limits::default(),
        }
    }

    /// What a rule uses, as a part of it has it.
    fn used(uses: &Uses, pool: &str, protocol: Protocol) -> Used {
        let mut cluster = cluster(pool, protocol);
        let shared = uses.alike(&mut cluster);
        Used { pool: pool.into(), cluster: shared.unwrap_or_else(|| Arc::new(cluster)) }
    }

    fn change(uses: &mut Uses) -> Option<Arc<Cluster>> {
        let mut changes: Vec<_> = uses.take_changes().collect();
        assert!(changes.len() <= 1);
        changes.pop()?.1
    }

    #[test]
    fn rules_share_a_cluster_that_each_calls_otherwise() {
        let mut uses = Uses::default();
        let second = used(&uses, "default/b", Protocol::Http1);
        uses.add(&second);
        let first = used(&uses, "default/a", Protocol::Http1);
        uses.add(&first);
        assert!(Arc::ptr_eq(&first.cluster, &second.cluster));
        assert_eq!(*change(&mut uses).unwrap(), cluster("default/a", Protocol::Http1));
        uses.remove(&first);
        assert!(Arc::ptr_eq(&change(&mut uses).unwrap(), &second.cluster), "its own name needs no copy");
        uses.remove(&second);
        assert_eq!(change(&mut uses), None);
        assert!(uses.ids().is_empty());
    }

    #[test]
    fn what_differs_is_not_shared() {
        let mut uses = Uses::default();
        let one = used(&uses, "default/a", Protocol::Http1);
        uses.add(&one);
        let other = used(&uses, "default/b", Protocol::Http2);
        uses.add(&other);
        assert!(!Arc::ptr_eq(&one.cluster, &other.cluster));
        let third = used(&uses, "default/c", Protocol::Http2);
        assert!(Arc::ptr_eq(&third.cluster, &other.cluster), "the newest is what others are alike");
    }
}
