//! Backends over TLS that pick HTTP/2 in the handshake: who shares which connection, and what happens when they pick
//! something else, or go away.

#[path = "support/h2c.rs"]
mod h2c;
mod support;

use futures_util::future::join_all;
use h2c::H2c;
use penstock_testkit::{Backend, Ca, DEADLINE, Http2, Request, Response, WebSocket, until};
use support::{Gateway, http_gateway, rule, service_at};

const HOST: &str = "a.example";
const BOTH: [&str; 2] = ["h2", "http/1.1"];

/// A gateway whose settings trust `ca`, with more of their fields.
fn objects(ca: &Ca, backend: &H2c, more: &str, tls: &str) -> Vec<String> {
    let settings = http_gateway(&format!(
        "backendSettings: [{{name: tls, protocol: HTTPS, {more} tls: {{caCertificateRefs: [{{name: ca}}], {tls}}}}}]"
    ));
    let all = rule("all", "backend: {services: [{name: app, port: 80}], settings: tls}");
    vec![settings, all, service_at("app", &[backend.addr()]), ca.config_map_yaml("edge", "ca")]
}

const APP: &str = "sniName: app.internal";

async fn gateway(ca: &Ca, backend: &H2c) -> Gateway {
    Gateway::start(&objects(ca, backend, "requestTimeout: 30s,", APP)).await
}

async fn open(gateway: &Gateway) -> Http2 {
    Http2::open(gateway.addr()).await.expect("a connection to the gateway")
}

fn call(path: &str) -> Request {
    Request::new("POST", HOST, path).with("content-type", "application/grpc").with("te", "trailers")
}

fn grpc_status(answer: &Response) -> Option<&str> {
    answer.trailers.iter().find(|(name, _)| name == "grpc-status").map(|(_, value)| value.as_str())
}

#[tokio::test]
async fn calls_pass_and_share_a_connection_from_the_first_on() {
    let ca = Ca::new("internal");
    let backend = H2c::start_h2(&ca.server(&["app.internal"])).await;
    let gateway = gateway(&ca, &backend).await;
    let client = open(&gateway).await;
    // All at once, while there is no connection yet.
    let one = async |_| {
        let answer = client.exchange(&call("/pkg.Service/Unary?a=1").body(vec![b'x'; 10_000])).await.unwrap();
        assert_eq!((answer.body.len(), grpc_status(&answer)), (10_000, Some("0")));
        assert_eq!(answer.header("echo-uri"), Some("https://a.example/pkg.Service/Unary?a=1"));
        assert_eq!(answer.header("echo-te"), Some("trailers"));
    };
    join_all((0..50).map(one)).await;
    // A client of HTTP/1.1 gets there, too.
    assert_eq!(gateway.send(&Request::post(HOST, "/x", "hello")).await.text(), "hello");
    gateway.wait_metric("penstock_backend_connections", &[], 1.0).await;
    // The other one is the probe's.
    assert!(backend.handshakes() <= 2, "{} connections", backend.handshakes());
}

#[tokio::test]
async fn requests_do_not_wait_for_each_other_when_the_backend_picks_http1() {
    let ca = Ca::new("internal");
    let plain = Backend::start("plain").await;
    let identity = ca.server(&["app.internal"]);
    let backend = H2c::start_tls(&identity.server_config(), &["http/1.1"], Some(&plain)).await;
    let gateway = gateway(&ca, &backend).await;
    let client = open(&gateway).await;
    // None of them is answered, so each needs a connection of its own.
    let held =
        join_all((0..20).map(async |_| client.exchange(&call("/held?do=never")).await.map(|answer| answer.status)));
    let all_there = until("all at the backend", DEADLINE, || async { plain.count("/held") }, |count| *count == 20);
    tokio::select! {
        answers = held => panic!("answers of a backend that gives none: {answers:?}"),
        _ = all_there => {}
    }
    let connection = async || gateway.get(HOST, "/x").await.json()["connection"].clone();
    assert_eq!(connection().await, connection().await, "connections are used again");
}

#[tokio::test]
async fn websockets_are_opened_in_http1() {
    let ca = Ca::new("internal");
    let plain = Backend::start("plain").await;
    let backend = H2c::start_tls(&ca.server(&["app.internal"]).server_config(), &BOTH, Some(&plain)).await;
    let gateway = gateway(&ca, &backend).await;
    assert_eq!(gateway.get(HOST, "/x").await.header("x-backend"), None, "over HTTP/2");
    let mut socket = WebSocket::open(gateway.addr(), HOST, "/ws").await.unwrap();
    assert_eq!(socket.echo("hello").await.unwrap(), "hello");
    assert_eq!(gateway.get(HOST, "/x").await.header("x-backend"), None, "still over HTTP/2");
    assert_eq!(plain.count("/x"), 0);
}

#[tokio::test]
async fn a_backend_may_change_its_mind() {
    let ca = Ca::new("internal");
    let plain = Backend::start("plain").await;
    let config = ca.server(&["app.internal"]).server_config();
    let backend = H2c::start_tls(&config, &BOTH, Some(&plain)).await;
    let gateway = gateway(&ca, &backend).await;
    let over_http1 = async || gateway.get(HOST, "/x").await.header("x-backend") == Some("plain");
    assert!(!over_http1().await);
    for (protocols, http1) in [(&["http/1.1"][..], true), (&BOTH, false), (&[], true), (&BOTH, false)] {
        backend.configure(&config, protocols);
        backend.cut();
        plain.cut_connections();
        until("the other protocol", DEADLINE, &over_http1, |seen| *seen == http1).await;
    }
    // It was an error to nobody.
    assert_eq!(gateway.metrics().await.sum("penstock_requests_total", &[("code", "502")]), 0.0);
}

#[tokio::test]
async fn who_goes_away_keeps_its_streams_and_gets_no_new_ones() {
    let ca = Ca::new("internal");
    let backend = H2c::start_h2(&ca.server(&["app.internal"])).await;
    let gateway = gateway(&ca, &backend).await;
    let client = open(&gateway).await;
    let mut stream = client.begin(&call("/pkg.Service/Chat"), false).await.unwrap();
    assert_eq!(stream.head().await.unwrap().status, 200);
    backend.go_away();
    // With bodies: what met the old connection must not be lost.
    for _ in 0..50 {
        let answer = client.exchange(&call("/x").body("hello")).await.unwrap();
        assert_eq!((answer.text().as_str(), grpc_status(&answer)), ("hello", Some("0")));
    }
    gateway.wait_metric("penstock_backend_connections", &[], 2.0).await;
    stream.data(b"still here", false).await.unwrap();
    assert_eq!(stream.piece().await.unwrap().unwrap(), "still here");
    stream.data(b"", true).await.unwrap();
    assert_eq!(stream.piece().await.unwrap(), None);
    gateway.wait_metric("penstock_backend_connections", &[], 1.0).await;
}

#[tokio::test]
async fn a_connection_is_for_one_name_and_for_settings_that_are_in_force() {
    let ca = Ca::new("internal");
    let backend = H2c::start_h2(&ca.server(&["a.example", "b.example"])).await;
    let gateway = Gateway::start(&objects(&ca, &backend, "", "")).await;
    let connections = |count: f64| gateway.wait_metric("penstock_backend_connections", &[], count);
    assert_eq!(gateway.get("a.example", "/x").await.status, 200);
    assert_eq!(gateway.get("b.example", "/x").await.status, 200);
    connections(2.0).await;
    assert_eq!(gateway.get("a.example", "/x").await.status, 200);
    assert_eq!(gateway.get("c.example", "/x").await.status, 502);
    connections(2.0).await;
    gateway.replace(&objects(&ca, &backend, "", "sniName: c.example"));
    gateway.wait_status("a.example", "/x", 502).await;
    gateway.replace(&objects(&ca, &backend, "", "http2: false, sniName: a.example"));
    // The backend has no HTTP/1.1.
    gateway.wait_status("a.example", "/x", 502).await;
    gateway.replace(&objects(&ca, &backend, "", "sniName: b.example"));
    gateway.wait_status("a.example", "/x", 200).await;
}

#[tokio::test]
async fn without_http2_the_backend_is_not_offered_it() {
    let ca = Ca::new("internal");
    let plain = Backend::start("plain").await;
    let backend = H2c::start_tls(&ca.server(&["app.internal"]).server_config(), &BOTH, Some(&plain)).await;
    let gateway = Gateway::start(&objects(&ca, &backend, "", &format!("{APP}, http2: false"))).await;
    assert_eq!(gateway.who(HOST, "/x").await, "plain");
    assert_eq!(backend.handshakes(), 0);
}

#[tokio::test]
async fn a_failed_handshake_fails_whoever_waited_for_it_once() {
    let (ca, other) = (Ca::new("internal"), Ca::new("other"));
    let backend = H2c::start_h2(&other.server(&["app.internal"])).await;
    let gateway = Gateway::start(&objects(&ca, &backend, "retry: {attempts: 0},", APP)).await;
    let client = open(&gateway).await;
    let statuses = join_all((0..30).map(async |_| client.exchange(&Request::get(HOST, "/x")).await.unwrap().status));
    assert!(statuses.await.iter().all(|status| *status == 502));
    gateway.wait_metric("penstock_backend_errors_total", &[("reason", "tls")], 30.0).await;
}

#[tokio::test]
async fn probes_speak_what_the_backend_picks() {
    let ca = Ca::new("internal");
    let backend = H2c::start_h2(&ca.server(&["app.internal"])).await;
    let mut objects = objects(&ca, &backend, "probe: ready,", APP);
    objects[0] += "  probes: [{name: ready, path: /healthz, interval: 100ms, unhealthyThreshold: 1}]\n";
    let gateway = Gateway::start(&objects).await;
    let up = |status: &serde_json::Value| status["backends"][0]["health"] == "Up";
    gateway.wait_for_status("up", up).await;
    backend.configure(&ca.server(&["b.internal"]).server_config(), &["h2"]);
    let status = gateway.wait_for_status("down", |status| status["backends"][0]["health"] == "Down").await;
    let reason = status["backends"][0]["reason"].as_str().unwrap_or_default();
    assert!(reason.starts_with("CertificateNameMismatch: "), "{reason}");
}
