//! A rule: to which listeners and hosts it attaches, and the routes that it becomes.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;

use http::StatusCode;
use penstock_api::RoutingRule;
use penstock_api::reasons::RuleReason;
use penstock_api::rule::{PathRule, Redirect, RoutingRuleSpec, RuleBackend};
use penstock_model::rank::ObjectName;
use penstock_model::{Action, Cluster, Forward, HostPattern, Name, PathMatch, PathOverride, RewriteSet, Route, RuleId};

use crate::finding::{Effect, Finding};
use crate::gateway::Gateway;
use crate::hosts::{self, Owner};
use crate::pool::Backends;
use crate::rank::Standing;
use crate::service::Dependencies;
use crate::snapshot::{Key, Options, Snapshot};
use crate::upstream::Known;
use crate::{allowed, paths, redirect};

/// Where a rule attaches.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Attachment {
    /// Indices of listeners, and the hosts taken of each. Empty: the rule is out of force, and the findings say why.
    pub(crate) listeners: Vec<(usize, Vec<HostPattern>)>,
    pub(crate) findings: Vec<Finding>,
}

/// What a rule becomes.
#[derive(Debug, Default)]
pub(crate) struct Lowered {
    /// Routes by the name of their listener.
    pub(crate) routes: Vec<(Name, Vec<Route>)>,
    pub(crate) clusters: Vec<Cluster>,
    pub(crate) dependencies: Dependencies,
    pub(crate) findings: Vec<Finding>,
    /// Hosts that it takes, over all listeners.
    pub(crate) hosts: Vec<HostPattern>,
}

/// One condition on the path and what is done then, for every host of the rule.
struct Entry {
    name: Option<Name>,
    path: PathMatch,
    listed: u32,
    action: Arc<Action>,
}

/// Finds out to which listeners a rule may attach and which of their hosts it takes.
pub(crate) fn attach(key: &Key, rule: &RoutingRule, gateway: &Gateway, snapshot: &Snapshot) -> Attachment {
    let RoutingRuleSpec { listeners, host_names, priority, .. } = &rule.spec;
    let refused = |reason: RuleReason, message: String| Attachment {
        listeners: Vec::new(),
        findings: vec![Finding::refused(reason.as_str(), message)],
    };
    if let Err(why) = allowed::permits(&gateway.allowed, &gateway.key, key, *priority, snapshot) {
        return refused(RuleReason::NotAllowedByGateway, why);
    }
    let mut findings = Vec::new();
    let mut wanted = Vec::new();
    for text in host_names {
        match HostPattern::parse(text) {
            Ok(host) => wanted.push(host),
            Err(error) => {
                let message = format!("hostNames: {error}; correct or remove it");
                findings.push(Finding::partial(RuleReason::InvalidValue.as_str(), message));
            }
        }
    }
    if wanted.is_empty() && !host_names.is_empty() {
        // No hosts would mean any host.
        return all_refused(findings);
    }
    let named = |name: &str| listeners.is_empty() || listeners.iter().any(|listener| listener == name);
    for name in listeners.iter().filter(|&name| !gateway.listeners.iter().any(|listener| *listener.name == **name)) {
        let message = format!(
            "listeners: {name:?} is not one of the listeners of ApplicationGateway {}: add it there, or correct the name",
            gateway.key
        );
        findings.push(Finding::partial(RuleReason::ListenerNotFound.as_str(), message));
    }
    let chosen: Vec<_> = gateway.listeners.iter().enumerate().filter(|(_, listener)| named(&listener.name)).collect();
    if chosen.is_empty() {
        return all_refused(findings);
    }
    let mut attached: Vec<(usize, Vec<HostPattern>)> = chosen
        .iter()
        .map(|(index, listener)| (*index, hosts::narrow(&listener.hosts, &wanted)))
        .filter(|(_, hosts)| !hosts.is_empty())
        .collect();
    let any = [HostPattern::Any];
    for host in &wanted {
        let covered = chosen.iter().any(|(_, listener)| {
            let offered = if listener.hosts.is_empty() { any.as_slice() } else { &listener.hosts };
            offered.iter().any(|offered| hosts::common(offered, host).is_some())
        });
        if !covered {
            let names: Vec<&str> = chosen.iter().map(|(_, listener)| &*listener.name).collect();
            let message = format!(
                "hostNames: {host} is not covered by the hosts of listener {}: add it there, or remove it here",
                names.join(", ")
            );
            findings.push(Finding::partial(RuleReason::HostNotCovered.as_str(), message));
        }
    }
    if attached.is_empty() {
        return all_refused(findings);
    }
    attached.shrink_to_fit();
    Attachment { listeners: attached, findings }
}

/// Nothing is left of the rule: what was wrong with its parts is wrong with the whole.
fn all_refused(mut findings: Vec<Finding>) -> Attachment {
    for finding in &mut findings {
        finding.effect = Effect::Refused;
    }
    Attachment { listeners: Vec::new(), findings }
}

/// Lowers a rule that is attached, without the hosts that belong to other namespaces.
pub(crate) fn lower(
    key: &Key,
    rule: &RoutingRule,
    gateway: &Gateway,
    attachment: &Attachment,
    taken: &BTreeMap<HostPattern, Owner>,
    (snapshot, options, known): (&Snapshot, &Options, &RefCell<Known>),
) -> Lowered {
    let mut findings = attachment.findings.clone();
    let mut listeners = attachment.listeners.clone();
    for (_, hosts) in &mut listeners {
        hosts.retain(|host| !taken.contains_key(host));
    }
    listeners.retain(|(_, hosts)| !hosts.is_empty());
    for (host, owner) in taken {
        let Owner { namespace, pattern } = owner;
        let whose = if pattern == host { "it".to_owned() } else { pattern.to_string() };
        let message = format!(
            "host {host} belongs to namespace {:?}, whose rule for {whose} is older (allowedRules.hosts FirstNamespace of ApplicationGateway {}): use another host",
            &**namespace, gateway.key
        );
        findings.push(Finding::partial(RuleReason::HostTaken.as_str(), message));
    }
    if listeners.is_empty() {
        return Lowered { findings: all_refused(findings).findings, ..Lowered::default() };
    }
    let RoutingRuleSpec {
        gateway_ref: _,
        listeners: _,
        host_names: _,
        priority,
        backend,
        redirect,
        rewrite_rule_set,
        paths,
    } = &rule.spec;
    let (rewrites, blocked) = match rewrite_rule_set {
        Some(name) => rewrites("", name, gateway, &mut findings),
        None => (None, None),
    };
    let attached: Vec<usize> = listeners.iter().map(|(index, _)| *index).collect();
    let mut backends = Backends {
        snapshot,
        options,
        gateway,
        rule: key,
        known,
        blocked,
        rewrites,
        dependencies: Dependencies::default(),
        clusters: Vec::new(),
        findings,
    };
    let mut entries = Vec::new();
    for (index, path) in paths.iter().enumerate() {
        add_paths(&mut entries, index, path, &mut backends, &attached);
    }
    if let Some(action) = action("", backend.as_ref(), redirect.as_ref(), &mut backends, &attached) {
        entries.push(Entry { name: None, path: PathMatch::Any, listed: u32::MAX, action: Arc::new(action) });
    }
    let standing = Standing {
        priority: *priority,
        created: rule.metadata.creation_timestamp.as_ref().map_or(0, |time| time.0.as_second()),
        object: ObjectName(key.namespace.clone(), key.name.clone()),
    };
    let id = RuleId::new(key.namespace.clone(), key.name.clone());
    let mut hosts: Vec<HostPattern> = Vec::new();
    let mut routes = Vec::new();
    for (index, taken) in listeners {
        let of_listener =
            taken.iter().flat_map(|host| entries.iter().map(|entry| route(&id, &standing, host, entry))).collect();
        routes.push((gateway.listeners[index].name.clone(), of_listener));
        for host in taken {
            if !hosts.contains(&host) {
                hosts.push(host);
            }
        }
    }
    let Backends { dependencies, clusters, findings, .. } = backends;
    Lowered { routes, clusters, dependencies, findings, hosts }
}

/// The rewrite rule set that is named at a place, or why nothing may be forwarded from there: it is not there.
fn rewrites(
    place: &str,
    name: &str,
    gateway: &Gateway,
    findings: &mut Vec<Finding>,
) -> (Option<Arc<RewriteSet>>, Option<&'static str>) {
    if let Some(set) = gateway.rewrite_rule_sets.get(name) {
        return (Some(Arc::clone(set)), None);
    }
    let reason = RuleReason::RewriteSetNotFound.as_str();
    let message = format!(
        "{place}rewriteRuleSet {name:?} is not one of the rewriteRuleSets of ApplicationGateway {}: add it there, or correct the name",
        gateway.key
    );
    findings.push(Finding::unresolved(reason, message));
    (None, Some(reason))
}

fn add_paths(entries: &mut Vec<Entry>, index: usize, path: &PathRule, backends: &mut Backends<'_>, attached: &[usize]) {
    let PathRule { name, paths: patterns, backend, redirect, rewrite_rule_set } = path;
    // A name survives reordering; a number sign is in no name.
    let place = match name {
        Some(name) => format!("paths[{name}]."),
        None => format!("paths[#{index}]."),
    };
    let of_rule = rewrite_rule_set.as_ref().map(|name| {
        let (set, blocked) = rewrites(&place, name, backends.gateway, &mut backends.findings);
        (std::mem::replace(&mut backends.rewrites, set), std::mem::replace(&mut backends.blocked, blocked))
    });
    let action = action(&place, backend.as_ref(), redirect.as_ref(), backends, attached);
    if let Some(of_rule) = of_rule {
        (backends.rewrites, backends.blocked) = of_rule;
    }
    let Some(action) = action else { return };
    let name: Option<Name> = name.as_deref().map(Into::into);
    let shared = Arc::new(action);
    for pattern in patterns {
        match paths::parse(pattern) {
            Ok(path) => {
                let action = match &*shared {
                    Action::Forward(Forward { path: PathOverride::ReplacePrefix { with, .. }, .. }) => {
                        let literal = path.literal_prefix().len();
                        let replace = PathOverride::ReplacePrefix { literal, with: Arc::clone(with) };
                        with_path(&shared, replace)
                    }
                    _ => Arc::clone(&shared),
                };
                let listed = u32::try_from(entries.len()).unwrap_or(u32::MAX - 1);
                entries.push(Entry { name: name.clone(), path, listed, action });
            }
            Err(why) => {
                let message = format!("{place}paths: {why}; correct or remove it");
                backends.findings.push(Finding::partial(RuleReason::InvalidValue.as_str(), message));
            }
        }
    }
}

fn with_path(action: &Action, path: PathOverride) -> Arc<Action> {
    Arc::new(match action {
        Action::Forward(forward) => Action::Forward(Forward { path, ..forward.clone() }),
        other => other.clone(),
    })
}

/// What is done with requests; `None`: this place takes none.
fn action(
    place: &str,
    backend: Option<&RuleBackend>,
    redirect: Option<&Redirect>,
    backends: &mut Backends<'_>,
    attached: &[usize],
) -> Option<Action> {
    match (backend, redirect) {
        (Some(backend), _) => Some(Action::Forward(backends.lower(&format!("{place}backend"), backend))),
        (None, Some(redirect)) => {
            Some(match redirect::lower(redirect, &format!("{place}redirect"), backends.gateway, attached) {
                Ok(redirect) => Action::Redirect(redirect),
                Err(finding) => {
                    backends.findings.push(finding);
                    Action::Respond(StatusCode::BAD_GATEWAY)
                }
            })
        }
        (None, None) => None,
    }
}

fn route(id: &RuleId, standing: &Standing, host: &HostPattern, entry: &Entry) -> Route {
    Route {
        rule: id.clone(),
        path_name: entry.name.clone(),
        rank: standing.rank(host, &entry.path, entry.listed),
        host: host.clone(),
        path: entry.path.clone(),
        method: None,
        headers: Vec::new(),
        queries: Vec::new(),
        filters: Vec::new(),
        action: Arc::clone(&entry.action),
    }
}
