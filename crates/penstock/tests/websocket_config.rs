//! Changes of the configuration while WebSockets are open: they ask new requests only, at once.

mod support;
#[path = "support/ws.rs"]
mod ws;

use std::net::SocketAddr;
use std::time::Duration;

use penstock_testkit::{Backend, Ca, Connection, DEADLINE, Request, TlsClient, WebSocket, until};
use support::{Gateway, HTTP, gateway, http_gateway, rule, rule_to, service};
use ws::{gateway_with, none_closed, open, rule_under_settings, stays_open};

/// Drains are over that soon: what a change would cut by mistake is cut within the test.
const SHORT_DRAIN: &str = "connectionDraining: {timeout: 200ms}";
/// Longer than that drain, by much.
const LONG_ENOUGH: Duration = Duration::from_millis(800);

/// Waits until a new request is answered by this backend, or with this status.
async fn follows(gateway: &Gateway, who: &str) {
    until("new requests to follow", DEADLINE, || gateway.who("a.example", "/"), |seen| seen == who).await;
}

/// Opens a WebSocket at a listener that is about to come.
async fn open_at(addr: SocketAddr) -> WebSocket {
    let open = || WebSocket::open(addr, "a.example", "/ws");
    until("the new listener", DEADLINE, open, Result::is_ok).await.expect("just seen")
}

/// Finds the WebSocket open, and still with its backend.
async fn is_alive(gateway: &Gateway, socket: &mut WebSocket, backend: &str) {
    stays_open(socket, LONG_ENOUGH).await;
    assert_eq!(socket.echo("!name").await.expect("an echo"), backend);
    none_closed(gateway, 1).await;
}

#[tokio::test]
async fn its_own_rule_goes_to_another_backend() {
    let (one, two) = (Backend::start("one").await, Backend::start("two").await);
    let objects = [gateway_with(SHORT_DRAIN), rule_under_settings(), service("app", &[&one]), service("new", &[&two])];
    let gateway = Gateway::start(&objects).await;
    let mut socket = open(&gateway).await;
    let [edge, _, app, new] = objects;
    let changed = rule("all", "backend: {services: [{name: new, port: 80}], settings: sockets}");
    gateway.replace(&[edge, changed, app, new]);
    follows(&gateway, "two").await;
    is_alive(&gateway, &mut socket, "one").await;
}

#[tokio::test]
async fn its_own_rule_is_removed() {
    let one = Backend::start("one").await;
    let objects = [gateway_with(SHORT_DRAIN), service("app", &[&one])];
    let gateway = Gateway::start(&objects).await;
    gateway.write("rule.yaml", &rule_under_settings());
    follows(&gateway, "one").await;
    let mut socket = open(&gateway).await;
    gateway.remove("rule.yaml");
    follows(&gateway, "404").await;
    is_alive(&gateway, &mut socket, "one").await;
}

#[tokio::test]
async fn its_endpoint_departs_after_its_rule_was_removed() {
    let one = Backend::start("one").await;
    let gateway = Gateway::start(&[gateway_with(SHORT_DRAIN)]).await;
    gateway.write("rule.yaml", &rule_under_settings());
    gateway.write("app.yaml", &service("app", &[&one]));
    follows(&gateway, "one").await;
    let mut socket = open(&gateway).await;
    gateway.remove("rule.yaml");
    follows(&gateway, "404").await;
    gateway.write("rule.yaml", &rule_under_settings());
    follows(&gateway, "one").await;
    is_alive(&gateway, &mut socket, "one").await;
    gateway.write("app.yaml", &service("app", &[]));
    follows(&gateway, "502").await;
    assert_eq!(socket.ended(DEADLINE).await.unwrap(), 1001);
    ws::closed(&gateway, "drain", 1).await;
}

#[tokio::test]
async fn its_endpoint_departs_while_no_rule_names_it() {
    let one = Backend::start("one").await;
    let gateway = Gateway::start(&[gateway_with(SHORT_DRAIN)]).await;
    gateway.write("rule.yaml", &rule_under_settings());
    gateway.write("app.yaml", &service("app", &[&one]));
    follows(&gateway, "one").await;
    let mut socket = open(&gateway).await;
    gateway.remove("rule.yaml");
    follows(&gateway, "404").await;
    is_alive(&gateway, &mut socket, "one").await;
    gateway.write("app.yaml", &service("app", &[]));
    assert_eq!(socket.ended(DEADLINE).await.unwrap(), 1001);
    ws::closed(&gateway, "drain", 1).await;
}

#[tokio::test]
async fn its_service_goes_before_its_endpoint() {
    let one = Backend::start("one").await;
    let gateway = Gateway::start(&[gateway_with(SHORT_DRAIN), rule_under_settings()]).await;
    let both = service("app", &[&one]);
    let (first, slices) = both.split_once("---\n").expect("a Service and its EndpointSlice");
    assert!(slices.contains("EndpointSlice") && first.contains("kind: Service"));
    gateway.write("service.yaml", first);
    gateway.write("slices.yaml", slices);
    follows(&gateway, "one").await;
    let mut socket = open(&gateway).await;
    gateway.remove("service.yaml");
    follows(&gateway, "502").await;
    is_alive(&gateway, &mut socket, "one").await;
    gateway.remove("slices.yaml");
    assert_eq!(socket.ended(DEADLINE).await.unwrap(), 1001);
    ws::closed(&gateway, "drain", 1).await;
}

#[tokio::test]
async fn its_settings_change() {
    let one = Backend::start("one").await;
    let (rule, app) = (rule_under_settings(), service("app", &[&one]));
    let settings = |fields: &str| gateway_with(&format!("{SHORT_DRAIN}, {fields}"));
    let gateway = Gateway::start(&[settings("requestTimeout: 20s"), rule.clone(), app.clone()]).await;
    let mut socket = open(&gateway).await;
    gateway.replace(&[settings("requestTimeout: 300ms, webSocket: {idleTimeout: 20s, maxDuration: 300ms}"), rule, app]);
    let slow = Request::get("a.example", "/slow").behaviour("delay=1000");
    gateway.wait_answer("the new timeout", &slow, |answer| answer.status == 504).await;
    is_alive(&gateway, &mut socket, "one").await;
    let mut new = open(&gateway).await;
    assert_eq!(new.ended(DEADLINE).await.unwrap(), 1001, "a new one has the new maximum");
}

#[tokio::test]
async fn its_rule_gets_other_settings() {
    let one = Backend::start("one").await;
    let settings = http_gateway(
        "backendSettings:\n- {name: sockets, connectionDraining: {timeout: 200ms}}\n- {name: quick, requestTimeout: 300ms}",
    );
    let app = service("app", &[&one]);
    let gateway = Gateway::start(&[settings.clone(), rule_under_settings(), app.clone()]).await;
    let mut socket = open(&gateway).await;
    let other = rule("all", "backend: {services: [{name: app, port: 80}], settings: quick}");
    gateway.replace(&[settings, other, app]);
    let slow = Request::get("a.example", "/slow").behaviour("delay=1000");
    gateway.wait_answer("the new timeout", &slow, |answer| answer.status == 504).await;
    is_alive(&gateway, &mut socket, "one").await;
}

#[tokio::test]
async fn the_entry_of_its_pool_is_removed_but_not_its_endpoint() {
    let (one, two) = (Backend::start("one").await, Backend::start("two").await);
    let pool = |services: &str| {
        http_gateway(&format!(
            "backendSettings: [{{name: sockets, {SHORT_DRAIN}}}]\nbackendPools: [{{name: shared, services: [{services}]}}]"
        ))
    };
    let rest =
        [rule("all", "backend: {pool: shared, settings: sockets}"), service("app", &[&one]), service("new", &[&two])];
    let with = |gateway: String| [[gateway].as_slice(), &rest].concat();
    let gateway = Gateway::start(&with(pool("{name: app, port: 80}"))).await;
    let mut socket = open(&gateway).await;
    gateway.replace(&with(pool("{name: new, port: 80}")));
    follows(&gateway, "two").await;
    is_alive(&gateway, &mut socket, "one").await;
}

#[tokio::test]
async fn another_listener_of_its_gateway_comes_and_goes() {
    let one = Backend::start("one").await;
    let rest = [rule_to("all", "app"), service("app", &[&one])];
    let with = |gateway: String| [[gateway].as_slice(), &rest].concat();
    let gateway = Gateway::start(&with(http_gateway(""))).await;
    let mut socket = open(&gateway).await;
    gateway.replace(&with(support::gateway(
        "listeners:\n- {name: http, port: $http, protocol: HTTP}\n- {name: other, port: $other, protocol: HTTP}",
    )));
    let other = gateway.addr_of("other");
    let mut second = open_at(other).await;
    assert_eq!(second.echo("hello").await.unwrap(), "hello");
    second.close(1000, "").await.unwrap();
    gateway.replace(&with(http_gateway("")));
    let connect = || async { Connection::open(other).await.map(drop) };
    until("the listener to go", DEADLINE, connect, Result::is_err).await.expect_err("just seen");
    stays_open(&mut socket, LONG_ENOUGH).await;
    assert_eq!(socket.echo("!name").await.unwrap(), "one");
}

#[tokio::test]
async fn its_listener_moves_to_another_port() {
    let one = Backend::start("one").await;
    let rest = [rule_to("all", "app"), service("app", &[&one])];
    let with = |gateway: String| [[gateway].as_slice(), &rest].concat();
    let gateway = Gateway::start_with(&["--drain-timeout", "200ms"], &with(http_gateway(""))).await;
    let mut socket = open(&gateway).await;
    gateway.replace(&with(support::gateway("listeners: [{name: http, port: $moved, protocol: HTTP}]")));
    let mut second = open_at(gateway.addr_of("moved")).await;
    assert_eq!(second.echo("hello").await.unwrap(), "hello");
    let connect = || async { Connection::open(gateway.addr()).await.map(drop) };
    until("the old port to close", DEADLINE, connect, Result::is_err).await.expect_err("just seen");
    stays_open(&mut socket, LONG_ENOUGH).await;
    assert_eq!(socket.echo("!name").await.unwrap(), "one");
    none_closed(&gateway, 2).await;
}

#[tokio::test]
async fn its_certificate_is_replaced() {
    let one = Backend::start("one").await;
    let (old, new) = (Ca::new("old ca"), Ca::new("new ca"));
    let listener = "listeners: [{name: https, port: $https, protocol: HTTPS, tls: {certificateRefs: [{name: cert}]}}]";
    let objects = [gateway(listener), rule_to("all", "app"), service("app", &[&one])];
    let gateway = Gateway::starting(&[], &objects);
    gateway.write("cert.yaml", &old.server(&["a.example"]).secret_yaml("edge", "cert"));
    let addr = gateway.addr_of("https");
    let open = async |ca: &Ca| WebSocket::open_tls(addr, &TlsClient::new(ca), "a.example", "/ws").await;
    let mut socket = until("the listener", DEADLINE, || open(&old), Result::is_ok).await.expect("just seen");
    assert_eq!(socket.echo("hello").await.unwrap(), "hello");
    gateway.write("cert.yaml", &new.server(&["a.example"]).secret_yaml("edge", "cert"));
    let mut second = until("the new certificate", DEADLINE, || open(&new), Result::is_ok).await.expect("just seen");
    assert_eq!(second.echo("hello").await.unwrap(), "hello");
    second.close(1000, "").await.unwrap();
    stays_open(&mut socket, LONG_ENOUGH).await;
    assert_eq!(socket.echo("!name").await.unwrap(), "one");
}

#[tokio::test]
async fn its_rule_is_not_allowed_any_more() {
    let one = Backend::start("one").await;
    let elsewhere = |object: String| object.replace("namespace: edge", "namespace: chat");
    let spec = "gatewayRef: {name: shop, namespace: edge}\n  backend: {services: [{name: app, port: 80}]}";
    let all = rule_to("all", "app");
    let (head, _) = all.split_once("gatewayRef").expect("a rule has a gateway");
    let rest = [elsewhere(head.to_owned()) + spec, elsewhere(service("app", &[&one]))];
    let from = |namespaces: &str| {
        let gateway = http_gateway(&format!("allowedRules: {{namespaces: {{from: {namespaces}}}}}"));
        [[gateway].as_slice(), &rest].concat()
    };
    let gateway = Gateway::start(&from("All")).await;
    let mut socket = open(&gateway).await;
    gateway.replace(&from("Same"));
    follows(&gateway, "404").await;
    is_alive(&gateway, &mut socket, "one").await;
}

/// Opens a WebSocket over TLS 1.2, gives the TLS of its listener these fields, and waits until a new one of the same client
/// is refused; the first is still there.
async fn its_tls_changes(after: &str, refused: &str) {
    let one = Backend::start("one").await;
    let (ca, partners) = (Ca::new("test"), Ca::new("partners"));
    let objects = |tls: &str| {
        let tls = format!("tls: {{certificateRefs: [{{name: cert}}]{tls}}}");
        [
            gateway(&format!("listeners: [{{name: https, port: $https, protocol: HTTPS, {tls}}}]")),
            rule_to("all", "app"),
            service("app", &[&one]),
            ca.server(&["a.example"]).secret_yaml("edge", "cert"),
            partners.config_map_yaml("edge", "partners"),
        ]
    };
    let gateway = Gateway::start(&objects("")).await;
    let (addr, tls) = (gateway.addr_of("https"), TlsClient::tls12(&ca));
    let open = || async { WebSocket::open_tls(addr, &tls, "a.example", "/ws").await };
    let mut socket = open().await.expect("an open WebSocket");
    gateway.replace(&objects(after));
    // A handshake just before the change and its request just after it are answered with 421.
    let now = |answer: &anyhow::Result<_>| answer.as_ref().is_err_and(|error| format!("{error:#}").contains(refused));
    drop(until("new ones to be refused", DEADLINE, open, now).await);
    stays_open(&mut socket, LONG_ENOUGH).await;
    assert_eq!(socket.echo("!name").await.expect("an echo"), "one");
}

#[tokio::test]
async fn its_listener_asks_for_client_certificates() {
    its_tls_changes(", clientAuth: {mode: Strict, caCertificateRefs: [{name: partners}]}", "400").await;
}

#[tokio::test]
async fn its_listener_gets_another_tls_policy() {
    its_tls_changes(", policy: {minProtocolVersion: TLSv1_3}", "alert").await;
}

#[tokio::test]
async fn fifty_changes_of_others_pass_by() {
    let (one, two) = (Backend::start("one").await, Backend::start("two").await);
    let objects =
        [gateway_with(SHORT_DRAIN), rule_under_settings(), service("app", &[&one]), service("other", &[&two])];
    let gateway = Gateway::start(&objects).await;
    let mut socket = open(&gateway).await;
    for n in 0..50 {
        let host = format!("h{n}.example");
        let spec = format!("hostNames: [{host}]\nbackend: {{services: [{{name: other, port: 80}}]}}");
        gateway.write("other.yaml", &rule("other", &spec));
        until("the other rule", DEADLINE, || gateway.who(&host, "/"), |seen| seen == "two").await;
        assert_eq!(socket.echo("!name").await.unwrap(), "one", "after change {n}");
    }
    gateway.remove("other.yaml");
    until("the other rule to go", DEADLINE, || gateway.who("h49.example", "/"), |seen| seen == "one").await;
    is_alive(&gateway, &mut socket, "one").await;
}

#[tokio::test]
async fn a_request_under_way_is_not_touched_either() {
    let one = Backend::start("one").await;
    let objects = [HTTP, "backendSettings: [{name: sockets, connectionDraining: {timeout: 200ms}}]"].concat();
    let gateway = Gateway::start(&[support::gateway(&objects), service("app", &[&one])]).await;
    gateway.write("rule.yaml", &rule_under_settings());
    follows(&gateway, "one").await;
    let mut client = gateway.connect().await;
    client.send(&Request::get("a.example", "/events").behaviour("sse")).await.unwrap();
    assert_eq!(client.head("GET").await.unwrap().status, 200);
    until("the stream", DEADLINE, || async { one.event_streams() }, |count| *count == 1).await;
    gateway.remove("rule.yaml");
    follows(&gateway, "404").await;
    tokio::time::timeout(LONG_ENOUGH, client.piece()).await.expect_err("the stream neither ends nor speaks");
    one.send_event("still here");
    let piece = client.piece().await.unwrap().expect("an event");
    assert_eq!(String::from_utf8(piece).unwrap(), "data: still here\n\n");
    one.end_events();
    assert_eq!(client.piece().await.unwrap(), None, "the stream ends in order");
}
