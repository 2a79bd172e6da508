//! Backends that speak HTTP/2 without TLS: gRPC with its trailers and streams, connections that requests share, and what a
//! gRPC client gets of the gateway itself.

#[path = "support/h2c.rs"]
mod h2c;
mod support;

use futures_util::future::join_all;
use h2::client::Builder;
use h2c::H2c;
use penstock_testkit::{DEADLINE, Http2, Request, Response, until};
use support::{Gateway, http_gateway, rule, rule_to, service_at};

const HOST: &str = "a.example";

/// Settings under which the Service `app` is spoken to in HTTP/2.
async fn gateway(backend: &H2c) -> Gateway {
    let settings = http_gateway("backendSettings: [{name: grpc, protocol: H2C, requestTimeout: 1s}]");
    let all = rule("all", "backend: {services: [{name: app, port: 80}], settings: grpc}");
    Gateway::start(&[settings, all, service_at("app", &[backend.addr()])]).await
}

/// A client that lets an echo come back before it has sent all.
async fn open(gateway: &Gateway) -> Http2 {
    let mut settings = Builder::new();
    settings.initial_window_size(1 << 20).initial_connection_window_size(1 << 26);
    Http2::open_with(gateway.addr(), &settings).await.expect("a connection to the gateway")
}

fn call(path: &str) -> Request {
    Request::new("POST", HOST, path).with("content-type", "application/grpc").with("te", "trailers")
}

fn trailer<'a>(answer: &'a Response, name: &str) -> Option<&'a str> {
    answer.trailers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
}

#[tokio::test]
async fn unary_calls_pass_with_their_trailers() {
    let backend = H2c::start().await;
    let gateway = gateway(&backend).await;
    let client = open(&gateway).await;
    let message = vec![b'x'; 300_000];
    let request = call("/pkg.Service/Unary?a=1").with("x-a", "1").body(message.clone()).chunked(&[("x-sum", "9")]);
    let answer = client.exchange(&request).await.unwrap();
    assert_eq!(answer.status, 200);
    assert!(answer.body == message, "{} bytes", answer.body.len());
    assert_eq!((trailer(&answer, "grpc-status"), trailer(&answer, "x-sum")), (Some("0"), Some("9")));
    assert_eq!(answer.header("echo-uri"), Some("http://a.example/pkg.Service/Unary?a=1"));
    assert_eq!((answer.header("echo-te"), answer.header("echo-x-a")), (Some("trailers"), Some("1")));
    assert_eq!(answer.header("echo-x-forwarded-proto"), Some("http"));
    // A client of HTTP/1.1 reaches it, too.
    let answer = gateway.send(&Request::post(HOST, "/x", "hello")).await;
    assert_eq!(
        (answer.status, answer.text().as_str(), answer.header("echo-content-length")),
        (200, "hello", Some("5"))
    );
}

#[tokio::test]
async fn messages_stream_both_ways() {
    let backend = H2c::start().await;
    let gateway = gateway(&backend).await;
    let client = open(&gateway).await;
    let mut stream = client.begin(&call("/pkg.Service/Chat"), false).await.unwrap();
    assert_eq!(stream.head().await.unwrap().status, 200);
    for message in ["one", "two", "three"] {
        stream.data(message.as_bytes(), false).await.unwrap();
        assert_eq!(stream.piece().await.unwrap().unwrap(), message);
    }
    stream.data(b"", true).await.unwrap();
    assert_eq!(stream.piece().await.unwrap(), None);
}

#[tokio::test]
async fn requests_share_a_connection() {
    let backend = H2c::start().await;
    let gateway = gateway(&backend).await;
    let client = open(&gateway).await;
    assert_eq!(client.exchange(&call("/x")).await.unwrap().status, 200);
    let one = async |_| {
        let answer = client.exchange(&call("/x").body(vec![b'x'; 100_000])).await.unwrap();
        assert_eq!((answer.body.len(), trailer(&answer, "grpc-status")), (100_000, Some("0")));
    };
    join_all((0..50).map(one)).await;
    // A probe has its own.
    assert!(backend.connections() <= 2, "{} connections", backend.connections());
    gateway.wait_metric("penstock_backend_connections", &[], 1.0).await;
}

#[tokio::test]
async fn an_app_protocol_says_it_as_well() {
    let backend = H2c::start().await;
    let service = service_at("app", &[backend.addr()])
        .replace("ports: [{port: 80}]", "ports: [{port: 80, appProtocol: kubernetes.io/h2c}]");
    let gateway = Gateway::start(&[http_gateway(""), rule_to("all", "app"), service]).await;
    let client = open(&gateway).await;
    let answer = client.exchange(&call("/x").body("hello")).await.unwrap();
    assert_eq!((answer.text().as_str(), trailer(&answer, "grpc-status")), ("hello", Some("0")));
}

#[tokio::test]
async fn the_gateway_refuses_calls_in_their_own_words() {
    let backend = H2c::start().await;
    let gateway = gateway(&backend).await;
    let client = open(&gateway).await;
    let refused = async |path: &'static str| {
        let answer = client.exchange(&call(path).body("hello")).await.unwrap();
        assert_eq!((answer.status, answer.body.len()), (200, 0), "{path}");
        assert_eq!(answer.header("content-type"), Some("application/grpc"));
        assert!(answer.header("grpc-message").is_some_and(|message| !message.is_empty()));
        answer.header("grpc-status").unwrap().to_owned()
    };
    assert_eq!(refused("/reset").await, "14");
    assert_eq!(refused("/never").await, "4");
    assert_eq!(refused("/a/%2e%2e%5c").await, "13");
    gateway.wait_metric("penstock_backend_errors_total", &[("reason", "timeout")], 1.0).await;
    // Others get HTTP.
    let answer = client.exchange(&Request::post(HOST, "/reset", "hello")).await.unwrap();
    assert_eq!((answer.status, answer.header("grpc-status")), (502, None));
    gateway.replace(&[http_gateway("")]);
    let look = || async { client.exchange(&call("/x")).await.ok()?.header("grpc-status").map(str::to_owned) };
    until("no rule", DEADLINE, look, |seen| seen.as_deref() == Some("12")).await;
}

/// Waits for this health of the only backend, and returns the reason.
async fn becomes(gateway: &Gateway, health: &str) -> String {
    let status = gateway.wait_for_status(health, |status| status["backends"][0]["health"] == health).await;
    status["backends"][0]["reason"].as_str().unwrap_or_default().to_owned()
}

/// The same gateway with a probe of these fields.
fn probed(backend: &H2c, protocol: &str, probe: &str) -> Vec<String> {
    let spec = format!(
        "backendSettings: [{{name: grpc, protocol: {protocol}, probe: ready}}]\n\
         probes: [{{name: ready, interval: 100ms, timeout: 300ms, unhealthyThreshold: 1, {probe}}}]"
    );
    let all = rule("all", "backend: {services: [{name: app, port: 80}], settings: grpc}");
    vec![http_gateway(&spec), all, service_at("app", &[backend.addr()])]
}

#[tokio::test]
async fn probes_speak_http2() {
    let backend = H2c::start().await;
    let gateway = Gateway::start(&probed(&backend, "H2C", "path: /ready")).await;
    assert_eq!(becomes(&gateway, "Up").await, "");
    for (protocol, probe, reason) in [
        ("H2C", "path: /reset", "BadAnswer: "),
        ("HTTP", "path: /ready, protocol: HTTP", "BadAnswer: "),
        ("H2C", "path: /never", "Timeout: "),
        ("H2C", "path: /ready, match: {statusCodes: [\"201\"]}", "StatusMismatch: the answer was 200"),
    ] {
        gateway.replace(&probed(&backend, protocol, probe));
        let said = becomes(&gateway, "Down").await;
        assert!(said.starts_with(reason), "{probe}: {said}");
        gateway.replace(&probed(&backend, "HTTP", "path: /ready, protocol: H2C"));
        becomes(&gateway, "Up").await;
    }
}

#[tokio::test]
async fn without_a_probe_of_its_own_any_answer_below_500_is_good() {
    let backend = H2c::start().await;
    let gateway = gateway(&backend).await;
    assert_eq!(becomes(&gateway, "Up").await, "");
}

#[tokio::test]
async fn a_server_that_resets_what_is_no_call_lives() {
    let backend = H2c::start().await;
    backend.take_only_calls();
    let gateway = gateway(&backend).await;
    assert_eq!(becomes(&gateway, "Up").await, "");
    // What is asked for by name has to be answered.
    gateway.replace(&probed(&backend, "H2C", "path: /ready"));
    assert!(becomes(&gateway, "Down").await.starts_with("BadAnswer: "));
}

#[tokio::test]
async fn probes_call_the_health_service() {
    let backend = H2c::start().await;
    let gateway = Gateway::start(&probed(&backend, "H2C", "grpc: {service: chat}")).await;
    assert_eq!(becomes(&gateway, "Up").await, "");
    backend.set_serving(false);
    assert_eq!(becomes(&gateway, "Down").await, "GrpcStatus: the health service says NOT_SERVING");
    backend.set_serving(true);
    becomes(&gateway, "Up").await;
    gateway.replace(&probed(&backend, "H2C", "grpc: {service: mail}"));
    assert_eq!(becomes(&gateway, "Down").await, "GrpcStatus: the call ended with grpc-status 5");
    gateway.replace(&probed(&backend, "H2C", "grpc: {}"));
    becomes(&gateway, "Up").await;
}

#[tokio::test]
async fn a_readiness_probe_of_grpc_is_asked_as_the_kubelet_asks_it() {
    let backend = H2c::start().await;
    backend.set_serving(false);
    let port = backend.addr().port();
    let ports =
        format!("selector: {{app: web}}, ports: [{{port: 80, targetPort: {port}, appProtocol: kubernetes.io/h2c}}]");
    let app = service_at("app", &[backend.addr()]).replace("ports: [{port: 80}]", &ports);
    let pod = format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: web-1, namespace: edge, labels: {{app: web}}}}\nspec:\n  containers:\n  \
         - name: web\n    ports: [{{containerPort: {port}}}]\n    readinessProbe:\n      periodSeconds: 1\n      \
         failureThreshold: 1\n      grpc: {{port: {port}, service: chat}}\n\
         status: {{conditions: [{{type: Ready, status: \"True\"}}]}}\n"
    );
    let gateway = Gateway::start(&[http_gateway(""), rule_to("all", "app"), app, pod]).await;
    assert_eq!(becomes(&gateway, "Down").await, "GrpcStatus: the health service says NOT_SERVING");
    backend.set_serving(true);
    becomes(&gateway, "Up").await;
}
