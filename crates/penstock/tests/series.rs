//! Series of metrics leave some time after what they belong to, and not before what they count is over.

mod support;

use std::time::{Duration, Instant};

use penstock_testkit::{Backend, DEADLINE, WebSocket, until};
use support::{Gateway, HTTP, http_gateway, rule, rule_to, service};

const HOST: &str = "a.example";
const RETENTION: Duration = Duration::from_secs(1);

async fn start(objects: &[String]) -> Gateway {
    Gateway::start_with(&["--metrics-retention", "1s"], objects).await
}

/// How many series have this label.
async fn with_label(gateway: &Gateway, name: &str, value: &str) -> usize {
    let metrics = gateway.metrics().await;
    let names = [
        "requests_total",
        "request_bytes_total",
        "request_duration_seconds_count",
        "refused_total",
        "websocket_open",
        "websocket_opened_total",
        "websocket_closed_total",
        "websocket_bytes_total",
        "websocket_duration_seconds_count",
        "connections_open",
        "connections_total",
        "backend_duration_seconds_count",
        "backend_errors_total",
        "backend_ejections_total",
        "backend_pending",
        "probe_duration_seconds_count",
        "probes_total",
        "backend_up",
    ];
    let full = names.map(|name| format!("penstock_{name}"));
    full.iter().map(|full| metrics.matching(full, &[(name, value)]).count()).sum()
}

async fn wait_gone(gateway: &Gateway, name: &str, value: &str) {
    let what = format!("no series with {name}={value}");
    until(&what, DEADLINE, || with_label(gateway, name, value), |count| *count == 0).await;
}

fn two_rules(second: bool) -> Vec<String> {
    let to = |host: &str| format!("hostNames: [{host}]\nbackend: {{services: [{{name: app, port: 80}}]}}");
    let mut rules = vec![rule("stays", &to(HOST))];
    if second {
        rules.push(rule("goes", &to("b.example")));
    }
    rules
}

#[tokio::test]
async fn series_leave_after_their_rule_and_those_of_others_stay() {
    let backend = Backend::start("one").await;
    let rest = [http_gateway(""), service("app", &[&backend])];
    let gateway = start(&[&rest[..], &two_rules(true)].concat()).await;
    for host in [HOST, "b.example"] {
        assert_eq!(gateway.get(host, "/x").await.status, 200);
        let mut socket = WebSocket::open(gateway.addr(), host, "/ws").await.unwrap();
        socket.close(1000, "bye").await.unwrap();
    }
    gateway.wait_metric("penstock_websocket_closed_total", &[], 2.0).await;
    let stays = with_label(&gateway, "rule", "edge/stays").await;
    assert!(stays > 5);
    assert_eq!(with_label(&gateway, "rule", "edge/goes").await, stays);
    assert!(with_label(&gateway, "pool", "edge/goes").await > 0);
    let since = Instant::now();
    gateway.replace(&[&rest[..], &two_rules(false)].concat());
    gateway.wait_status("b.example", "/x", 404).await;
    assert_eq!(with_label(&gateway, "rule", "edge/goes").await, stays, "for a while they can still be read");
    wait_gone(&gateway, "rule", "edge/goes").await;
    assert!(since.elapsed() >= RETENTION, "{:?}", since.elapsed());
    wait_gone(&gateway, "pool", "edge/goes").await;
    assert_eq!(with_label(&gateway, "rule", "edge/stays").await, stays);
    assert_eq!(gateway.get(HOST, "/x").await.status, 200);
    gateway.wait_metric("penstock_requests_total", &[("rule", "edge/stays"), ("code", "200")], 2.0).await;
    // It begins anew when it comes back.
    gateway.replace(&[&rest[..], &two_rules(true)].concat());
    gateway.wait_status("b.example", "/x", 200).await;
    gateway.wait_metric("penstock_requests_total", &[("rule", "edge/goes"), ("code", "200")], 1.0).await;
    assert_eq!(gateway.get("b.example", "/x").await.status, 200);
    gateway.wait_metric("penstock_requests_total", &[("rule", "edge/goes"), ("code", "200")], 2.0).await;
}

#[tokio::test]
async fn series_of_an_open_websocket_stay_until_it_is_closed() {
    let backend = Backend::start("one").await;
    let rest = [http_gateway(""), service("app", &[&backend])];
    let gateway = start(&[&rest[..], &two_rules(true)].concat()).await;
    let mut socket = WebSocket::open(gateway.addr(), "b.example", "/ws").await.unwrap();
    gateway.replace(&[&rest[..], &two_rules(false)].concat());
    gateway.wait_status("b.example", "/x", 404).await;
    tokio::time::sleep(RETENTION * 2).await;
    let labels = [("rule", "edge/goes")];
    assert!((gateway.metrics().await.sum("penstock_websocket_open", &labels) - 1.0).abs() < 1e-9);
    socket.close(1000, "bye").await.unwrap();
    wait_gone(&gateway, "rule", "edge/goes").await;
    assert!(gateway.metrics().await.sum("penstock_websocket_open", &[]) >= 0.0, "never below zero");
}

#[tokio::test]
async fn series_leave_after_their_listener() {
    let backend = Backend::start("one").await;
    let two = format!(
        "{}- {{name: other, port: $other, protocol: HTTP}}\n",
        "listeners:\n- {name: http, port: $http, protocol: HTTP}\n"
    );
    let rest = [rule_to("all", "app"), service("app", &[&backend])];
    let gateway = start(&[&[support::gateway(&two)], &rest[..]].concat()).await;
    for port in ["http", "other"] {
        let answer = penstock_testkit::client::get(gateway.addr_of(port), HOST, "/x").await.unwrap();
        assert_eq!(answer.status, 200);
    }
    assert!(with_label(&gateway, "listener", "other").await > 3);
    gateway.replace(&[&[support::gateway(HTTP)], &rest[..]].concat());
    wait_gone(&gateway, "listener", "other").await;
    assert!(with_label(&gateway, "listener", "http").await > 3);
}

#[tokio::test]
async fn durations_of_a_listener_that_comes_back_show_again() {
    let backend = Backend::start("one").await;
    let two = "listeners: [{name: http, port: $http, protocol: HTTP}, {name: other, port: $other, protocol: HTTP}]";
    let objects = |gateway: String| [gateway, rule_to("all", "app"), service("app", &[&backend])];
    let gateway = start(&objects(support::gateway(two))).await;
    let count = "penstock_request_duration_seconds_count";
    let labels = [("listener", "other")];
    let get = || penstock_testkit::client::get(gateway.addr_of("other"), HOST, "/x");
    assert_eq!(get().await.unwrap().status, 200);
    gateway.wait_metric(count, &labels, 1.0).await;
    gateway.replace(&objects(support::gateway(HTTP)));
    wait_gone(&gateway, "listener", "other").await;
    gateway.replace(&objects(support::gateway(two)));
    until("the listener", DEADLINE, get, |answer| answer.as_ref().is_ok_and(|answer| answer.status == 200))
        .await
        .unwrap();
    gateway.wait_metric(count, &labels, 1.0).await;
}

/// How many series of this family are of this endpoint.
async fn of_endpoint(gateway: &Gateway, name: &str, endpoint: &Backend) -> usize {
    gateway.metrics().await.matching(name, &[("endpoint", &endpoint.addr().to_string())]).count()
}

#[tokio::test]
async fn connections_of_every_rule_leave_with_their_endpoint() {
    let (one, two) = (Backend::start("one").await, Backend::start("two").await);
    let objects = |now: &Backend| {
        let mut objects = two_rules(true);
        objects.extend([http_gateway(""), service("app", &[now])]);
        objects
    };
    let gateway = start(&objects(&one)).await;
    let name = "penstock_backend_connections";
    // The second rule's request makes a connection to the Service that both have.
    assert_eq!(gateway.get(HOST, "/x").await.status, 200);
    gateway.wait_metric(name, &[], 1.0).await;
    assert_eq!(of_endpoint(&gateway, name, &one).await, 1);
    gateway.replace(&objects(&two));
    until("the other endpoint", DEADLINE, || gateway.who(HOST, "/x"), |seen| seen == "two").await;
    let gone = || of_endpoint(&gateway, name, &one);
    until("no series of the one that left", DEADLINE, gone, |count| *count == 0).await;
    assert_eq!(of_endpoint(&gateway, name, &two).await, 1);
}

#[tokio::test]
async fn backends_that_are_called_the_same_keep_each_others_series() {
    let one = Backend::start("one").await;
    let path = |path: &str, seconds: u32| {
        let settings = format!("inlineSettings: {{requestTimeout: {seconds}s}}");
        format!("- {{paths: [{path}], backend: {{services: [{{name: app, port: 80}}], {settings}}}}}\n")
    };
    let objects = |paths: &[String]| {
        [http_gateway(""), rule("all", &format!("paths:\n{}", paths.concat())), service("app", &[&one])]
    };
    let gateway = start(&objects(&[path("/a", 5), path("/b", 6)])).await;
    let backends = |count: usize| {
        move |status: &serde_json::Value| status["backends"].as_array().is_some_and(|all| all.len() == count)
    };
    gateway.wait_for_status("two backends", backends(2)).await;
    for path in ["/a", "/b"] {
        assert_eq!(gateway.get(HOST, path).await.status, 200);
    }
    gateway.wait_metric("penstock_backend_connections", &[("pool", "edge/all")], 2.0).await;
    gateway.replace(&objects(&[path("/a", 5)]));
    gateway.wait_for_status("one backend", backends(1)).await;
    for name in ["penstock_backend_up", "penstock_backend_connections"] {
        assert_eq!(of_endpoint(&gateway, name, &one).await, 1, "{name}");
    }
}
