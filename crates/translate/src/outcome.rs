//! What a translation yields.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use penstock_api::{ApplicationGatewayStatus, RoutingRuleStatus};
use penstock_model::shared::same;
use penstock_model::{ClusterId, Config, Problem, Shared};

use crate::snapshot::Key;

/// Configuration, statuses and what else is needed.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// For the data plane.
    pub config: Arc<Config>,
    /// Of each gateway of our class. Conditions carry `observedGeneration`; `lastTransitionTime` is the writer's
    /// job, as are addresses, Programmed, `backends` and `summary.healthy`, which only the process knows.
    pub gateways: BTreeMap<Key, GatewayStatus>,
    /// Of each rule whose gateway is ours, or is nowhere. What did not change is the same pointer as before.
    pub rules: Shared<BTreeMap<Key, Arc<RuleStatus>>>,
    /// Everything that was refused, or will break if nobody acts, sorted.
    pub problems: Vec<Problem>,
    /// Objects that should be in the next snapshot.
    pub wants: Wants,
    /// When the same objects have another outcome, because a certificate comes of age: seconds since 1970.
    pub again_at: Option<i64>,
}

/// Statuses that did not change are shared: their pointers are compared first.
impl PartialEq for Outcome {
    fn eq(&self, other: &Self) -> bool {
        let Self { config, gateways, rules, problems, wants, again_at } = self;
        same(config, &other.config)
            && (gateways, problems, wants, again_at)
                == (&other.gateways, &other.problems, &other.wants, &other.again_at)
            && rules.len() == other.rules.len()
            && (Shared::ptr_eq(rules, &other.rules)
                || rules.iter().zip(other.rules.iter()).all(|(a, b)| a.0 == b.0 && same(a.1, b.1)))
    }
}

/// Status of a gateway, and what the writer needs to complete it.
#[derive(Clone, Debug, PartialEq)]
pub struct GatewayStatus {
    /// What the snapshot tells.
    pub status: ApplicationGatewayStatus,
    /// Clusters that its rules use: `status.backends` in this order.
    pub clusters: Arc<Vec<ClusterId>>,
}

/// Status of a rule.
pub type RuleStatus = RoutingRuleStatus;

/// References to objects that are not watched whole.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wants {
    /// ConfigMaps.
    pub config_maps: BTreeSet<Key>,
    /// Secrets whose contents are used.
    pub secrets: BTreeSet<Key>,
    /// Services of which one ready Pod is wanted for its readinessProbe.
    pub pods: Arc<BTreeSet<Key>>,
}
