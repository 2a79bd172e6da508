//! An API server that is away for a while, and one that has forgotten what its watches showed.

use base64::prelude::{BASE64_STANDARD, Engine as _};
use penstock_testkit::ApiServer;
use serde_json::json;

use crate::setup::{GATEWAY, Place, backends, define, rule, service};

/// A server of one's own.
async fn server() -> &'static ApiServer {
    let server = tokio::task::spawn_blocking(|| {
        let server: &'static ApiServer = Box::leak(Box::new(ApiServer::start_new().unwrap()));
        define(server);
        server
    });
    server.await.unwrap()
}

async fn stop(server: &'static ApiServer) {
    tokio::task::spawn_blocking(|| server.stop().unwrap()).await.unwrap();
}

async fn start(server: &'static ApiServer) {
    tokio::task::spawn_blocking(|| server.start().unwrap()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_api_server_that_comes_back_is_followed_again() {
    let server = server().await;
    let place = Place::on(server, "away").await;
    place.apply(&format!("{GATEWAY}\n---\n{}\n---\n{}", service("one", "10.1.0.1"), rule("r", "one"))).await;
    let mut running = place.start(place.settings("a"));
    running.backends(&["one"]).await;
    stop(server).await;
    assert_eq!(running.outputs.config.borrow().as_deref().map(backends), Some(vec!["one".to_owned()]));
    start(server).await;
    place.apply(&format!("{}\n---\n{}", service("two", "10.1.0.2"), rule("r", "two"))).await;
    running.backends(&["two"]).await;

    // Meanwhile a rule goes, and etcd forgets how: watches go on from a version that nobody has any more (410 Expired).
    place.apply(&rule("other", "one")).await;
    running.backends(&["one", "two"]).await;
    stop(server).await;
    let key = BASE64_STANDARD.encode("/registry/penstock.dev/routingrules/away/other");
    let gone = server.etcd("kv/deleterange", &json!({"key": key})).await.unwrap();
    assert_eq!(gone["deleted"], "1", "{gone}");
    server.compact().await.unwrap();
    start(server).await;
    running.backends(&["two"]).await;
}
