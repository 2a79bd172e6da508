//! Events: what a user must act on, whole, and also when the API server does not take it at once.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http::{Method, Request, Response};
use kube::Client;
use kube::client::Body;
use penstock_model::{ObjectRef, Observed, ObservedIdle, RuleId, SettingsOrigin};
use penstock_testkit::{DEADLINE, eventually};

use crate::setup::{GATEWAY, Place, rule, service};

/// A client for whom the first creations of Events fail, and how many are still to.
fn failing(client: &Client, first: usize) -> (Client, Arc<AtomicUsize>) {
    let (client, left) = (client.clone(), Arc::new(AtomicUsize::new(first)));
    let namespace = client.default_namespace().to_owned();
    let to_fail = Arc::clone(&left);
    let service = tower::service_fn(move |request: Request<Body>| {
        let (client, to_fail) = (client.clone(), Arc::clone(&to_fail));
        async move {
            let event = *request.method() == Method::POST && request.uri().path().ends_with("/events");
            let one_less = |left: usize| left.checked_sub(1);
            if event && to_fail.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less).is_ok() {
                let status =
                    r#"{"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": "not now", "code": 500}"#;
                let answer = Response::builder().status(500).body(Body::from(status.as_bytes().to_vec()));
                return Ok::<_, kube::Error>(answer.unwrap());
            }
            client.send(request).await
        }
    });
    (Client::new(service, namespace), left)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_that_failed_is_written_later_and_whole() {
    let place = Place::shared("events").await;
    // A name as long as names may be, so that what to do stands far behind.
    let nowhere = "n".repeat(253);
    place.apply(&rule("lost", "one").replace("{name: shop}", &format!("{{name: {nowhere}}}"))).await;
    let (client, left) = failing(&place.client, 2);
    let _running = place.start_by(&client, place.settings("a"));
    let expected =
        format!("gatewayRef: ApplicationGateway events/{nowhere} does not exist: create it, or correct the reference");
    let events = place.api("events.k8s.io", "v1", "Event", "events");
    eventually("the Event", DEADLINE, || async {
        let all = events.list(&Default::default()).await.map_err(|e| e.to_string())?;
        let notes: Vec<_> = all.items.iter().map(|event| event.data["note"].clone()).collect();
        if notes == [expected.as_str()] { Ok(()) } else { Err(format!("{notes:?}")) }
    })
    .await;
    assert_eq!(left.load(Ordering::Relaxed), 0, "the first two were to fail");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_replicas_notice_is_said_once_and_by_followers_too() {
    let place = Place::shared("noticed").await;
    place.apply(&format!("{GATEWAY}\n---\n{}\n---\n{}", service("one", "10.1.0.1"), rule("chat", "one"))).await;
    let mut leader = place.start(place.settings("a"));
    leader.state("the leader", |state| state.leader).await;
    let follower = place.start(place.settings("b"));
    let object = ObjectRef { kind: "RoutingRule", namespace: "noticed".into(), name: "chat".into() };
    let origin = SettingsOrigin { object, field: "spec.backend.inlineSettings".into(), idle: "requestTimeout" };
    let idle = ObservedIdle { limit: Duration::from_secs(20), origin: Arc::new(origin) };
    let rules = BTreeMap::from([(RuleId::new("noticed", "chat"), idle)]);
    let observed = Arc::new(Observed { generation: 1, idle: rules.into(), ..Observed::default() });
    let events = place.api("events.k8s.io", "v1", "Event", "events");
    let said = || async {
        let all = events.list(&Default::default()).await.map_err(|e| e.to_string())?;
        let of_idle = all.items.into_iter().filter(|event| event.data["reason"] == "WebSocketsIdle");
        Ok::<_, String>(of_idle.map(|event| event.data).collect::<Vec<_>>())
    };
    follower.observed.send_replace(Arc::clone(&observed));
    let first = eventually("the Event of the follower", DEADLINE, || async {
        said().await?.into_iter().next().ok_or("none".to_owned())
    })
    .await;
    assert_eq!((&first["type"], &first["action"]), (&"Warning".into(), &"Warned".into()));
    assert_eq!((&first["regarding"]["name"], &first["reportingInstance"]), (&"chat".into(), &"b".into()));
    let note = first["note"].as_str().unwrap();
    assert!(note.contains("raise spec.backend.inlineSettings.webSocket.idleTimeout"), "{note}");

    // The leader notices the same, and something of the objects after it: when that is said, it has had its say.
    leader.observed.send_replace(observed);
    place.apply(&rule("bad", "nowhere")).await;
    eventually("the Event of the bad rule", DEADLINE, || async {
        let all = events.list(&Default::default()).await.map_err(|e| e.to_string())?;
        let bad = all.items.iter().any(|event| event.data["regarding"]["name"] == "bad");
        bad.then_some(()).ok_or(format!("{} others", all.items.len()))
    })
    .await;
    assert_eq!(said().await.map(|all| all.len()), Ok(1));
}
