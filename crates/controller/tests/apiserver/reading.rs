//! What is read: objects to configurations, broken ones aside, endpoints past them, references looked up.

use std::time::Duration;

use penstock_model::Question;
use penstock_testkit::{ApiServer, Ca, DEADLINE};
use serde_json::json;
use tokio::time::timeout;

use crate::setup::{GATEWAY, Place, rule, service, slice};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rule_becomes_a_configuration_and_goes_again() {
    let place = Place::shared("rules").await;
    place.apply(&format!("{GATEWAY}\n---\n{}\n---\n{}", service("one", "10.1.0.1"), service("two", "10.1.0.2"))).await;
    let mut running = place.start(place.settings("a"));
    running.config("the gateway alone", |config| config.listeners.len() == 1 && config.clusters.is_empty()).await;
    place.apply(&rule("r", "one")).await;
    let config = running.backends(&["one"]).await;
    let cluster = config.clusters.values().next().unwrap();
    assert_eq!(cluster.endpoints.as_slice()[0].address.to_string(), "10.1.0.1:8080", "born with its endpoints");
    place.apply(&rule("r", "two")).await;
    running.backends(&["two"]).await;
    place.kubectl(&["delete", "routingrule", "r"]).await;
    running.backends(&[]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn endpoints_come_without_a_new_configuration() {
    let place = Place::shared("endpoints").await;
    place.apply(&format!("{GATEWAY}\n---\n{}\n---\n{}", service("one", "10.1.0.1"), rule("r", "one"))).await;
    let mut running = place.start(place.settings("a"));
    running.backends(&["one"]).await;
    running.outputs.config.mark_unchanged();
    place.apply(&slice("one", "10.1.0.9")).await;
    let update = timeout(DEADLINE, running.outputs.endpoints.recv()).await.unwrap().unwrap();
    assert_eq!(update.endpoints.as_slice()[0].address.to_string(), "10.1.0.9:8080");
    assert!(!running.outputs.config.has_changed().unwrap());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn references_are_there_before_the_first_configuration() {
    let place = Place::shared("references").await;
    let gateway = "{apiVersion: penstock.dev/v1alpha1, kind: ApplicationGateway, metadata: {name: shop, namespace: $NS}, spec: {className: $NS, \
                   listeners: [{name: https, port: 443, protocol: HTTPS, tls: {certificateRefs: [{name: tls}]}}]}}";
    let ca = Ca::new("references");
    let secret = |name: &str| ca.server(&[name]).secret_yaml("$NS", "tls");
    place.apply(&format!("{gateway}\n---\n{}", secret("one.example.com"))).await;
    let mut running = place.start(place.settings("a"));
    let config = running.config("the listener", |config| !config.listeners.is_empty()).await;
    let state = running.state("the first state", |state| state.synced).await;
    assert_eq!(
        (state.generation, &state.outcome.problems),
        (1, &vec![]),
        "nothing was published before they were read"
    );
    let tls = config.listeners[0].tls.clone().unwrap();
    // What is referred to is followed: another certificate, and none.
    place.apply(&secret("two.example.com")).await;
    let first = tls.certificates[0].chain.clone();
    let mut config = running.outputs.config.clone();
    let other = config.wait_for(|config| {
        let listener = config.as_ref().and_then(|config| config.listeners.first().cloned());
        let tls =
            listener.and_then(|listener| listener.tls.clone()).expect("a listener loses no certificate meanwhile");
        tls.certificates[0].chain != first
    });
    drop(timeout(DEADLINE, other).await.unwrap().unwrap());
    place.kubectl(&["delete", "secret", "tls"]).await;
    running.state("the missing Secret", |state| !state.outcome.problems.is_empty()).await;
    place.apply(&secret("three.example.com")).await;
    running.state("the Secret again", |state| state.outcome.problems.is_empty()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_readiness_probe_of_a_pod_is_found_through_its_endpoint() {
    let place = Place::shared("pods").await;
    let pod = "{apiVersion: v1, kind: Pod, metadata: {name: web-1, namespace: $NS}, spec: {containers: [{name: web, image: web, ports: \
               [{containerPort: 8080}], readinessProbe: {httpGet: {path: /ready, port: 8080}, periodSeconds: 7}}]}}";
    let slice = slice("web", "10.1.0.1")
        .replace("conditions:", "targetRef: {kind: Pod, name: web-1, namespace: $NS}, conditions:");
    let service = "{apiVersion: v1, kind: Service, metadata: {name: web, namespace: $NS}, spec: {ports: [{port: 80, targetPort: 8080}]}}";
    place.apply(&format!("{GATEWAY}\n---\n{pod}\n---\n{service}\n---\n{slice}\n---\n{}", rule("r", "web"))).await;
    let mut running = place.start(place.settings("a"));
    let config = running.backends(&["web"]).await;
    let probe = config.clusters.values().next().unwrap().probe.clone().unwrap();
    let Question::Get { path, .. } = &probe.question else { panic!("{probe:?} is no GET") };
    assert_eq!((&**path, probe.interval), ("/ready", Duration::from_secs(7)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broken_object_hurts_nothing_else() {
    // Definitions without a schema, as of some other version, on a server of its own.
    let server = tokio::task::spawn_blocking(|| {
        let server: &'static ApiServer = Box::leak(Box::new(ApiServer::start_new().unwrap()));
        let mut crds = penstock_api::crds();
        for version in crds.iter_mut().flat_map(|crd| &mut crd.spec.versions) {
            let open = json!({"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}});
            version.schema = Some(serde_json::from_value(open).unwrap());
        }
        for crd in &crds {
            server.apply(&penstock_api::crd_yaml(crd)).unwrap();
        }
        server.kubectl(&["wait", "--for=condition=Established", "crd", "--all", "--timeout=60s"], "").unwrap();
        server
    });
    let place = Place::on(server.await.unwrap(), "broken").await;
    let broken = rule("broken", "one").replace("gatewayRef: {name: shop}", "gatewayRef: 7");
    place
        .apply(&format!("{GATEWAY}\n---\n{}\n---\n{broken}\n---\n{}", service("one", "10.1.0.1"), rule("good", "one")))
        .await;
    let mut running = place.start(place.settings("a"));
    running.backends(&["one"]).await;
    let state = running.state("the problem", |state| !state.unread.is_empty()).await;
    assert_eq!(state.unread[0].object.to_string(), "RoutingRule broken/broken");
    // What can still be seen whose it is says so in its status.
    place.apply(&rule("odd", "one").replace("paths: [", "priority: first, paths: [")).await;
    place.condition(&place.rules(), "odd", "/status/parents/0/conditions", "Accepted", "False/InvalidValue").await;
    let odd = place.rules().get("odd").await.unwrap();
    assert_eq!(odd.data["status"]["parents"][0]["gatewayRef"], json!({"name": "shop"}));
    assert_eq!(odd.data["status"]["parents"][0]["conditions"][0]["observedGeneration"], 1);
    place.apply(&GATEWAY.replace("name: shop", "name: odd").replace("port: 80", "port: eighty")).await;
    place.condition(&place.gateways(), "odd", "/status/conditions", "Accepted", "False/InvalidValue").await;
    place.kubectl(&["delete", "applicationgateway,routingrule", "odd"]).await;
    // Others go on being followed.
    place.apply(&service("two", "10.1.0.2")).await;
    place.apply(&rule("good", "two")).await;
    running.backends(&["two"]).await;
    place.kubectl(&["delete", "routingrule", "broken"]).await;
    running.state("no problem", |state| state.unread.is_empty()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_selector_knows_the_labels_of_namespaces_that_are_watched_one_by_one() {
    let place = Place::shared("labels").await;
    let gateway = GATEWAY.replace(
        "listeners:",
        "allowedRules: {namespaces: {from: Selector, selector: {matchLabels: {edge: 'yes'}}}}, listeners:",
    );
    place.apply(&format!("{gateway}\n---\n{}\n---\n{}", service("one", "10.1.0.1"), rule("r", "one"))).await;
    let mut running = place.start(place.settings("a"));
    running.backends(&[]).await;
    place.kubectl(&["label", "namespace", "labels", "edge=yes"]).await;
    running.backends(&["one"]).await;
    place.kubectl(&["label", "namespace", "labels", "edge-"]).await;
    running.backends(&[]).await;
}
