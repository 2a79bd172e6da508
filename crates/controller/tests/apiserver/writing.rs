//! What is written: statuses and Events by the leader alone, and who leads.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use penstock_controller::ClusterSettings;
use penstock_model::{Observed, ObservedEndpoint};
use penstock_testkit::{DEADLINE, eventually};
use serde_json::json;
use tokio::time::timeout;

use crate::setup::{GATEWAY, Place, rule, service};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn statuses_say_what_became_of_objects() {
    let place = Place::shared("statuses").await;
    place
        .apply(&format!(
            "{GATEWAY}\n---\n{}\n---\n{}\n---\n{}",
            service("one", "10.1.0.1"),
            rule("good", "one"),
            rule("bad", "nowhere")
        ))
        .await;
    let mut running = place.start(place.settings("a"));
    place.condition(&place.gateways(), "shop", "/status/conditions", "Accepted", "True/Accepted").await;
    place.condition(&place.gateways(), "shop", "/status/conditions", "Programmed", "False/Pending").await;
    place.condition(&place.rules(), "good", "/status/parents/0/conditions", "Accepted", "True/Accepted").await;
    place
        .condition(&place.rules(), "bad", "/status/parents/0/conditions", "ResolvedRefs", "False/ServiceNotFound")
        .await;

    let config = running.backends(&["one"]).await;
    let endpoint = |address: &str, healthy, reason: &str| ObservedEndpoint {
        address: address.parse().unwrap(),
        healthy,
        health: if healthy { "Up" } else { "Down" },
        reason: reason.to_owned(),
    };
    // Longer than the schema takes, in characters of more than one byte.
    let long = format!("TlsFailed: {}", "ä".repeat(300));
    let endpoints = vec![
        endpoint("10.1.0.1:8080", true, ""),
        endpoint("10.1.0.2:8080", false, "StatusMismatch"),
        endpoint("10.1.0.3:8080", false, &long),
    ];
    running.observed.send_replace(Arc::new(Observed {
        generation: 1,
        ports: BTreeMap::from([(80, Ok(()))]),
        clusters: config
            .clusters
            .keys()
            .map(|id| (id.clone(), endpoints.clone().into()))
            .collect::<BTreeMap<_, _>>()
            .into(),
        ..Observed::default()
    }));
    place.condition(&place.gateways(), "shop", "/status/conditions", "Programmed", "True/Programmed").await;
    let gateway = place.gateways().get("shop").await.unwrap();
    let status = &gateway.data["status"];
    assert_eq!(status["summary"]["healthy"], "1/3", "{status:#}");
    let cut: String = long.chars().take(256).collect();
    assert_eq!(
        status["backends"][0]["unhealthy"],
        json!([{"address": "10.1.0.2:8080", "reason": "StatusMismatch"}, {"address": "10.1.0.3:8080", "reason": cut}])
    );

    // One Event for each problem of the bad rule.
    let state = running.state("the problems", |state| state.problems().any(|p| &*p.object.name == "bad")).await;
    let mut expected: Vec<_> = state.problems().map(|p| (p.object.name.to_string(), p.message.clone())).collect();
    expected.sort();
    let events = place.api("events.k8s.io", "v1", "Event", "events");
    eventually("the Events", DEADLINE, || async {
        let all = events.list(&Default::default()).await.map_err(|e| e.to_string())?;
        let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
        let said = all.items.iter().filter(|event| event.data["reportingController"] == "penstock.dev/controller");
        let mut said: Vec<_> = said.map(|e| (text(&e.data["regarding"]["name"]), text(&e.data["note"]))).collect();
        said.sort();
        if said == expected { Ok(()) } else { Err(format!("{said:?}")) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_status_that_says_the_same_is_not_written_again() {
    let place = Place::shared("same").await;
    place.apply(&format!("{GATEWAY}\n---\n{}\n---\n{}", service("one", "10.1.0.1"), rule("r", "one"))).await;
    let first = place.start(place.settings("a"));
    let path = "/status/parents/0/conditions";
    place.condition(&place.rules(), "r", path, "Accepted", "True/Accepted").await;
    place.condition(&place.rules(), "r", path, "ResolvedRefs", "True/ResolvedRefs").await;
    drop(first);
    let before = place.rules().get("r").await.unwrap();
    // A new leader finds everything as it should be, and says so by writing what does differ.
    place.kubectl(&["delete", "lease", "penstock"]).await;
    place.apply(&rule("other", "nowhere")).await;
    let _second = place.start(place.settings("b"));
    place.condition(&place.rules(), "other", path, "ResolvedRefs", "False/ServiceNotFound").await;
    let after = place.rules().get("r").await.unwrap();
    assert_eq!(before.metadata.resource_version, after.metadata.resource_version, "{before:#?} {after:#?}");
    // A transition time stays while the status does.
    let transition = |object: &kube::api::DynamicObject| {
        object.data["status"]["parents"][0]["conditions"][0]["lastTransitionTime"].clone()
    };
    place.patch_status(&place.rules(), "r", json!({"summary": {"gateway": "someone/else", "hosts": ""}})).await;
    place.apply(&rule("r", "one").replace("namespace: $NS}", "namespace: $NS, labels: {touched: now}}")).await;
    eventually("the summary put right", DEADLINE, || async {
        let object = place.rules().get("r").await.map_err(|e| e.to_string())?;
        if object.data["status"]["summary"]["gateway"] == "same/shop" {
            Ok(())
        } else {
            Err(object.data["status"].to_string())
        }
    })
    .await;
    assert_eq!(transition(&before), transition(&place.rules().get("r").await.unwrap()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_the_leader_writes_and_another_takes_over() {
    let place = Place::shared("leaders").await;
    place.apply(&format!("{GATEWAY}\n---\n{}", service("one", "10.1.0.1"))).await;
    let mut first = place.start(place.settings("first"));
    first.state("leading", |state| state.leader).await;
    let mut second = place.start(place.settings("second"));
    place.apply(&rule("r", "one")).await;
    second.backends(&["one"]).await;
    place.condition(&place.rules(), "r", "/status/parents/0/conditions", "Accepted", "True/Accepted").await;
    assert!(!second.outputs.state.borrow().leader);
    let holder = || place.kubectl(&["get", "lease", "penstock", "-o", "jsonpath={.spec.holderIdentity}"]);
    assert_eq!(holder().await, "first");
    // Given back, it is taken at the next try, long before it would run out.
    first.controller.release().await;
    assert!(!first.outputs.state.borrow().leader);
    second.state("leading", |state| state.leader).await;
    assert_eq!(holder().await, "second");
    place.apply(&rule("later", "one")).await;
    place.condition(&place.rules(), "later", "/status/parents/0/conditions", "Accepted", "True/Accepted").await;
    first.backends(&["one"]).await;
}

#[test]
fn a_replica_that_gave_the_lease_back_rests() {
    let runtime = || tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let (leaving, staying) = (runtime(), runtime());
    let mut first = leaving.block_on(async {
        let place = Place::shared("rest").await;
        let mut first = place.start(ClusterSettings { services: Place::own_services(), ..place.settings("first") });
        first.state("leading", |state| state.leader).await;
        first.controller.release().await;
        first
    });
    let busy = || {
        let metrics = leaving.metrics();
        (0..metrics.num_workers()).map(|worker| metrics.worker_total_busy_duration(worker)).sum::<Duration>()
    };
    let (before, began) = (busy(), Instant::now());
    // As long as the other one takes to lead, and to renew the Lease once.
    staying.block_on(async {
        let place = Place::shared("rest").await;
        let mut second = place.start(place.settings("second"));
        second.state("leading", |state| state.leader).await;
        let renewed = || place.kubectl(&["get", "lease", "penstock", "-o", "jsonpath={.spec.renewTime}"]);
        let taken = renewed().await;
        let again = || async { Some(renewed().await).filter(|renewed| *renewed != taken) };
        eventually("the Lease renewed", DEADLINE, again).await;
    });
    let (spent, passed) = (busy() - before, began.elapsed());
    assert!(spent < passed / 4, "busy for {spent:?} of {passed:?}, with nothing to do");
    leaving.block_on(first.backends(&[]));
}

#[test]
fn another_takes_over_from_a_leader_that_died() {
    let runtime = || tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    // A process of its own, as far as tasks go: what it would do at its end is not done.
    let (dying, living) = (runtime(), runtime());
    let mut first = dying.block_on(async {
        let place = Place::shared("heirs").await;
        let mut first = place.start(place.settings("first"));
        first.state("leading", |state| state.leader).await;
        first
    });
    let (place, mut second) = living.block_on(async {
        let place = Place::shared("heirs").await;
        place.apply(&format!("{GATEWAY}\n---\n{}", service("one", "10.1.0.1"))).await;
        let mut second = place.start(place.settings("second"));
        second.backends(&[]).await;
        (place, second)
    });
    dying.block_on(first.backends(&[]));
    dying.shutdown_background();
    let died = Instant::now();
    living.block_on(async {
        let lease = || {
            place.kubectl(&[
                "get",
                "lease",
                "penstock",
                "-o",
                "jsonpath={.spec.holderIdentity} {.spec.leaseTransitions}",
            ])
        };
        assert_eq!(lease().await, "first 0");
        let mut state = second.outputs.state.clone();
        timeout(2 * DEADLINE, state.wait_for(|state| state.leader)).await.expect("nobody took over").unwrap();
        let waited = died.elapsed();
        // It was renewed every two seconds, and holds for fifteen.
        assert!(
            waited > Duration::from_secs(10),
            "the Lease was taken after {waited:?}, while it was still the first one's"
        );
        assert_eq!(lease().await, "second 1");
        place.apply(&rule("r", "one")).await;
        place.condition(&place.rules(), "r", "/status/parents/0/conditions", "Accepted", "True/Accepted").await;
        second.backends(&["one"]).await;
    });
    drop(first);
}
