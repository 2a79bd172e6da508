//! WebSockets of a rule that are closed again and again because nothing moves in them: its owner is told, once.

mod support;

use penstock_testkit::{Backend, DEADLINE, WebSocket, until};
use support::{Gateway, http_gateway, rule, service};

const HOST: &str = "a.example";
const REASON: &str = "WebSocketsIdle";

/// Opens so many, and waits until they are all closed.
async fn idle(gateway: &Gateway, count: usize, closed: f64) {
    let mut sockets = Vec::new();
    for _ in 0..count {
        sockets.push(WebSocket::open(gateway.addr(), HOST, "/ws").await.expect("the WebSocket opens"));
    }
    let labels = [("rule", "edge/all"), ("reason", "idle")];
    gateway.wait_metric("penstock_websocket_closed_total", &labels, closed).await;
}

fn objects(app: &Backend, timeout: &str) -> [String; 3] {
    let settings = format!("backendSettings: [{{name: chat, {timeout}}}]");
    [
        http_gateway(&settings),
        rule("all", "backend: {services: [{name: app, port: 80}], settings: chat}"),
        service("app", &[app]),
    ]
}

#[tokio::test]
async fn many_idle_closes_are_a_problem_until_the_timeout_is_another() {
    let app = Backend::start("one").await;
    let gateway = Gateway::start(&objects(&app, "requestTimeout: 1s")).await;
    let told = || async {
        let log = gateway.process.stderr();
        log.iter().filter(|line| line.contains(REASON) && line.contains("closed because nothing moves")).count()
    };
    idle(&gateway, 4, 4.0).await;
    let status = gateway.status().await;
    assert_eq!(status["problems"].as_array().map(Vec::len), Some(0), "four may be chance: {status:#}");
    idle(&gateway, 4, 8.0).await;
    gateway.wait_for_problem(REASON, "raise spec.backendSettings[chat].webSocket.idleTimeout").await;
    gateway
        .wait_for_problem(
            REASON,
            "1s, which is spec.backendSettings[chat].requestTimeout of ApplicationGateway edge/shop",
        )
        .await;
    // More of them are no news.
    idle(&gateway, 2, 10.0).await;
    until("one line in the log", DEADLINE, told, |lines| *lines == 1).await;

    // Those that are open when the timeout is raised still end by the old one, which is no news either.
    let mut before = Vec::new();
    for _ in 0..6 {
        before.push(WebSocket::open(gateway.addr(), HOST, "/ws").await.unwrap());
    }
    gateway.replace(&objects(&app, "webSocket: {idleTimeout: 1h}"));
    gateway.wait_for_status("no problems", |status| status["problems"].as_array().is_some_and(Vec::is_empty)).await;
    gateway.process.wait_for_stderr("solved", DEADLINE).await;
    gateway.wait_metric("penstock_websocket_closed_total", &[("rule", "edge/all"), ("reason", "idle")], 16.0).await;
    let status = gateway.status().await;
    assert_eq!(status["problems"].as_array().map(Vec::len), Some(0), "{status:#}");
    assert_eq!(told().await, 1);
}

#[tokio::test]
async fn a_rule_whose_websockets_mostly_end_otherwise_has_no_problem() {
    let app = Backend::start("one").await;
    let gateway = Gateway::start(&objects(&app, "requestTimeout: 1s")).await;
    for _ in 0..6 {
        drop(WebSocket::open(gateway.addr(), HOST, "/ws").await.unwrap());
    }
    gateway.wait_metric("penstock_websocket_closed_total", &[("rule", "edge/all"), ("reason", "client")], 6.0).await;
    idle(&gateway, 5, 5.0).await;
    // The sixth idle one would be the half, the seventh is the most.
    assert_eq!(gateway.status().await["problems"].as_array().map(Vec::len), Some(0));
    idle(&gateway, 2, 7.0).await;
    gateway.wait_for_problem(REASON, "webSocket.idleTimeout").await;
}
