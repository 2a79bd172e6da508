//! What a status holds when there is more to say than the schema takes.

use std::collections::BTreeMap;
use std::sync::Arc;

use penstock_model::{Observed, ObservedEndpoint};
use penstock_testkit::{DEADLINE, eventually};

use crate::setup::Place;

/// Pools and settings, each with each.
const POOLS: usize = 26;
const SETTINGS: usize = 10;
/// Endpoints of each of them.
const ENDPOINTS: usize = 11;

/// A gateway with these, and three rules that use all.
fn objects() -> String {
    let pools = (0..POOLS).map(|n| format!("{{name: p{n}, addresses: [{{host: 10.9.0.{n}}}]}}"));
    let settings = (0..SETTINGS).map(|n| format!("{{name: s{n}}}"));
    let gateway = format!(
        "{{apiVersion: penstock.dev/v1alpha1, kind: ApplicationGateway, metadata: {{name: shop, namespace: $NS}}, spec: {{className: $NS, \
         listeners: [{{name: http, port: 80, protocol: HTTP}}], backendPools: [{}], backendSettings: [{}]}}}}",
        pools.collect::<Vec<_>>().join(", "),
        settings.collect::<Vec<_>>().join(", "),
    );
    let pairs: Vec<_> = (0..POOLS).flat_map(|pool| (0..SETTINGS).map(move |settings| (pool, settings))).collect();
    let rules = pairs.chunks(100).enumerate().map(|(n, pairs)| {
        let path = |(pool, settings)| format!("{{paths: [/{pool}/{settings}/*], backend: {{pool: p{pool}, settings: s{settings}}}}}");
        format!(
            "{{apiVersion: penstock.dev/v1alpha1, kind: RoutingRule, metadata: {{name: r{n}, namespace: $NS}}, spec: {{gatewayRef: {{name: shop}}, \
             hostNames: [r{n}.example], backend: {{pool: p0, settings: s0}}, paths: [{}]}}}}",
            pairs.iter().copied().map(path).collect::<Vec<_>>().join(", "),
        )
    });
    [gateway].into_iter().chain(rules).collect::<Vec<_>>().join("\n---\n")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_status_has_256_backends_with_8_unhealthy_endpoints_and_counts_all() {
    let place = Place::shared("limits").await;
    place.apply(&objects()).await;
    let mut running = place.start(place.settings("a"));
    let config = running.config("all clusters", |config| config.clusters.len() == POOLS * SETTINGS).await;
    let endpoints: Arc<[ObservedEndpoint]> = (0..ENDPOINTS)
        .map(|n| ObservedEndpoint {
            address: format!("10.9.1.{n}:80").parse().unwrap(),
            healthy: n == 0,
            health: if n == 0 { "Up" } else { "Down" },
            reason: if n == 0 { String::new() } else { "StatusMismatch".to_owned() },
        })
        .collect();
    running.observed.send_replace(Arc::new(Observed {
        generation: 1,
        ports: BTreeMap::from([(80, Ok(()))]),
        clusters: config.clusters.keys().map(|id| (id.clone(), endpoints.clone())).collect::<BTreeMap<_, _>>().into(),
        ..Observed::default()
    }));
    let healthy = format!("{}/{}", POOLS * SETTINGS, POOLS * SETTINGS * ENDPOINTS);
    let status = eventually("the health of all", DEADLINE, || async {
        let gateway = place.gateways().get("shop").await.map_err(|error| error.to_string())?;
        let status = gateway.data["status"].clone();
        if status["summary"]["healthy"] == *healthy { Ok(status) } else { Err(status["summary"].to_string()) }
    })
    .await;
    let backends = status["backends"].as_array().unwrap();
    assert_eq!(backends.len(), 256);
    for backend in backends {
        assert_eq!((&backend["healthy"], &backend["total"]), (&1.into(), &ENDPOINTS.into()), "{backend}");
        assert_eq!(backend["unhealthy"].as_array().unwrap().len(), 8, "{backend}");
    }
}
