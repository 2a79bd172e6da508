//! A start without an API server, after one with it.

use std::time::Duration;

use penstock_testkit::{DEADLINE, free_port, until};

use crate::setup::{GATEWAY, Place, backends, rule, service};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_without_the_api_server_serves_what_was_read_last() {
    let place = Place::shared("restart").await;
    place.apply(&format!("{GATEWAY}\n---\n{}\n---\n{}", service("one", "10.1.0.1"), rule("r", "one"))).await;
    let folder = tempfile::tempdir().unwrap();
    let mut settings = place.settings("a");
    settings.snapshot_dir = Some(folder.path().to_owned());
    let mut running = place.start(settings.clone());
    let before = running.backends(&["one"]).await;
    until("something to be kept", DEADLINE, || async { std::fs::read_dir(folder.path()).unwrap().count() }, |n| *n > 0)
        .await;
    drop(running);
    // Nobody listens there.
    let nowhere = kube::Config::new(format!("http://127.0.0.1:{}", free_port()).parse().unwrap());
    let mut running = place.start_by(&kube::Client::try_from(nowhere).unwrap(), settings.clone());
    let after = running.backends(&["one"]).await;
    assert_eq!(before.listeners, after.listeners);
    assert_eq!(before.clusters, after.clusters);
    drop(running);
    // With one, what it says is served, and at once: there is no wait for what was kept.
    place.kubectl(&["delete", "routingrule", "r"]).await;
    let mut running = place.start(settings);
    let config = tokio::time::timeout(Duration::from_secs(10), running.config("the first one", |_| true)).await;
    assert!(backends(&config.unwrap()).is_empty(), "the rule is gone");
}
