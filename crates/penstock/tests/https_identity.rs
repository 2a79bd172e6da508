//! Who backends over TLS take us for, and whom we take them for: our own certificate, and other names than the server name.

#[path = "support/h2c.rs"]
mod h2c;
mod support;

use std::net::{Ipv4Addr, SocketAddr};

use h2c::H2c;
use penstock_testkit::{Backend, Ca, DEADLINE, Identity, Request, WebSocket, until};
use support::{Gateway, http_gateway, rule, service_at};

const HOST: &str = "a.example";
const OURS: &str = "sniName: app.internal, clientCertificateRef: {name: ours}";

/// A gateway whose settings trust `ca` and have these fields of `tls`, with a certificate of its own as Secret `ours`.
fn objects(ca: &Ca, backend: SocketAddr, tls: &str, ours: Option<&Identity>) -> Vec<String> {
    let settings = http_gateway(&format!(
        "backendSettings: [{{name: tls, protocol: HTTPS, probe: ready, tls: {{caCertificateRefs: [{{name: ca}}], {tls}}}}}]\n\
         probes: [{{name: ready, path: /healthz, host: app.internal, interval: 100ms, unhealthyThreshold: 20}}]"
    ));
    let all = rule("all", "backend: {services: [{name: app, port: 80}], settings: tls}");
    let mut objects = vec![settings, all, service_at("app", &[backend]), ca.config_map_yaml("edge", "ca")];
    objects.extend(ours.map(|ours| ours.secret_yaml("edge", "ours")));
    objects
}

/// A backend of HTTP/1.1 that takes clients of this CA only.
async fn strict(server: &Identity, clients: &Ca) -> Backend {
    let config = server.server_config_asking(clients);
    Backend::bind("app", SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), Some(config)).await
}

#[tokio::test]
async fn backends_that_ask_are_shown_our_certificate() {
    let (ca, clients, others) = (Ca::new("internal"), Ca::new("clients"), Ca::new("others"));
    let server = ca.server(&["app.internal"]);
    let ours = clients.client("gateway");
    let backend = strict(&server, &clients).await;
    let gateway = Gateway::start(&objects(&ca, backend.addr(), OURS, Some(&ours))).await;
    assert_eq!(gateway.who(HOST, "/x").await, "app");
    let mut socket = WebSocket::open(gateway.addr(), HOST, "/ws").await.unwrap();
    assert_eq!(socket.echo("hello").await.unwrap(), "hello");
    gateway.wait_for_status("up", |status| status["backends"][0]["health"] == "Up").await;
    let metrics = gateway.metrics().await;
    let labels = [("listener", ""), ("secret", "edge/ours")];
    assert!(metrics.sum("penstock_certificate_expiry_timestamp_seconds", &labels) > 1.7e9);
    // Somebody else, and nobody.
    for (tls, shown) in [(OURS, others.client("gateway")), ("sniName: app.internal", ours.clone())] {
        gateway.replace(&objects(&ca, backend.addr(), tls, Some(&shown)));
        gateway.wait_status(HOST, "/x", 502).await;
        let answer = gateway.get(HOST, "/x").await;
        assert_eq!((answer.status, answer.text().trim()), (502, "502 Bad Gateway: no TLS with the backend"));
        gateway.replace(&objects(&ca, backend.addr(), OURS, Some(&ours)));
        gateway.wait_status(HOST, "/x", 200).await;
    }
    assert_eq!(socket.echo("still here").await.unwrap(), "still here");
}

#[tokio::test]
async fn another_certificate_is_for_new_connections_and_only_they_are_used() {
    let (ca, clients) = (Ca::new("internal"), Ca::new("clients"));
    let backend = strict(&ca.server(&["app.internal"]), &clients).await;
    let gateway = Gateway::start(&objects(&ca, backend.addr(), OURS, Some(&clients.client("one")))).await;
    let connection = async || gateway.get(HOST, "/x").await.json()["connection"].clone();
    let before = connection().await;
    assert_eq!(connection().await, before, "it is kept");
    let mut slow = gateway.connect().await;
    slow.send(&Request::get(HOST, "/slow").behaviour("delay=1500,body=slow")).await.unwrap();
    until("the request at the backend", DEADLINE, || async { backend.count("/slow") }, |count| *count == 1).await;
    // The other one is made because the first is busy.
    let old = [before, connection().await];
    gateway.replace(&objects(&ca, backend.addr(), OURS, Some(&clients.client("two"))));
    let after = until("another connection", DEADLINE, &connection, |now| !old.contains(now)).await;
    assert_eq!(slow.response("GET").await.unwrap().text(), "slow");
    for _ in 0..5 {
        assert_eq!(connection().await, after, "none of before, though both are idle again");
    }
}

#[tokio::test]
async fn without_the_certificate_nothing_is_sent() {
    let ca = Ca::new("internal");
    let backend = Backend::start_tls("app", &ca.server(&["app.internal"])).await;
    let gateway = Gateway::start(&objects(&ca, backend.addr(), OURS, None)).await;
    assert_eq!(gateway.get(HOST, "/x").await.status, 502);
    gateway
        .wait_for_problem("InvalidCertificateRef", "tls.clientCertificateRef: Secret edge/ours does not exist")
        .await;
    assert_eq!(backend.count("/x"), 0);
    gateway.replace(&objects(&ca, backend.addr(), OURS, Some(&ca.client("gateway"))));
    gateway.wait_status(HOST, "/x", 200).await;
}

#[tokio::test]
async fn streams_are_opened_as_who_we_are_now() {
    let (ca, clients) = (Ca::new("internal"), Ca::new("clients"));
    let config = ca.server(&["app.internal"]).server_config_asking(&clients);
    let backend = H2c::start_tls(&config, &["h2"], None).await;
    let gateway = Gateway::start(&objects(&ca, backend.addr(), OURS, Some(&clients.client("one")))).await;
    assert_eq!(gateway.get(HOST, "/x").await.status, 200);
    gateway.replace(&objects(&ca, backend.addr(), OURS, Some(&Ca::new("others").client("two"))));
    gateway.wait_status(HOST, "/x", 502).await;
    gateway.replace(&objects(&ca, backend.addr(), OURS, Some(&clients.client("three"))));
    gateway.wait_status(HOST, "/x", 200).await;
}

#[tokio::test]
async fn backends_are_known_by_one_of_the_names_that_settings_list() {
    let ca = Ca::new("internal");
    let identity = ca.server_with_uris(&["b.internal", "*.wild.internal"], &["spiffe://mesh/ns/app/sa/web"]);
    let backend = Backend::start_tls("app", &identity).await;
    let listing = |names: &str| format!("sniName: app.internal, subjectAltNames: [{names}]");
    let hostname = |name: &str| format!("{{type: Hostname, hostname: {name}}}");
    let uri = |uri: &str| format!("{{type: URI, uri: \"{uri}\"}}");
    let gateway = Gateway::start(&objects(&ca, backend.addr(), "sniName: app.internal", None)).await;
    assert_eq!(gateway.get(HOST, "/x").await.status, 502);
    for (good, bad) in [
        (hostname("b.internal"), hostname("app.internal")),
        (hostname("a.wild.internal"), hostname("a.b.wild.internal")),
        (uri("spiffe://mesh/ns/app/sa/web"), uri("spiffe://mesh/ns/app/sa/we")),
        (format!("{}, {}", hostname("c.internal"), hostname("B.internal")), hostname("c.internal")),
    ] {
        gateway.replace(&objects(&ca, backend.addr(), &listing(&good), None));
        gateway.wait_status(HOST, "/x", 200).await;
        gateway.replace(&objects(&ca, backend.addr(), &listing(&bad), None));
        gateway.wait_status(HOST, "/x", 502).await;
    }
    // The name says nothing of who signed it.
    let stranger = Backend::start_tls("stranger", &Ca::new("other").server(&["b.internal"])).await;
    gateway.replace(&objects(&ca, stranger.addr(), &listing(&hostname("b.internal")), None));
    gateway.wait_status(HOST, "/y", 502).await;
    assert_eq!(stranger.count("/y"), 0);
}
