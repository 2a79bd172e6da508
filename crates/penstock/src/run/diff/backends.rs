//! Which backends appear, change or go away, and what is open at endpoints that leave.

use std::collections::{BTreeSet, HashMap};
use std::net::SocketAddr;
use std::sync::Arc;

use penstock_dataplane::LiveCluster;
use penstock_model::{Cluster, ClusterId, Config, EndpointSource};
use serde_json::{Value, json};

/// Rows, and how many WebSockets are open at endpoints that leave.
pub(super) fn changes(
    before: &Config,
    after: &Config,
    live: &HashMap<ClusterId, Arc<LiveCluster>>,
) -> (Vec<Value>, u64) {
    let mut rows = Vec::new();
    let mut closed = 0;
    for (id, was) in &*before.clusters {
        // A cluster that goes takes nothing along: what is open goes on until an endpoint leaves.
        let open = |addresses: &BTreeSet<SocketAddr>| websockets(live.get(id), addresses);
        let Some(is) = after.clusters.get(id) else {
            rows.push(row(was, "goes", open(&addresses(was)), &[], &[]));
            continue;
        };
        let (old, new) = (addresses(was), addresses(is));
        // The addresses of names are not the configuration's.
        let named = matches!(is.source, EndpointSource::Name { .. });
        let left: BTreeSet<SocketAddr> = if named { BTreeSet::new() } else { old.difference(&new).copied().collect() };
        let joined: Vec<SocketAddr> = new.difference(&old).copied().collect();
        let leaving = open(&left);
        closed += leaving;
        let settings = settings(was) != settings(is);
        if settings || !left.is_empty() || !joined.is_empty() {
            let left: Vec<SocketAddr> = left.into_iter().collect();
            let mut shown = row(is, "changes", leaving, &joined, &left);
            shown["settings_change"] = settings.into();
            rows.push(shown);
        }
    }
    let appear = after.clusters.iter().filter(|(id, _)| !before.clusters.contains_key(*id));
    rows.extend(appear.map(|(_, is)| row(is, "appears", 0, &addresses(is).into_iter().collect::<Vec<_>>(), &[])));
    (rows, closed)
}

fn addresses(cluster: &Cluster) -> BTreeSet<SocketAddr> {
    cluster.endpoints.as_slice().iter().map(|endpoint| endpoint.address).collect()
}

/// Everything but the endpoints, and the labels: those follow the first rule that has it.
fn settings(cluster: &Cluster) -> Cluster {
    Cluster { endpoints: Arc::default(), pool: "".into(), settings: "".into(), ..cluster.clone() }
}

/// By what it differs from others with the same endpoints.
fn settings_name(cluster: &Cluster) -> &str {
    // Those of a gateway without a name are the defaults.
    if cluster.id.settings.ends_with('/') { "defaults" } else { &cluster.id.settings }
}

fn websockets(live: Option<&Arc<LiveCluster>>, addresses: &BTreeSet<SocketAddr>) -> u64 {
    let endpoints = live.map(|live| live.endpoints()).unwrap_or_default();
    let leaving = endpoints.iter().filter(|endpoint| addresses.contains(&endpoint.address()));
    leaving.map(|endpoint| u64::from(endpoint.active().1)).sum()
}

fn row(cluster: &Cluster, change: &str, websockets: u64, joined: &[SocketAddr], left: &[SocketAddr]) -> Value {
    let texts = |addresses: &[SocketAddr]| addresses.iter().map(ToString::to_string).collect::<Vec<_>>();
    json!({
        "backend": &*cluster.id.backend, "pool": &*cluster.pool, "settings": settings_name(cluster), "change": change,
        "joined": texts(joined), "left": texts(left), "websockets": websockets,
    })
}
