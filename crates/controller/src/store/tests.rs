//! The store between a source made of hand-written changes and its outputs.

use std::sync::Arc;
use std::time::Duration;

use penstock_api::RoutingRule;
use penstock_api::k8s::{ConfigMap, EndpointSlice, ReferenceGrant};
use serde_json::json;
use tokio::time::timeout;

use super::*;
use crate::fake::{Fake, backends};

const DEADLINE: Duration = Duration::from_secs(20);

fn rule(name: &str, service: &str, annotations: &serde_json::Value, resource_version: u64) -> Object {
    let rule: RoutingRule = serde_json::from_value(json!({
        "apiVersion": "penstock.dev/v1alpha1", "kind": "RoutingRule",
        "metadata": {"name": name, "namespace": "shop", "generation": 1, "annotations": annotations, "resourceVersion": resource_version.to_string()},
        "spec": {"gatewayRef": {"name": "edge"}, "backend": {"services": [{"name": service, "port": 80}]}},
    }))
    .unwrap();
    Object::Rule(Arc::new(rule))
}

fn slice(service: &str, address: &str) -> Object {
    let slice: EndpointSlice = serde_json::from_value(json!({
        "metadata": {"name": format!("{service}-x"), "namespace": "shop", "labels": {"kubernetes.io/service-name": service}},
        "addressType": "IPv4", "endpoints": [{"addresses": [address]}], "ports": [{"port": 80}],
    }))
    .unwrap();
    Object::EndpointSlice(Arc::new(slice))
}

fn config_map(name: &str) -> Object {
    let object: ConfigMap = serde_json::from_value(json!({"metadata": {"name": name, "namespace": "shop"}})).unwrap();
    Object::ConfigMap(Arc::new(object))
}

fn scope(kind: Kind) -> Scope {
    Scope { kind, namespace: None }
}

fn list(kind: Kind, objects: Vec<Object>) -> Change {
    Change::Replace { scope: scope(kind), objects, broken: Vec::new() }
}

fn start(references: bool) -> Handles {
    let plan =
        Plan { lists: vec![scope(Kind::Rule), scope(Kind::EndpointSlice)], references, local_ports: false, kept: None };
    let (store, handles) = Store::new(plan, Fake);
    tokio::spawn(store.run());
    handles
}

impl Handles {
    fn send(&self, changes: Vec<Change>) {
        self.changes.send(changes).unwrap();
    }

    async fn config(&mut self, expected: &[&str]) {
        let wait = self.outputs.config.wait_for(|c| c.as_ref().is_some_and(|c| backends(c) == expected));
        assert!(timeout(DEADLINE, wait).await.is_ok(), "expected {expected:?}");
    }

    /// Waits until everything sent so far was taken.
    async fn taken(&mut self) {
        let id = Id::new(Kind::Service, "marker", format!("m{:?}", Instant::now()));
        let problem = crate::store::tests::problem(&id);
        self.send(vec![Change::Broken(id, problem.clone())]);
        let wait = self.outputs.state.wait_for(|state| state.unread.contains(&problem));
        assert!(timeout(DEADLINE, wait).await.is_ok());
    }
}

fn problem(id: &Id) -> penstock_model::Problem {
    penstock_model::Problem {
        object: id.object_ref(),
        condition: "Accepted",
        reason: "InvalidValue",
        message: "broken".to_owned(),
    }
}

#[tokio::test]
async fn nothing_is_published_before_every_list_is_in() {
    let mut handles = start(false);
    handles.send(vec![list(Kind::Rule, vec![rule("a", "one", &json!({}), 1)])]);
    // The store takes changes in order: had it published on the first, the first configuration would have no endpoints.
    handles.send(vec![list(Kind::EndpointSlice, vec![slice("one", "10.0.0.1")])]);
    timeout(DEADLINE, handles.outputs.config.changed()).await.unwrap().unwrap();
    let config = handles.outputs.config.borrow().clone().unwrap();
    assert_eq!(config.clusters.values().next().unwrap().endpoints.as_slice().len(), 1);
}

#[tokio::test]
async fn an_equal_configuration_is_not_sent_again() {
    let mut handles = start(false);
    handles.send(vec![list(Kind::EndpointSlice, vec![]), list(Kind::Rule, vec![rule("a", "one", &json!({}), 1)])]);
    handles.config(&["shop/one:80"]).await;
    handles.outputs.config.mark_unchanged();
    handles.send(vec![Change::Put(rule("a", "one", &json!({"note": "new"}), 2))]);
    handles.taken().await;
    assert!(!handles.outputs.config.has_changed().unwrap());
    assert_eq!(handles.outputs.state.borrow().generation, 1);
}

#[tokio::test]
async fn a_change_of_status_alone_is_ignored() {
    let mut objects = objects::Objects::default();
    let mut effect = Effect::default();
    objects.apply(Change::Put(rule("a", "one", &json!({}), 1)), &mut effect);
    assert!(effect.routes);
    let mut effect = Effect::default();
    objects.apply(Change::Put(rule("a", "one", &json!({}), 2)), &mut effect);
    assert_eq!(effect, Effect::default());
}

#[tokio::test]
async fn endpoints_go_out_without_a_configuration() {
    let mut handles = start(false);
    handles.send(vec![list(Kind::EndpointSlice, vec![]), list(Kind::Rule, vec![rule("a", "one", &json!({}), 1)])]);
    handles.config(&["shop/one:80"]).await;
    handles.outputs.config.mark_unchanged();
    handles.send(vec![Change::Put(slice("one", "10.0.0.7")), Change::Put(slice("other", "10.0.0.8"))]);
    let update = timeout(DEADLINE, handles.outputs.endpoints.recv()).await.unwrap().unwrap();
    assert_eq!(update.endpoints.as_slice()[0].address.to_string(), "10.0.0.7:80");
    handles.taken().await;
    assert!(handles.outputs.endpoints.try_recv().is_err(), "nobody asked for the other Service");
    assert!(!handles.outputs.config.has_changed().unwrap());
    let config = handles.outputs.config.borrow().clone().unwrap();
    assert_eq!(config.clusters.values().next().unwrap().endpoints, update.endpoints, "who looks later sees them, too");
}

#[tokio::test]
async fn the_first_configuration_waits_for_references() {
    let mut handles = start(true);
    let rules = vec![rule("a", "one", &json!({"config-map": "ca"}), 1), rule("b", "two", &json!({}), 1)];
    handles.send(vec![list(Kind::EndpointSlice, vec![]), list(Kind::Rule, rules)]);
    timeout(DEADLINE, handles.wants.changed()).await.unwrap().unwrap();
    let id = Id::new(Kind::ConfigMap, "shop", "ca");
    assert!(handles.wants.borrow().config_maps.contains(&id.key));
    assert!(handles.outputs.config.borrow().is_none());
    handles.send(vec![Change::Answer(id.clone(), Some(config_map("ca")))]);
    handles.config(&["shop/one:80", "shop/two:80"]).await;
    assert_eq!(handles.outputs.state.borrow().generation, 1, "nothing was published before the answer");
    handles.send(vec![Change::Answer(id, None)]);
    handles.config(&["shop/two:80"]).await;
}

#[tokio::test(start_paused = true)]
async fn later_a_reference_without_answer_holds_nothing_up_for_long() {
    let mut handles = start(true);
    handles.send(vec![list(Kind::EndpointSlice, vec![]), list(Kind::Rule, vec![rule("a", "one", &json!({}), 1)])]);
    handles.config(&["shop/one:80"]).await;
    handles.send(vec![
        Change::Put(rule("b", "two", &json!({"config-map": "gone"}), 1)),
        Change::Put(rule("c", "three", &json!({}), 1)),
    ]);
    handles.config(&["shop/one:80", "shop/three:80"]).await;
}

#[tokio::test]
async fn a_broken_object_is_a_problem_and_its_last_version_stays() {
    let mut handles = start(false);
    handles.send(vec![list(Kind::EndpointSlice, vec![]), list(Kind::Rule, vec![rule("a", "one", &json!({}), 1)])]);
    handles.config(&["shop/one:80"]).await;
    let id = Id::new(Kind::Rule, "shop", "a");
    handles.send(vec![Change::Broken(id.clone(), problem(&id)), Change::Put(rule("b", "two", &json!({}), 1))]);
    handles.config(&["shop/one:80", "shop/two:80"]).await;
    let unread = |handles: &Handles| handles.outputs.state.borrow().unread.clone();
    assert_eq!(unread(&handles), [problem(&id)]);
    handles.send(vec![Change::Put(rule("a", "three", &json!({}), 2))]);
    handles.config(&["shop/three:80", "shop/two:80"]).await;
    assert_eq!(unread(&handles), []);
    handles.send(vec![Change::Remove(id), Change::Absent(scope(Kind::Grant))]);
    handles.config(&["shop/two:80"]).await;
}

#[tokio::test]
async fn a_list_replaces_its_own_namespace_only() {
    let mut handles = start(false);
    handles.send(vec![list(Kind::EndpointSlice, vec![]), list(Kind::Rule, vec![rule("a", "one", &json!({}), 1)])]);
    handles.config(&["shop/one:80"]).await;
    let of = |namespace: &str| Scope { kind: Kind::Rule, namespace: Some(namespace.into()) };
    let replace = |scope| Change::Replace { scope, objects: Vec::new(), broken: Vec::new() };
    handles.send(vec![replace(of("elsewhere"))]);
    handles.taken().await;
    handles.config(&["shop/one:80"]).await;
    handles.send(vec![replace(of("shop"))]);
    handles.config(&[]).await;
}

#[test]
fn grants_that_cannot_be_read_in_one_namespace_take_none_from_another() {
    let of = |namespace: &str| Scope { kind: Kind::Grant, namespace: Some(namespace.into()) };
    let grant = |namespace: &str| {
        let grant: ReferenceGrant = serde_json::from_value(json!({
            "metadata": {"name": "g", "namespace": namespace},
            "spec": {"from": [{"group": "penstock.dev", "kind": "RoutingRule", "namespace": "shop"}], "to": [{"group": "", "kind": "Service"}]},
        }))
        .unwrap();
        Object::Grant(Arc::new(grant))
    };
    let list =
        |namespace: &str| Change::Replace { scope: of(namespace), objects: vec![grant(namespace)], broken: Vec::new() };
    let mut objects = objects::Objects::default();
    let mut apply = |change: Change| {
        let mut effect = Effect::default();
        objects.apply(change, &mut effect);
        let grants = objects.snapshot.grants.as_ref();
        (effect.routes, grants.map(|grants| grants.keys().map(|key| key.namespace.to_string()).collect::<Vec<_>>()))
    };
    let some = |names: &[&str]| Some(names.iter().map(ToString::to_string).collect::<Vec<_>>());
    assert_eq!(apply(list("chat")), (true, some(&["chat"])));
    assert_eq!(apply(Change::Absent(of("shop"))).1, some(&["chat"]));
    // Said again every minute, it changes nothing.
    assert_eq!(apply(Change::Absent(of("shop"))), (false, some(&["chat"])));
    assert_eq!(apply(list("shop")), (true, some(&["chat", "shop"])));
    assert_eq!(apply(Change::Absent(of("shop"))), (true, some(&["chat"])), "what it had has gone");
    assert_eq!(apply(Change::Absent(of("chat"))), (true, None), "nowhere can they be read");
    assert_eq!(apply(list("shop")), (true, some(&["shop"])));
}
