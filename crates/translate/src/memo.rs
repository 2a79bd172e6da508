//! What is remembered of each rule and each gateway between two translations.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use penstock_api::RoutingRule;
use penstock_model::{HostPattern, Listener, Name, Problem, Route};

use crate::finding::Finding;
use crate::gateway::Gateway;
use crate::hosts::Owner;
use crate::outcome::RuleStatus;
use crate::rule::{Attachment, Lowered};
use crate::seen::Changes;
use crate::service::{Dependencies, Keys};
use crate::snapshot::Key;
use crate::uses::{Used, Uses, alike};

/// A rule.
#[derive(Debug)]
pub(crate) struct RuleMemo {
    pub(crate) object: Arc<RoutingRule>,
    /// The gateway that it names.
    pub(crate) gateway: Key,
    pub(crate) attachment: Attachment,
    /// Its hosts that belong to other namespaces, and to which.
    pub(crate) taken: BTreeMap<HostPattern, Owner>,
    /// `None`: its gateway is another installation's.
    pub(crate) part: Option<RulePart>,
}

/// What a rule contributes.
#[derive(Debug, Default)]
pub(crate) struct RulePart {
    /// Routes by the name of their listener.
    pub(crate) routes: Vec<(Name, Vec<Arc<Route>>)>,
    pub(crate) clusters: Vec<Used>,
    pub(crate) dependencies: Dependencies,
    pub(crate) status: Arc<RuleStatus>,
    pub(crate) problems: Vec<Problem>,
}

/// A gateway.
#[derive(Debug)]
pub(crate) struct GatewayMemo {
    pub(crate) gateway: Arc<Gateway>,
    /// Whether its own pools resolve, and what that was judged by.
    pub(crate) pools: (Vec<Finding>, Dependencies),
    /// Rules that name it.
    pub(crate) rules: BTreeSet<Key>,
    /// Clusters that its rules use.
    pub(crate) uses: Uses,
    /// Rules attached to each listener.
    pub(crate) attached: BTreeMap<Name, u32>,
    /// Rules attached to any.
    pub(crate) attached_rules: u32,
    /// Listeners of the last configuration.
    pub(crate) listeners: BTreeMap<Name, Arc<Listener>>,
}

impl GatewayMemo {
    /// A gateway of which nothing is known but the names of its rules.
    pub(crate) fn new(gateway: Arc<Gateway>, pools: (Vec<Finding>, Dependencies), rules: BTreeSet<Key>) -> Self {
        Self {
            gateway,
            pools,
            rules,
            uses: Uses::default(),
            attached: BTreeMap::new(),
            attached_rules: 0,
            listeners: BTreeMap::new(),
        }
    }

    /// One of its rules contributes something else now. The new comes before the old goes, so that what both have stays.
    pub(crate) fn exchange(&mut self, old: Option<&RulePart>, new: Option<&RulePart>) {
        if let Some(new) = new {
            new.clusters.iter().for_each(|cluster| self.uses.add(cluster));
            new.routes.iter().for_each(|(listener, _)| *self.attached.entry(listener.clone()).or_default() += 1);
            self.attached_rules += u32::from(!new.routes.is_empty());
        }
        if let Some(old) = old {
            old.clusters.iter().for_each(|cluster| self.uses.remove(cluster));
            for (listener, _) in &old.routes {
                if let Some(count) = self.attached.get_mut(listener) {
                    *count -= 1;
                }
            }
            self.attached_rules -= u32::from(!old.routes.is_empty());
        }
    }
}

impl RuleMemo {
    /// Whether it was made from something that changed.
    pub(crate) fn depends(&self, key: &Key, changes: &Changes) -> bool {
        let needs = self.part.as_ref().map(|part| &part.dependencies);
        changes.gateways.contains(&self.gateway)
            || changes.namespaces.contains(&key.namespace)
            || needs.is_some_and(|needs| needs.changed(changes))
    }
}

impl Dependencies {
    /// Whether something of it changed.
    pub(crate) fn changed(&self, changes: &Changes) -> bool {
        let any =
            |keys: &Keys, changed: &BTreeSet<Key>| !changed.is_empty() && keys.iter().any(|key| changed.contains(key));
        self.grants && changes.grants
            || any(&self.services, &changes.services)
            || any(&self.config_maps, &changes.config_maps)
            || any(&self.secrets, &changes.secrets)
    }
}

impl RulePart {
    /// A new part that keeps what is equal in an old one, and shares clusters that others use.
    pub(crate) fn keeping(
        lowered: Lowered,
        (old, uses): (Option<&Self>, Option<&Uses>),
        status: RuleStatus,
        problems: Vec<Problem>,
    ) -> Self {
        let Lowered { routes, clusters, dependencies, findings: _, hosts: _ } = lowered;
        let old_routes = old.map(|old| old.routes.as_slice()).unwrap_or_default();
        // Made one by one: what is collected from a list keeps the memory of that list, many times of what is kept here.
        let mut by_listener = Vec::with_capacity(routes.len());
        for (listener, routes) in routes {
            let before = old_routes.iter().find(|(name, _)| *name == listener).map(|(_, routes)| routes.as_slice());
            let mut before = before.unwrap_or_default().iter();
            let mut kept = Vec::with_capacity(routes.len());
            kept.extend(routes.into_iter().map(|route| keep(route, before.next())));
            by_listener.push((listener, kept));
        }
        let old_clusters = old.map(|old| old.clusters.as_slice()).unwrap_or_default();
        let mut distinct: Vec<Used> = Vec::with_capacity(clusters.len());
        for mut cluster in clusters {
            let same = |other: &&Used| other.cluster.id == cluster.id && other.pool == cluster.pool;
            if distinct.iter().any(|other| same(&other)) {
                continue;
            }
            let before = old_clusters.iter().find(same).map(|used| &used.cluster);
            let before = before.filter(|before| alike(&mut cluster, before)).cloned();
            let shared = before.or_else(|| uses.and_then(|uses| uses.alike(&mut cluster)));
            let pool = cluster.pool.clone();
            distinct.push(Used { pool, cluster: shared.unwrap_or_else(|| Arc::new(cluster)) });
        }
        let status = keep(status, old.map(|old| &old.status));
        Self { routes: by_listener, clusters: distinct, dependencies, status, problems }
    }

    /// Whether its routes are the very same as those of another.
    pub(crate) fn same_routes(&self, other: &Self) -> bool {
        self.routes.len() == other.routes.len()
            && self.routes.iter().zip(&other.routes).all(|((a, mine), (b, theirs))| {
                a == b && mine.len() == theirs.len() && mine.iter().zip(theirs).all(|(a, b)| Arc::ptr_eq(a, b))
            })
    }
}

/// The old value where it is equal.
fn keep<T: PartialEq>(new: T, old: Option<&Arc<T>>) -> Arc<T> {
    match old {
        Some(old) if **old == new => Arc::clone(old),
        _ => Arc::new(new),
    }
}
