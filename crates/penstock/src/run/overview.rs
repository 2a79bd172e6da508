//! What the dashboard shows: the process at one moment as one document, bounded whatever the size of the configuration.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use penstock_controller::State;
use penstock_dataplane::{DataPlane, Moved, Traffic, View};
use penstock_model::{Action, BackendTarget, Listener, RedirectTarget, Route, RuleId};
use penstock_runtime::{Readiness, build_info};
use serde_json::{Value, json};

use super::problems::Problems;
use super::status::Status;
use crate::explanation;

/// How much of each is shown; the rest is only counted.
const LISTENERS: usize = 200;
const RULES: usize = 200;
const ROUTES_OF_A_RULE: usize = 12;
const BACKENDS: usize = 300;
const PROBLEMS: usize = 60;

/// Where the document comes from; clones are the same.
#[derive(Clone)]
pub(super) struct Overview {
    pub(super) status: Status,
    pub(super) problems: Problems,
    pub(super) readiness: Readiness,
    /// As it was seen last: what ends while one looks is in the next look, and no counter goes back meanwhile.
    pub(super) traffic: Arc<Mutex<Traffic>>,
}

impl Overview {
    /// The document.
    pub(super) async fn document(self) -> Value {
        let mut document = json!({
            "version": build_info::VERSION,
            "revision": build_info::REVISION,
            "instance": std::env::var("POD_NAME").ok(),
            "state": self.readiness.state().to_string(),
            "gateways": [], "backends": [], "problems": [],
        });
        let Some((plane, state)) = self.status.parts() else { return document };
        let traffic = self.growing(plane.traffic().await);
        let (problems, more_problems) = self.problems.newest(PROBLEMS);
        let (backends, more_backends) = backends(self.status.backends(), &traffic);
        let (gateways, more_listeners) = gateways(&plane);
        let State { generation, leader, .. } = *state;
        for (key, value) in [
            ("generation", json!(generation)),
            ("leader", json!(leader)),
            ("gateways", json!(gateways)),
            ("more_listeners", json!(more_listeners)),
            ("backends", json!(backends)),
            ("more_backends", json!(more_backends)),
            ("problems", json!(problems)),
            ("more_problems", json!(more_problems)),
        ] {
            document[key] = value;
        }
        document
    }

    fn growing(&self, mut now: Traffic) -> Traffic {
        let mut before = self.traffic.lock().unwrap_or_else(PoisonError::into_inner);
        for (number, moved) in &mut now {
            let Some(old) = before.get(number) else { continue };
            let Moved { from_client, from_backend } = *moved;
            *moved = Moved {
                from_client: from_client.max(old.from_client),
                from_backend: from_backend.max(old.from_backend),
            };
        }
        before.clone_from(&now);
        now
    }
}

/// Those that an operator looks for first: what is not well, then what has WebSockets.
fn backends(all: Vec<(u64, Value)>, traffic: &Traffic) -> (Vec<Value>, usize) {
    let more = all.len().saturating_sub(BACKENDS);
    let mut all: Vec<Value> = all
        .into_iter()
        .map(|(number, mut backend)| {
            let moved = traffic.get(&number).copied().unwrap_or_default();
            backend["from_client"] = moved.from_client.into();
            backend["from_backend"] = moved.from_backend.into();
            backend
        })
        .collect();
    if more > 0 {
        let websockets = |backend: &Value| backend["websockets"].as_u64().unwrap_or_default();
        all.sort_by_key(|backend| {
            (matches!(backend["health"].as_str(), Some("Up" | "Unknown")), std::cmp::Reverse(websockets(backend)))
        });
        all.truncate(BACKENDS);
    }
    (all, more)
}

/// Gateways with their listeners, and how many listeners more there are.
fn gateways(plane: &DataPlane) -> (Vec<Value>, usize) {
    let View { config, .. } = plane.view().borrow().clone();
    let observed = Arc::clone(&plane.observed().borrow());
    let mut gateways: Vec<(String, Vec<Value>)> = Vec::new();
    let mut rules_left = RULES;
    for listener in config.listeners.iter().take(LISTENERS) {
        let (rules, more) = rules(listener, &mut rules_left);
        let bound = observed.ports.get(&listener.bind_port);
        let shown = json!({
            "name": &*listener.id.name,
            "port": listener.port,
            "local_port": listener.bind_port,
            "protocol": if listener.tls.is_some() { "HTTPS" } else { "HTTP" },
            "hosts": listener.hosts.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "connections": plane.connections(&listener.id),
            "error": bound.and_then(|bound| bound.as_ref().err()),
            "rules": rules,
            "more_rules": more,
        });
        let name = listener.id.gateway.to_string();
        match gateways.last_mut().filter(|(last, _)| *last == name) {
            Some((_, listeners)) => listeners.push(shown),
            None => gateways.push((name, vec![shown])),
        }
    }
    let gateways = gateways.into_iter().map(|(name, listeners)| json!({"name": name, "listeners": listeners}));
    (gateways.collect(), config.listeners.len().saturating_sub(LISTENERS))
}

/// Rules of a listener with where they send what, and how many more there are.
fn rules(listener: &Listener, left: &mut usize) -> (Vec<Value>, usize) {
    let mut order: Vec<&RuleId> = Vec::new();
    let mut routes: HashMap<&RuleId, Vec<&Route>> = HashMap::new();
    for route in &listener.routes {
        let of_rule = routes.entry(&route.rule).or_default();
        if of_rule.is_empty() {
            order.push(&route.rule);
        }
        of_rule.push(route);
    }
    let shown = order.len().min(*left);
    *left -= shown;
    let rules = order.iter().take(shown).map(|rule| {
        let all = routes.get(rule).map(Vec::as_slice).unwrap_or_default();
        let one = |route: &&Route| json!({"takes": explanation::takes(route), "to": target(route)});
        json!({
            "name": rule.to_string(),
            "routes": all.iter().take(ROUTES_OF_A_RULE).map(one).collect::<Vec<_>>(),
            "more_routes": all.len().saturating_sub(ROUTES_OF_A_RULE),
        })
    });
    (rules.collect(), order.len() - shown)
}

/// Where a route ends, in a few words.
pub(super) fn target(route: &Route) -> String {
    match &*route.action {
        Action::Respond(status) => format!("answer {}", status.as_u16()),
        Action::Redirect(redirect) => match &redirect.target {
            RedirectTarget::Url { url, .. } => format!("redirect {} to {url}", redirect.status.as_u16()),
            RedirectTarget::Listener { https, port, .. } => {
                let scheme = if *https { "https" } else { "http" };
                format!("redirect {} to {scheme} on port {port}", redirect.status.as_u16())
            }
        },
        Action::Forward(forward) => {
            let whole: u32 = forward.backends.iter().map(|backend| backend.weight).sum();
            let one = |backend: &penstock_model::WeightedBackend| {
                let name = match &backend.target {
                    BackendTarget::Cluster(id) => &*id.backend,
                    BackendTarget::Unavailable(unavailable) => &*unavailable.reason,
                };
                let share = if forward.backends.len() > 1 && whole > 0 {
                    format!(" {}%", backend.weight * 100 / whole)
                } else {
                    String::new()
                };
                format!("{name}{share}")
            };
            if forward.backends.is_empty() {
                return format!("pool {}, which is empty", forward.pool);
            }
            forward.backends.iter().map(one).collect::<Vec<_>>().join(", ")
        }
    }
}
