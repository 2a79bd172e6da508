//! Listeners and the statuses of gateways: which listener keeps which host, which certificates it has, and its routes in order.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use penstock_api::ApplicationGatewayStatus;
use penstock_api::gateway::{CaKind, GatewaySummary, ListenerStatus};
use penstock_api::reasons::{ConditionType, GatewayReason, ListenerReason};
use penstock_model::{Listener, ListenerId, Name, ObjectRef, Problem, Route};

use crate::authorities;
use crate::error_pages;
use crate::finding::{Effect, Finding};
use crate::gateway::Gateway;
use crate::listener::{self, Claims};
use crate::memo::{GatewayMemo, RuleMemo};
use crate::outcome::GatewayStatus;
use crate::snapshot::{Key, Options, Snapshot};
use crate::status::{condition, conditions};
use crate::tls::{self, Certificates};
use crate::translator::Touched;

/// The last step of a translation, over all gateways.
pub(crate) struct Assembly<'a> {
    pub(crate) snapshot: &'a Snapshot,
    pub(crate) options: &'a Options,
    pub(crate) rules: &'a BTreeMap<Key, Box<RuleMemo>>,
    pub(crate) touched: &'a Touched,
    pub(crate) certificates: &'a mut Certificates,
}

/// What it yields.
#[derive(Default)]
pub(crate) struct Assembled {
    /// Sorted by identity.
    pub(crate) listeners: Vec<Arc<Listener>>,
    pub(crate) statuses: BTreeMap<Key, GatewayStatus>,
    pub(crate) problems: Vec<Problem>,
    /// Secrets that listeners name.
    pub(crate) secrets: BTreeSet<Key>,
    /// ConfigMaps that listeners name.
    pub(crate) config_maps: BTreeSet<Key>,
}

impl Assembly<'_> {
    /// Older gateways are asked first: they keep what two want.
    pub(crate) fn run(mut self, gateways: &mut BTreeMap<Key, GatewayMemo>) -> Assembled {
        let mut by_age: Vec<&mut GatewayMemo> = gateways.values_mut().collect();
        by_age.sort_by_key(|memo| (memo.gateway.created, memo.gateway.key.clone()));
        let mut claims = Claims::default();
        let mut assembled = Assembled::default();
        for memo in by_age {
            // Gateways with Services of their own never meet on a port.
            if self.snapshot.local_ports.is_some() {
                claims = Claims::default();
            }
            self.gateway(memo, &mut claims, &mut assembled);
        }
        assembled.listeners.sort_by(|a, b| a.id.cmp(&b.id));
        assembled
    }

    fn gateway(&mut self, memo: &mut GatewayMemo, claims: &mut Claims, assembled: &mut Assembled) {
        let gateway = Arc::clone(&memo.gateway);
        let object = ObjectRef {
            kind: "ApplicationGateway",
            namespace: gateway.key.namespace.clone(),
            name: gateway.key.name.clone(),
        };
        let mut before = std::mem::take(&mut memo.listeners);
        let mut statuses = Vec::with_capacity(gateway.listeners.len());
        let mut invalid: Vec<&str> = Vec::new();
        for listener in &gateway.listeners {
            for reference in listener.tls.iter().flat_map(|tls| &tls.certificates) {
                assembled.secrets.insert(tls::secret_key(reference, &gateway.key.namespace));
            }
            let authorities = listener.tls.iter().filter_map(|tls| tls.client_auth.as_ref());
            for reference in authorities.flat_map(|auth| &auth.ca_certificate_refs) {
                let key = authorities::key(reference, &gateway.key.namespace);
                match reference.kind {
                    CaKind::ConfigMap => assembled.config_maps.insert(key),
                    CaKind::Secret => assembled.secrets.insert(key),
                };
            }
            assembled.config_maps.extend(error_pages::keys(&gateway, listener));
            let mut findings = listener.findings.clone();
            let bind_port = self.bind_port(&gateway, listener.port);
            let head = self.listener(&gateway, listener, bind_port, claims, &mut findings);
            let mut status = ListenerStatus {
                name: listener.name.to_string(),
                attached_rules: memo.attached.get(&listener.name).copied().unwrap_or_default(),
                conditions: conditions(&findings, gateway.generation),
            };
            if head.as_ref().is_none_or(has_no_certificate) {
                invalid.push(&listener.name);
            }
            match head {
                Some(head) if bind_port.is_some() => {
                    let routes = self.routes(memo, &head, before.get(&listener.name));
                    let kept = with_routes(head, routes, before.remove(&listener.name));
                    memo.listeners.insert(listener.name.clone(), Arc::clone(&kept));
                    assembled.listeners.push(kept);
                }
                Some(_) => {
                    let message = format!("Port {} waits for a local port in the gateway's Service.", listener.port);
                    let (programmed, pending) = (ConditionType::Programmed.as_str(), ListenerReason::Pending.as_str());
                    status.conditions.push(condition(programmed, false, pending, message, gateway.generation));
                }
                None => {}
            }
            assembled.problems.extend(findings.iter().filter_map(|finding| finding.problem(&object)));
            statuses.push(status);
        }
        let mut findings = [gateway.findings.as_slice(), memo.pools.0.as_slice()].concat();
        let not_valid = GatewayReason::ListenersNotValid.as_str();
        let message = format!("Not served: listener {}; see their conditions.", invalid.join(", "));
        if invalid.len() == gateway.listeners.len() {
            findings.push(Finding::refused(not_valid, message.clone()));
        }
        assembled.problems.extend(findings.iter().filter_map(|finding| finding.problem(&object)));
        let mut conditions = conditions(&findings, gateway.generation);
        if let Some(accepted) = conditions.first_mut().filter(|_| !invalid.is_empty()) {
            (accepted.reason, accepted.message) = (not_valid.to_owned(), message);
        }
        let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        let status = ApplicationGatewayStatus {
            conditions,
            addresses: Vec::new(),
            listeners: statuses,
            summary: Some(GatewaySummary {
                listeners: count(memo.listeners.values().filter(|listener| !has_no_certificate(listener)).count()),
                rules: memo.attached_rules,
                healthy: String::new(),
            }),
            backends: Vec::new(),
        };
        let clusters = memo.uses.ids();
        assembled.statuses.insert(gateway.key.clone(), GatewayStatus { status, clusters });
    }

    /// The port that the process binds; `None`: not known yet.
    fn bind_port(&self, gateway: &Gateway, port: u16) -> Option<u16> {
        match &self.snapshot.local_ports {
            Some(ports) => ports.get(&(gateway.id.clone(), port)).copied(),
            None => Some(self.options.map_ports.get(&port).copied().unwrap_or(port)),
        }
    }

    /// A listener without its routes; `None`: it cannot be served, and the findings say why.
    fn listener(
        &mut self,
        gateway: &Gateway,
        listener: &listener::Listener,
        bind_port: Option<u16>,
        claims: &mut Claims,
        findings: &mut Vec<Finding>,
    ) -> Option<Listener> {
        if findings.iter().any(|finding| finding.effect == Effect::Refused) && !listener.closed {
            return None;
        }
        let id = ListenerId { gateway: gateway.id.clone(), name: listener.name.clone() };
        // What is not bound yet claims its own port: it meets the listeners of its own gateway there.
        let (hosts, conflicts) = claims.claim(bind_port.unwrap_or(listener.port), &id, listener);
        findings.extend(conflicts);
        let hosts = hosts?;
        let tls = match &listener.tls {
            None => None,
            Some(_) => self.certificates.resolve(gateway, listener, self.snapshot, findings),
        };
        Some(Listener {
            id,
            port: listener.port,
            bind_port: bind_port.unwrap_or_default(),
            tls,
            hosts,
            routes: Vec::new(),
            client_address: gateway.client_address.clone(),
            error_pages: error_pages::resolve(gateway, listener, self.snapshot, findings),
        })
    }

    /// The routes of a listener in order; `None`: those that it had.
    fn routes(&self, memo: &GatewayMemo, head: &Listener, before: Option<&Arc<Listener>>) -> Option<Vec<Arc<Route>>> {
        let none = BTreeMap::new();
        let touched = self.touched.get(&memo.gateway.key).unwrap_or(&none);
        if before.is_some() && touched.is_empty() {
            return None;
        }
        let of_rule = |key: &Key| {
            let part = self.rules.get(key).and_then(|rule| rule.part.as_ref());
            of_listener(part.map(|part| part.routes.as_slice()).unwrap_or_default(), head)
        };
        let few = touched.len() * FEW <= memo.rules.len();
        let Some(before) = before.filter(|_| few) else {
            let mut routes: Vec<Arc<Route>> = memo.rules.iter().flat_map(of_rule).cloned().collect();
            routes.sort_by(|a, b| order(a, b));
            return Some(routes);
        };
        let mut routes = before.routes.clone();
        for route in touched.values().flat_map(|before| of_listener(before, head)) {
            if let Ok(place) = routes.binary_search_by(|other| order(other, route)) {
                routes.remove(place);
            }
        }
        // A rule that moved to another gateway has its routes there.
        for route in touched.keys().filter(|key| memo.rules.contains(key)).flat_map(of_rule) {
            let place = routes.partition_point(|other| order(other, route).is_lt());
            routes.insert(place, Arc::clone(route));
        }
        Some(routes)
    }
}

/// Whether no handshake can be made.
fn has_no_certificate(listener: &Listener) -> bool {
    listener.tls.as_ref().is_some_and(|tls| tls.certificates.is_empty())
}

/// Up to one rule in so many is put into its place; for more of them everything is sorted.
const FEW: usize = 16;

/// The order of a listener's routes. One rule has each host and path position once, so no two are equal.
fn order(a: &Route, b: &Route) -> Ordering {
    a.rank.cmp(&b.rank).then_with(|| b.host.cmp(&a.host))
}

/// What a rule has for one listener.
fn of_listener<'r>(routes: &'r [(Name, Vec<Arc<Route>>)], head: &Listener) -> &'r [Arc<Route>] {
    let mut lists = routes.iter();
    lists.find(|(name, _)| *name == head.id.name).map(|(_, routes)| routes.as_slice()).unwrap_or_default()
}

/// The listener with its routes; the one of before when nothing differs.
fn with_routes(head: Listener, routes: Option<Vec<Arc<Route>>>, before: Option<Arc<Listener>>) -> Arc<Listener> {
    let Some(before) = before else {
        return Arc::new(Listener { routes: routes.unwrap_or_default(), ..head });
    };
    let same = |routes: &[Arc<Route>]| {
        routes.len() == before.routes.len() && routes.iter().zip(&before.routes).all(|(a, b)| Arc::ptr_eq(a, b))
    };
    if routes.as_deref().is_none_or(same) && head.same_head(&before) {
        return before;
    }
    Arc::new(Listener { routes: routes.unwrap_or_else(|| before.routes.clone()), ..head })
}
