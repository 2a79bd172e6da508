//! What the gateway takes out of a request's and an answer's headers, and what it adds.

mod support;

use penstock_testkit::{Backend, Request, Response};
use support::{Gateway, gateway, http_gateway, rule, rule_to, service};

const HOST: &str = "a.example";
const TRUSTED: &str = "clientAddress: {trustedProxies: [127.0.0.0/8]}\n";

async fn one() -> (Backend, Gateway) {
    let backend = Backend::start("one").await;
    let gateway = Gateway::to(&backend).await;
    (backend, gateway)
}

/// Behind a proxy that is trusted.
async fn trusting() -> (Backend, Gateway) {
    let backend = Backend::start("one").await;
    let objects = [http_gateway(TRUSTED), rule_to("all", "app"), service("app", &[&backend])];
    let gateway = Gateway::start(&objects).await;
    (backend, gateway)
}

/// The one value of a header as the backend received it.
fn one_of(answer: &Response, name: &str) -> String {
    let values = answer.echoed(name);
    assert_eq!(values.len(), 1, "{name}: {values:?}");
    values[0].clone()
}

#[tokio::test]
async fn the_backend_learns_where_a_request_came_from() {
    let (_backend, gateway) = one().await;
    let answer = gateway.get("A.example:8080", "/a/../b%7e?x=%20y").await;
    assert_eq!(one_of(&answer, "x-forwarded-for"), "127.0.0.1", "an address without port");
    assert_eq!(one_of(&answer, "x-forwarded-proto"), "http");
    assert_eq!(one_of(&answer, "x-forwarded-port"), gateway.port("http").to_string());
    assert_eq!(one_of(&answer, "x-forwarded-host"), "A.example:8080", "Host as received");
    assert_eq!(one_of(&answer, "x-original-host"), "A.example:8080");
    assert_eq!(one_of(&answer, "x-original-url"), "/a/../b%7e?x=%20y", "path and query as received");
    assert!(!one_of(&answer, "x-request-id").is_empty());
    assert_eq!(one_of(&answer, "host"), "A.example:8080", "the client's Host");
}

#[tokio::test]
async fn each_request_has_an_id_of_its_own() {
    let (_backend, gateway) = one().await;
    let mut connection = gateway.connect().await;
    let mut ids = std::collections::BTreeSet::new();
    for _ in 0..20 {
        ids.insert(one_of(&connection.exchange(&Request::get(HOST, "/x")).await.unwrap(), "x-request-id"));
    }
    assert_eq!(ids.len(), 20, "{ids:?}");
}

#[tokio::test]
async fn the_port_is_the_listeners_not_the_local_one() {
    let backend = Backend::start("one").await;
    let objects = [
        gateway("listeners: [{name: http, port: 80, protocol: HTTP}]"),
        rule_to("all", "app"),
        service("app", &[&backend]),
    ];
    let gateway = Gateway::start_with(&["--map-port", "80=$http"], &objects).await;
    assert_eq!(one_of(&gateway.get(HOST, "/x").await, "x-forwarded-port"), "80");
}

#[tokio::test]
async fn what_an_untrusted_client_says_of_itself_is_replaced() {
    let (_backend, gateway) = one().await;
    let names = [
        "X-Forwarded-For",
        "X-Forwarded-Proto",
        "X-Forwarded-Port",
        "X-Forwarded-Host",
        "X-Original-Host",
        "X-Original-URL",
        "X-Request-Id",
    ];
    let mut request = Request::get(HOST, "/x").with("Forwarded", "for=10.1.1.1").with("forwarded", "for=10.1.1.2");
    for name in names {
        request = request.with(name, "forged").with(&name.to_uppercase(), "forged");
        request = request.with(&name.replace('-', "_"), "forged").with(&name.replacen('-', "_", 1), "forged");
    }
    let answer = gateway.send(&request).await;
    for name in names {
        assert_ne!(one_of(&answer, name), "forged", "{name}");
        assert_eq!(answer.echoed(&name.replace('-', "_")), [""; 0], "{name} with underscores");
    }
    assert_eq!(answer.echoed("forwarded"), [""; 0]);
    assert!(!answer.text().contains("forged"), "{}", answer.text());
}

#[tokio::test]
async fn what_a_trusted_proxy_says_is_kept() {
    let (_backend, gateway) = trusting().await;
    let request = Request::get(HOST, "/x")
        .with("X-Forwarded-For", "10.1.1.1, 10.1.1.2")
        .with("X-Forwarded-For", "10.1.1.3")
        .with("X-Forwarded-Proto", "https")
        .with("X-Forwarded-Port", "443")
        .with("X-Forwarded-Host", "public.example")
        .with("X-Original-Host", "first.example")
        .with("X-Original-URL", "/first")
        .with("X-Request-Id", "id-1")
        .with("Forwarded", "for=10.1.1.1;proto=https");
    let answer = gateway.send(&request).await;
    let list = answer.echoed("x-forwarded-for").join(", ");
    assert_eq!(list, "10.1.1.1, 10.1.1.2, 10.1.1.3, 127.0.0.1", "the proxy itself is appended");
    assert_eq!(one_of(&answer, "x-forwarded-proto"), "https");
    assert_eq!(one_of(&answer, "x-forwarded-port"), "443");
    assert_eq!(one_of(&answer, "x-forwarded-host"), "public.example");
    assert_eq!(one_of(&answer, "x-original-host"), "first.example");
    assert_eq!(one_of(&answer, "x-original-url"), "/first");
    assert_eq!(one_of(&answer, "x-request-id"), "id-1");
    assert_eq!(one_of(&answer, "forwarded"), "for=10.1.1.1;proto=https");
    // What it does not say is said by us.
    let answer = gateway.get(HOST, "/x").await;
    assert_eq!(one_of(&answer, "x-forwarded-for"), "127.0.0.1");
    assert_eq!(one_of(&answer, "x-forwarded-proto"), "http");
    assert_eq!(one_of(&answer, "x-original-url"), "/x");
    assert!(!one_of(&answer, "x-request-id").is_empty());
}

#[tokio::test]
async fn the_flag_is_the_default_and_the_gateway_decides() {
    let backend = Backend::start("one").await;
    let objects = [http_gateway(""), rule_to("all", "app"), service("app", &[&backend])];
    let gateway = Gateway::start_with(&["--trusted-proxies", "127.0.0.0/8,10.0.0.0/8"], &objects).await;
    let request = Request::get(HOST, "/x").with("X-Request-Id", "id-1");
    assert_eq!(one_of(&gateway.send(&request).await, "x-request-id"), "id-1");
    let [_, all, app] = objects;
    gateway.replace(&[http_gateway("clientAddress: {trustedProxies: [10.0.0.0/8]}\n"), all, app]);
    let other = |answer: &Response| answer.status == 200 && answer.echoed("x-request-id") != ["id-1"];
    gateway.wait_answer("nobody here to be trusted", &request, other).await;
}

#[tokio::test]
async fn hop_by_hop_headers_end_at_the_gateway() {
    let (_backend, gateway) = one().await;
    // RFC 9110 7.6.1.
    let request = Request::get(HOST, "/x")
        .with("Connection", "keep-alive, X-Hop")
        .with("Connection", "x-other")
        .with("X-Hop", "1")
        .with("X-Other", "1")
        .with("Keep-Alive", "timeout=5")
        .with("Proxy-Connection", "keep-alive")
        .with("Proxy-Authorization", "Basic eA==")
        .with("TE", "trailers")
        .with("Upgrade", "h2c, other")
        .with("HTTP2-Settings", "AAMAAABkAARAAAAAAAIAAAAA")
        .with("Authorization", "Bearer x")
        .with("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
        .with("X-Stays", "1");
    let answer = gateway.send(&request).await;
    for gone in ["x-hop", "x-other", "keep-alive", "proxy-connection", "proxy-authorization", "te", "upgrade"] {
        assert_eq!(answer.echoed(gone), [""; 0], "{gone}");
    }
    assert!(!answer.echoed("connection").iter().any(|line| line.to_lowercase().contains("hop")));
    assert_eq!(one_of(&answer, "authorization"), "Bearer x");
    assert_eq!(one_of(&answer, "traceparent"), "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
    assert_eq!(one_of(&answer, "x-stays"), "1");

    let behaviour = "header=Connection:X-Hop,header=X-Hop:1,header=Proxy-Connection:keep-alive,keepalive=30,\
                     header=Upgrade:h2c,header=X-Stays:1";
    let answer = gateway.send(&Request::get(HOST, "/x").behaviour(behaviour)).await;
    for gone in ["x-hop", "connection", "keep-alive", "proxy-connection", "upgrade"] {
        assert_eq!(answer.header(gone), None, "{gone}");
    }
    assert_eq!((answer.status, answer.header("x-stays")), (200, Some("1")));
}

#[tokio::test]
async fn names_listed_in_connection_remove_neither_host_nor_length_nor_ours() {
    let (_backend, gateway) = one().await;
    let list = "Host, Content-Length, X-Forwarded-For, X-Forwarded-Proto, X-Request-Id, X-Original-URL";
    let request = Request::post(HOST, "/x", "hello").with("Connection", list);
    let answer = gateway.send(&request).await;
    assert_eq!(one_of(&answer, "host"), HOST);
    assert_eq!(answer.json()["body"], "hello");
    assert_eq!(one_of(&answer, "x-forwarded-for"), "127.0.0.1");
    assert_eq!(one_of(&answer, "x-forwarded-proto"), "http");
    assert_eq!(one_of(&answer, "x-original-url"), "/x");
    assert!(!one_of(&answer, "x-request-id").is_empty());
}

#[tokio::test]
async fn names_listed_in_connection_are_removed_before_ours_are_set() {
    let (_backend, gateway) = trusting().await;
    let request = Request::get(HOST, "/x")
        .with("Connection", "X-Forwarded-Proto, X-Forwarded-For, X-Request-Id")
        .with("X-Forwarded-For", "10.1.1.1")
        .with("X-Forwarded-Proto", "https")
        .with("X-Forwarded-Host", "public.example")
        .with("X-Request-Id", "id-1");
    let answer = gateway.send(&request).await;
    assert_eq!(one_of(&answer, "x-forwarded-proto"), "http", "ours, because theirs was for this hop only");
    assert_eq!(one_of(&answer, "x-forwarded-for"), "127.0.0.1");
    assert_ne!(one_of(&answer, "x-request-id"), "id-1");
    assert_eq!(one_of(&answer, "x-forwarded-host"), "public.example");
}

#[tokio::test]
async fn the_host_for_the_backend_is_a_setting() {
    let backend = Backend::start("one").await;
    let backend_of =
        |settings: &str| format!("{{services: [{{name: app, port: 80}}], inlineSettings: {{{settings}}}}}");
    let paths = format!(
        "paths:\n- {{paths: [/fixed], backend: {}}}\n- {{paths: [/picked], backend: {}}}\n- {{paths: [/own], backend: {}}}",
        backend_of("hostName: backend.internal"),
        backend_of("pickHostNameFromBackend: true"),
        backend_of("requestTimeout: 5s"),
    );
    let gateway = Gateway::start(&[http_gateway(""), rule("all", &paths), service("app", &[&backend])]).await;
    for (path, host) in [("/fixed", "backend.internal"), ("/picked", "app"), ("/own", HOST)] {
        let answer = gateway.get(HOST, path).await;
        assert_eq!(one_of(&answer, "host"), host, "{path}");
        assert_eq!(one_of(&answer, "x-forwarded-host"), HOST, "{path}");
        assert_eq!(one_of(&answer, "x-original-host"), HOST, "{path}");
    }
}

#[tokio::test]
async fn bytes_above_ascii_and_empty_values_pass() {
    let (_backend, gateway) = one().await;
    let request =
        Request::get(HOST, "/x").with("X-Latin", "gr\u{fc}n").with("X-Empty", "").with("Cookie", "a=1; b=\"2\"");
    let answer = gateway.send(&request.behaviour("header=X-Back:%fc")).await;
    assert_eq!(one_of(&answer, "x-latin"), "gr\u{fc}n");
    assert_eq!(one_of(&answer, "x-empty"), "");
    assert_eq!(one_of(&answer, "cookie"), "a=1; b=\"2\"");
}
