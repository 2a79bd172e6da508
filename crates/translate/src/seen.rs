//! What the last translation saw: the difference to a new snapshot costs one comparison of pointers per object.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use penstock_api::k8s::{ConfigMap, EndpointSlice, Namespace, Pod, ReferenceGrant, Secret, Service};
use penstock_api::{ApplicationGateway, RoutingRule};

use crate::snapshot::{Key, Snapshot};

/// Objects of the last snapshot.
#[derive(Default)]
pub(crate) struct Seen {
    gateways: Table<Key, Arc<ApplicationGateway>>,
    rules: Table<Key, Arc<RoutingRule>>,
    services: Table<Key, Arc<Service>>,
    endpoint_slices: Table<Key, Vec<Arc<EndpointSlice>>>,
    pods: Table<Key, Arc<Pod>>,
    namespaces: Table<Arc<str>, Arc<Namespace>>,
    config_maps: Table<Key, Arc<ConfigMap>>,
    secrets: Table<Key, Arc<Secret>>,
    grants: Option<Table<Key, Arc<ReferenceGrant>>>,
}

/// Keys of objects that came, went or changed.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    pub(crate) gateways: BTreeSet<Key>,
    pub(crate) rules: BTreeSet<Key>,
    /// Services; a change of their EndpointSlices or Pod counts as theirs.
    pub(crate) services: BTreeSet<Key>,
    pub(crate) namespaces: BTreeSet<Arc<str>>,
    pub(crate) config_maps: BTreeSet<Key>,
    pub(crate) secrets: BTreeSet<Key>,
    /// Any ReferenceGrant, or whether they can be read.
    pub(crate) grants: bool,
}

impl Seen {
    /// Takes in a snapshot and says what changed.
    pub(crate) fn update(&mut self, snapshot: &Snapshot) -> Changes {
        let mut changes = Changes::default();
        self.gateways.update(&snapshot.gateways, &mut changes.gateways);
        self.rules.update(&snapshot.rules, &mut changes.rules);
        self.services.update(&snapshot.services, &mut changes.services);
        self.endpoint_slices.update(&snapshot.endpoint_slices, &mut changes.services);
        self.pods.update(&snapshot.pods, &mut changes.services);
        self.namespaces.update(&snapshot.namespaces, &mut changes.namespaces);
        self.config_maps.update(&snapshot.config_maps, &mut changes.config_maps);
        self.secrets.update(&snapshot.secrets, &mut changes.secrets);
        changes.grants = match (&mut self.grants, &snapshot.grants) {
            (Some(table), Some(grants)) => {
                let mut changed = BTreeSet::new();
                table.update(grants, &mut changed);
                !changed.is_empty()
            }
            (None, None) => false,
            (table, grants) => {
                *table = grants.as_ref().map(|grants| {
                    let mut table = Table::default();
                    table.update(grants, &mut BTreeSet::new());
                    table
                });
                true
            }
        };
        changes
    }
}

/// Objects in the order of their keys.
struct Table<K, V>(Vec<(K, V)>);

impl<K, V> Default for Table<K, V> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

/// The same version of an object.
trait Same {
    fn same(&self, other: &Self) -> bool;
}

impl<T> Same for Arc<T> {
    fn same(&self, other: &Self) -> bool {
        Arc::ptr_eq(self, other)
    }
}

impl<T> Same for Vec<Arc<T>> {
    fn same(&self, other: &Self) -> bool {
        self.len() == other.len() && self.iter().zip(other).all(|(a, b)| Arc::ptr_eq(a, b))
    }
}

impl<K: Ord + Clone, V: Same + Clone> Table<K, V> {
    /// Goes through both side by side. Most objects are the very same ones, whose keys need no comparison: an object never
    /// changes its key.
    fn update(&mut self, now: &BTreeMap<K, V>, changed: &mut BTreeSet<K>) {
        let mut old = std::mem::replace(&mut self.0, Vec::with_capacity(now.len())).into_iter().peekable();
        for (key, value) in now {
            if let Some(same) = old.next_if(|(_, old)| old.same(value)) {
                self.0.push(same);
                continue;
            }
            while let Some((gone, _)) = old.next_if(|(old, _)| old < key) {
                changed.insert(gone);
            }
            let before = old.next_if(|(old, _)| old == key);
            if !before.is_some_and(|(_, old)| old.same(value)) {
                changed.insert(key.clone());
            }
            self.0.push((key.clone(), value.clone()));
        }
        changed.extend(old.map(|(gone, _)| gone));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_difference_is_found_and_no_other(first in prop::collection::btree_map(0_u8..12, 0_usize..3, 0..8), second in prop::collection::btree_map(0_u8..12, 0_usize..3, 0..8)) {
            // Each key has three versions of its own object.
            let versions: Vec<Arc<usize>> = (0..36).map(Arc::new).collect();
            let objects = |of: &BTreeMap<u8, usize>| -> BTreeMap<u8, Arc<usize>> {
                of.iter().map(|(key, version)| (*key, versions[usize::from(*key) * 3 + version].clone())).collect()
            };
            let mut table = Table::default();
            let mut changed = BTreeSet::new();
            table.update(&objects(&first), &mut changed);
            prop_assert_eq!(changed, first.keys().copied().collect());
            let mut changed = BTreeSet::new();
            table.update(&objects(&second), &mut changed);
            let expected = (0..12).filter(|key| first.get(key) != second.get(key)).collect();
            prop_assert_eq!(changed, expected);
            let mut changed = BTreeSet::new();
            table.update(&objects(&second), &mut changed);
            prop_assert!(changed.is_empty());
        }
    }
}
