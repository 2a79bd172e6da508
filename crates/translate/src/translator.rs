//! The translation: one pass from a snapshot to a configuration and statuses, that does again only what changed.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use penstock_api::reasons::RuleReason;
use penstock_model::shared::same;
use penstock_model::{Cluster, ClusterId, Config, Listener, Name, ObjectRef, Problem, Route, Shared};

use crate::assemble::Assembly;
use crate::finding::Finding;
use crate::gateway::Gateway;
use crate::hosts::Owners;
use crate::memo::{GatewayMemo, RuleMemo, RulePart};
use crate::outcome::{Outcome, RuleStatus, Wants};
use crate::rule::{self, Attachment, Lowered};
use crate::seen::{Changes, Seen};
use crate::service::{Dependencies, Keys};
use crate::snapshot::{Key, Options, Snapshot};
use crate::tls::Certificates;
use crate::upstream::Known;
use crate::{pool, status};

/// Translates snapshots. It remembers what it made of each object: pure but for that memory, so a fresh one gives equal
/// outcomes. What did not change comes back as the same `Arc`s.
#[derive(Default)]
pub struct Translator {
    options: Options,
    seen: Seen,
    gateways: BTreeMap<Key, GatewayMemo>,
    rules: BTreeMap<Key, Box<RuleMemo>>,
    /// Services of which a Pod is wanted, with the number of rules that want it.
    pods: BTreeMap<Key, usize>,
    /// ConfigMaps and Secrets for TLS to backends, with the number of rules that want them.
    config_maps: BTreeMap<Key, usize>,
    secrets: BTreeMap<Key, usize>,
    known: RefCell<Known>,
    certificates: Certificates,
    /// What the last outcome had, so that the next begins with a copy: building thousands of entries anew costs more.
    config: Arc<Config>,
    statuses: Shared<BTreeMap<Key, Arc<RuleStatus>>>,
    wanted_pods: Arc<BTreeSet<Key>>,
    /// Rules that have problems.
    troubled: BTreeSet<Key>,
    /// Clusters that may have come, changed or gone in this translation.
    clusters: Vec<(ClusterId, Option<Arc<Cluster>>)>,
}

/// Rules whose routes changed, by gateway, and the routes that they had.
pub(crate) type Touched = BTreeMap<Key, BTreeMap<Key, Vec<(Name, Vec<Arc<Route>>)>>>;

impl Translator {
    /// Translates a snapshot. Never fails: what is wrong is in the statuses and problems of the outcome.
    pub fn translate(&mut self, snapshot: &Snapshot, options: &Options) -> Outcome {
        let options = options.with_api_server(snapshot);
        if self.options != options {
            *self = Self { options, ..Self::default() };
        }
        let changes = self.seen.update(snapshot);
        self.update_gateways(snapshot, &changes);
        let mut dirty = self.dirty_rules(&changes);
        let mut touched = self.attach_rules(snapshot, &dirty);
        self.claim_hosts(&changes, &mut dirty);
        self.lower_rules(snapshot, dirty, &mut touched);
        self.outcome(snapshot, &touched)
    }

    /// Parses gateways that changed, and looks again at pools whose Services did.
    fn update_gateways(&mut self, snapshot: &Snapshot, changes: &Changes) {
        for key in &changes.gateways {
            let object = snapshot.gateways.get(key).filter(|object| object.spec.class_name == self.options.class);
            let Some(object) = object else {
                // Rules that name it are dirty: they leave before anything else is made of them.
                if let Some(mut memo) = self.gateways.remove(key) {
                    self.clusters.extend(memo.uses.ids().iter().map(|id| (id.clone(), None)));
                    self.forget_parts(&memo.rules);
                }
                continue;
            };
            let gateway = Arc::new(Gateway::parse(key, object, &self.options));
            let pools = pool::check(&gateway, snapshot, &self.options);
            match self.gateways.get_mut(key) {
                Some(memo) => (memo.gateway, memo.pools) = (gateway, pools),
                None => {
                    let rules = self.rules.iter().filter(|(_, rule)| rule.gateway == *key).map(|(key, _)| key.clone());
                    let memo = GatewayMemo::new(gateway, pools, rules.collect());
                    self.gateways.insert(key.clone(), memo);
                }
            }
        }
        for memo in self.gateways.values_mut().filter(|memo| memo.pools.1.changed(changes)) {
            memo.pools = pool::check(&memo.gateway, snapshot, &self.options);
        }
    }

    /// Rules whose gateway went away contribute nothing any more.
    fn forget_parts(&mut self, rules: &BTreeSet<Key>) {
        for key in rules {
            let part = self.rules.get_mut(key).and_then(|rule| rule.part.take());
            self.count_wants(part.as_ref(), None);
        }
    }

    /// Rules that have to be looked at again.
    fn dirty_rules(&self, changes: &Changes) -> BTreeSet<Key> {
        let mut dirty = changes.rules.clone();
        let nothing_else = changes.gateways.is_empty()
            && changes.services.is_empty()
            && changes.namespaces.is_empty()
            && changes.config_maps.is_empty()
            && changes.secrets.is_empty()
            && !changes.grants;
        if !nothing_else {
            let depending = self.rules.iter().filter(|(key, rule)| rule.depends(key, changes));
            dirty.extend(depending.map(|(key, _)| key.clone()));
        }
        dirty
    }

    /// Finds out where dirty rules attach. Rules that are gone leave here.
    fn attach_rules(&mut self, snapshot: &Snapshot, dirty: &BTreeSet<Key>) -> Touched {
        let mut touched = Touched::new();
        for key in dirty {
            let Some(object) = snapshot.rules.get(key) else {
                self.remove_rule(key, &mut touched);
                continue;
            };
            let reference = &object.spec.gateway_ref;
            let gateway = match &reference.namespace {
                Some(namespace) => Key::new(namespace.as_str(), reference.name.as_str()),
                None => Key::new(key.namespace.clone(), reference.name.as_str()),
            };
            let attachment = match self.gateways.get(&gateway) {
                Some(memo) => rule::attach(key, object, &memo.gateway, snapshot),
                None => Attachment::default(),
            };
            match self.rules.get_mut(key) {
                Some(rule) if rule.gateway == gateway => {
                    (rule.object, rule.attachment) = (Arc::clone(object), attachment);
                }
                _ => {
                    self.remove_rule(key, &mut touched);
                    if let Some(memo) = self.gateways.get_mut(&gateway) {
                        memo.rules.insert(key.clone());
                    }
                    let object = Arc::clone(object);
                    let memo = RuleMemo { object, gateway, attachment, taken: BTreeMap::new(), part: None };
                    self.rules.insert(key.clone(), Box::new(memo));
                }
            }
        }
        touched
    }

    fn remove_rule(&mut self, key: &Key, touched: &mut Touched) {
        let Some(memo) = self.rules.remove(key) else { return };
        if let Some(gateway) = self.gateways.get_mut(&memo.gateway) {
            gateway.rules.remove(key);
            gateway.exchange(memo.part.as_ref(), None);
        }
        self.count_wants(memo.part.as_ref(), None);
        self.statuses.remove(key);
        self.troubled.remove(key);
        let before = memo.part.map(|part| part.routes).unwrap_or_default();
        touched.entry(memo.gateway).or_default().entry(key.clone()).or_insert(before);
    }

    /// Where namespaces do not share hosts, the oldest rule's owns a host and what its pattern covers: finds out which hosts
    /// that takes from which rule, and adds to the dirty ones those for which it changed.
    fn claim_hosts(&mut self, changes: &Changes, dirty: &mut BTreeSet<Key>) {
        use penstock_api::gateway::HostSharing;
        for (gateway, memo) in &self.gateways {
            let exclusive = memo.gateway.allowed.hosts == HostSharing::FirstNamespace;
            if !exclusive && !changes.gateways.contains(gateway) {
                continue;
            }
            let mut by_age: Vec<_> = memo.rules.iter().filter_map(|key| Some((key, self.rules.get(key)?))).collect();
            by_age.sort_by_key(|(key, rule)| {
                (rule.object.metadata.creation_timestamp.as_ref().map_or(0, |time| time.0.as_second()), *key)
            });
            let mut owners = Owners::default();
            let mut results = Vec::new();
            for (key, rule) in by_age {
                let mut taken = BTreeMap::new();
                let hosts = rule.attachment.listeners.iter().flat_map(|(_, hosts)| hosts);
                for host in hosts.filter(|_| exclusive) {
                    let owner = owners.claim(host, &key.namespace);
                    if owner.namespace != key.namespace {
                        taken.insert(host.clone(), owner);
                    }
                }
                if taken != rule.taken {
                    results.push((key.clone(), taken));
                }
            }
            for (key, taken) in results {
                if let Some(rule) = self.rules.get_mut(&key) {
                    rule.taken = taken;
                }
                dirty.insert(key);
            }
        }
    }

    /// Lowers dirty rules and notes of which the routes changed.
    fn lower_rules(&mut self, snapshot: &Snapshot, dirty: BTreeSet<Key>, touched: &mut Touched) {
        for key in dirty {
            let Some(mut memo) = self.rules.remove(&key) else { continue };
            let old = memo.part.take();
            memo.part = self.part(&key, &memo, old.as_ref(), snapshot);
            self.count_wants(old.as_ref(), memo.part.as_ref());
            if let Some(gateway) = self.gateways.get_mut(&memo.gateway) {
                gateway.exchange(old.as_ref(), memo.part.as_ref());
                let same = match (&old, &memo.part) {
                    (Some(old), Some(new)) => new.same_routes(old),
                    (None, None) => true,
                    _ => false,
                };
                if !same {
                    let before = old.map(|part| part.routes).unwrap_or_default();
                    touched.entry(memo.gateway.clone()).or_default().entry(key.clone()).or_insert(before);
                }
            }
            if memo.part.as_ref().is_some_and(|part| !part.problems.is_empty()) {
                self.troubled.insert(key.clone());
            } else {
                self.troubled.remove(&key);
            }
            match &memo.part {
                Some(part) => self.statuses.insert(key.clone(), Arc::clone(&part.status)),
                None => self.statuses.remove(&key),
            };
            self.rules.insert(key, memo);
        }
    }

    /// What a rule contributes; nothing when its gateway is another installation's.
    fn part(&self, key: &Key, memo: &RuleMemo, old: Option<&RulePart>, snapshot: &Snapshot) -> Option<RulePart> {
        let world = (snapshot, &self.options, &self.known);
        let lowered = match self.gateways.get(&memo.gateway) {
            Some(gateway) if memo.attachment.listeners.is_empty() => {
                debug_assert_eq!(gateway.gateway.key, memo.gateway);
                Lowered { findings: memo.attachment.findings.clone(), ..Lowered::default() }
            }
            Some(gateway) => rule::lower(key, &memo.object, &gateway.gateway, &memo.attachment, &memo.taken, world),
            None if snapshot.gateways.contains_key(&memo.gateway) => return None,
            None => {
                let message = format!(
                    "gatewayRef: ApplicationGateway {} does not exist: create it, or correct the reference",
                    memo.gateway
                );
                let findings = vec![Finding::refused(RuleReason::GatewayNotFound.as_str(), message)];
                Lowered { findings, ..Lowered::default() }
            }
        };
        let object = ObjectRef { kind: "RoutingRule", namespace: key.namespace.clone(), name: key.name.clone() };
        let problems: Vec<Problem> = lowered.findings.iter().filter_map(|finding| finding.problem(&object)).collect();
        let status = status::rule(&memo.object, &memo.gateway, &lowered);
        let uses = self.gateways.get(&memo.gateway).map(|gateway| &gateway.uses);
        Some(RulePart::keeping(lowered, (old, uses), status, problems))
    }

    /// Counts what rules want to see.
    fn count_wants(&mut self, old: Option<&RulePart>, new: Option<&RulePart>) {
        count(&mut self.config_maps, old, new, |needs| &needs.config_maps);
        count(&mut self.secrets, old, new, |needs| &needs.secrets);
        for key in new.iter().flat_map(|part| part.dependencies.pods.iter()) {
            let count = self.pods.entry(key.clone()).or_default();
            if *count == 0 {
                Arc::make_mut(&mut self.wanted_pods).insert(key.clone());
            }
            *count += 1;
        }
        for key in old.iter().flat_map(|part| part.dependencies.pods.iter()) {
            if let Some(count) = self.pods.get_mut(key) {
                *count -= 1;
                if *count == 0 {
                    self.pods.remove(key);
                    Arc::make_mut(&mut self.wanted_pods).remove(key);
                }
            }
        }
    }

    /// Puts everything together.
    fn outcome(&mut self, snapshot: &Snapshot, touched: &Touched) -> Outcome {
        self.certificates.retain(snapshot);
        self.known.get_mut().retain(snapshot);
        let assembly = Assembly {
            snapshot,
            options: &self.options,
            rules: &self.rules,
            touched,
            certificates: &mut self.certificates,
        };
        let mut assembled = assembly.run(&mut self.gateways);
        self.update_config(assembled.listeners);
        assembled.config_maps.extend(self.config_maps.keys().cloned());
        assembled.secrets.extend(self.secrets.keys().cloned());
        let mut problems = assembled.problems;
        let troubled = self.troubled.iter().filter_map(|key| self.rules.get(key)?.part.as_ref());
        problems.extend(troubled.flat_map(|part| &part.problems).cloned());
        problems.sort();
        Outcome {
            config: Arc::clone(&self.config),
            gateways: assembled.statuses,
            rules: self.statuses.clone(),
            problems,
            again_at: self.certificates.next_age(),
            wants: Wants {
                config_maps: assembled.config_maps,
                secrets: assembled.secrets,
                pods: self.wanted_pods.clone(),
            },
        }
    }

    /// The next configuration; the last one when nothing differs.
    fn update_config(&mut self, listeners: Vec<Arc<Listener>>) {
        let mut changes = std::mem::take(&mut self.clusters);
        self.gateways.values_mut().for_each(|memo| changes.extend(memo.uses.take_changes()));
        // A cluster of inline settings can go with one gateway and come with another: first all go.
        changes.sort_by_key(|(_, now)| now.is_some());
        let same_listeners = listeners.len() == self.config.listeners.len()
            && listeners.iter().zip(&self.config.listeners).all(|(a, b)| Arc::ptr_eq(a, b));
        let same_clusters = changes.iter().all(|(id, now)| match (self.config.clusters.get(id), now) {
            (Some(before), Some(now)) => same(before, now),
            (None, None) => true,
            _ => false,
        });
        if same_listeners && same_clusters {
            return;
        }
        let mut clusters = self.config.clusters.clone();
        for (id, now) in changes {
            match now {
                // One that was made anew for its name alone stays what it is.
                Some(cluster) if clusters.get(&id).is_some_and(|before| same(before, &cluster)) => {}
                Some(cluster) => drop(clusters.insert(id, cluster)),
                None => drop(clusters.remove(&id)),
            }
        }
        self.config = Arc::new(Config { listeners, clusters });
    }
}

fn count(
    counts: &mut BTreeMap<Key, usize>,
    old: Option<&RulePart>,
    new: Option<&RulePart>,
    of: fn(&Dependencies) -> &Keys,
) {
    for key in new.iter().flat_map(|part| of(&part.dependencies).iter()) {
        *counts.entry(key.clone()).or_default() += 1;
    }
    for key in old.iter().flat_map(|part| of(&part.dependencies).iter()) {
        if let Some(count) = counts.get_mut(key) {
            *count -= 1;
            if *count == 0 {
                counts.remove(key);
            }
        }
    }
}
