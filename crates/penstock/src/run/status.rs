//! `/status`: listeners, backends and problems of this process, as JSON.

use std::sync::{Arc, OnceLock};
use std::time::{Instant, UNIX_EPOCH};

use penstock_controller::{State, warnings};
use penstock_dataplane::{DataPlane, DrainingEndpoint, LiveEndpoint};
use penstock_model::{EndpointSource, ObservedName};
use serde_json::{Value, json};
use tokio::sync::watch;

/// The answer to `/status`; empty lists until the data plane runs.
#[derive(Clone, Default)]
pub(super) struct Status(Arc<OnceLock<Parts>>);

/// Whom to ask.
struct Parts {
    plane: Arc<DataPlane>,
    state: watch::Receiver<Arc<State>>,
}

impl Status {
    /// From now on there is something to tell.
    pub(super) fn connect(&self, plane: Arc<DataPlane>, state: watch::Receiver<Arc<State>>) {
        // Only ever called once, by the start.
        let _ = self.0.set(Parts { plane, state });
    }

    /// Whom to ask, once there is somebody.
    pub(super) fn parts(&self) -> Option<(Arc<DataPlane>, Arc<State>)> {
        self.0.get().map(|Parts { plane, state }| (Arc::clone(plane), Arc::clone(&state.borrow())))
    }

    /// Its backends, each with the number of its endpoint; 0: a name without an endpoint.
    pub(super) fn backends(&self) -> Vec<(u64, Value)> {
        self.0.get().map(|parts| backends(&parts.plane)).unwrap_or_default()
    }

    /// The whole of it.
    pub(super) fn json(&self) -> Value {
        let Some(Parts { plane, state }) = self.0.get() else {
            return json!({"generation": 0, "listeners": [], "backends": [], "problems": []});
        };
        let state = Arc::clone(&state.borrow());
        let noticed = warnings(&plane.observed().borrow());
        let problems = state.problems().chain(&noticed).map(|problem| {
            json!({"object": problem.object.to_string(), "reason": problem.reason, "message": problem.message})
        });
        json!({
            "generation": state.generation,
            "leader": state.leader,
            "listeners": listeners(plane),
            "backends": backends(plane).into_iter().map(|(_, backend)| backend).collect::<Vec<_>>(),
            "problems": problems.collect::<Vec<_>>(),
        })
    }
}

fn listeners(plane: &DataPlane) -> Vec<Value> {
    let (view, observed) = (plane.view().borrow().clone(), Arc::clone(&plane.observed().borrow()));
    let one = |listener: &Arc<penstock_model::Listener>| {
        let rules: std::collections::BTreeSet<_> = listener.routes.iter().map(|route| &route.rule).collect();
        let bound = observed.ports.get(&listener.bind_port);
        json!({
            "gateway": listener.id.gateway.to_string(),
            "name": &*listener.id.name,
            "port": listener.port,
            "local_port": listener.bind_port,
            "protocol": if listener.tls.is_some() { "HTTPS" } else { "HTTP" },
            "hosts": listener.hosts.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "rules": rules.len(),
            "connections": plane.connections(&listener.id),
            "error": bound.and_then(|bound| bound.as_ref().err()),
        })
    };
    view.config.listeners.iter().map(one).collect()
}

fn backends(plane: &DataPlane) -> Vec<(u64, Value)> {
    let (view, observed) = (plane.view().borrow().clone(), Arc::clone(&plane.observed().borrow()));
    let mut backends = Vec::new();
    for cluster in view.clusters.values() {
        let (config, reasons) = (cluster.config(), observed.clusters.get(&cluster.id()));
        if let EndpointSource::Name { name, port } = &config.source
            && let Some(ObservedName { reason, stale }) = observed.names.get(name)
        {
            let shown = json!({
                "pool": &*config.pool,
                "settings": &*config.settings,
                "address": format!("{}:{port}", name.strip_suffix('.').unwrap_or(name)),
                "health": if *stale { "Stale" } else { "Unresolved" },
                "reason": reason,
                "active": 0,
                "websockets": 0,
            });
            backends.push((0, shown));
        }
        for endpoint in cluster.endpoints() {
            let (active, websockets) = endpoint.active();
            let seen = reasons.and_then(|all| all.iter().find(|seen| seen.address == endpoint.address()));
            let shown = json!({
                "pool": &*config.pool,
                "settings": &*config.settings,
                "address": endpoint.address().to_string(),
                // Together with its reason, both as they were observed.
                "health": seen.map_or(endpoint.health().as_str(), |seen| seen.health),
                "reason": seen.map_or("", |seen| &seen.reason),
                "last_probe": last_probe(&endpoint),
                "active": active,
                "websockets": websockets,
                "websockets_opened": endpoint.websockets_opened(),
            });
            backends.push((endpoint.number(), shown));
        }
    }
    let now = Instant::now();
    for DrainingEndpoint { pool, settings, endpoint, until } in &view.draining {
        let (active, websockets) = endpoint.active();
        if (active, websockets) == (0, 0) || *until <= now || !endpoint.is_departing() {
            continue;
        }
        let shown = json!({
            "pool": &**pool,
            "settings": &**settings,
            "address": endpoint.address().to_string(),
            "health": "Draining",
            "reason": format!("Departed: what it has ends within {}s", until.duration_since(now).as_secs()),
            "last_probe": last_probe(endpoint),
            "active": active,
            "websockets": websockets,
            "websockets_opened": endpoint.websockets_opened(),
        });
        backends.push((endpoint.number(), shown));
    }
    backends.sort_by_key(|(_, backend)| (backend["pool"].to_string(), backend["address"].to_string()));
    backends
}

/// When its last probe ended, in seconds since 1970; null where nobody probes it, or nobody has yet.
fn last_probe(endpoint: &LiveEndpoint) -> Option<u64> {
    endpoint.last_probe()?.duration_since(UNIX_EPOCH).map(|time| time.as_secs()).ok()
}
