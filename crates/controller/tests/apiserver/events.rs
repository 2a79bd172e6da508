//! Events: what a user must act on, whole, and also when the API server does not take it at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use http::{Method, Request, Response};
use kube::Client;
use kube::client::Body;
use penstock_testkit::{DEADLINE, eventually};

use crate::setup::{Place, rule};

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
