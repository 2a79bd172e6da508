//! Traces: W3C Trace Context in and out, and spans at a collector that reads OTLP by itself.

#[path = "support/collector.rs"]
mod collector;
mod support;

use std::net::{Ipv4Addr, SocketAddr};

use collector::Collector;
use penstock_testkit::client::{Handshake, Http2};
use penstock_testkit::{Backend, DEADLINE, Request, WebSocket, free_port, until};
use support::{Gateway, http_gateway, rule, rule_to, service, service_at};

const HOST: &str = "a.example";
const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const PARENT: &str = "b7ad6b7169203331";

/// `traceparent` of a client whose trace is sampled, or not.
fn traceparent(sampled: bool) -> String {
    format!("00-{TRACE}-{PARENT}-0{}", u8::from(sampled))
}

/// A gateway that sends traces, and samples this share.
async fn tracing(collector: &Collector, share: &str, objects: &[String]) -> Gateway {
    Gateway::start_with(&["--otlp-endpoint", &collector.url(), "--trace-sample", share], objects).await
}

fn everything(backend: &Backend) -> Vec<String> {
    vec![http_gateway(""), rule_to("all", "app"), service("app", &[backend])]
}

/// What the backend was told: trace, span and flags; and what `tracestate` said.
fn told(backend: &Backend, path: &str) -> ([String; 3], Option<String>) {
    let requests = backend.requests();
    let request = requests.iter().rev().find(|request| request.path() == path).expect("it came");
    let all: Vec<_> = request.headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case("traceparent")).collect();
    assert_eq!(all.len(), 1, "{all:?}");
    let parts: Vec<_> = all[0].1.split('-').map(str::to_owned).collect();
    let [version, trace, span, flags] = parts.try_into().expect("four parts");
    assert_eq!(version, "00");
    ([trace, span, flags], request.header("tracestate").map(str::to_owned))
}

#[tokio::test]
async fn a_sampled_request_is_one_span_and_its_attempt_another() {
    let (backend, collector) = (Backend::start("one").await, Collector::start().await);
    let objects = [
        http_gateway("backendSettings: [{name: web, protocol: HTTP}]"),
        rule("all", "backend: {services: [{name: app, port: 80}], settings: web}"),
        service("app", &[&backend]),
    ];
    let gateway = tracing(&collector, "0", &objects).await;
    let request = Request::new("POST", "a.example:81", "/x/y?token=hidden&b=2").body("hello");
    let request = request.with("User-Agent", "test").with("traceparent", &traceparent(true)).with("tracestate", "v=1");
    assert_eq!(gateway.send(&request.with("tracestate", "w=2")).await.status, 200);
    let (server, attempts) = collector.request("/x/y").await;
    assert_eq!((server.trace.as_str(), server.parent.as_str()), (TRACE, PARENT));
    assert_eq!((server.sent.name.as_str(), server.sent.kind, server.failed()), ("POST", 2, false));
    let id = backend.requests()[0].header("x-request-id").unwrap().to_owned();
    for (key, value) in [
        ("http.request.method", "POST"),
        ("url.path", "/x/y"),
        ("url.scheme", "http"),
        ("server.address", "a.example"),
        ("server.port", "81"),
        ("client.address", "127.0.0.1"),
        ("network.protocol.version", "1.1"),
        ("user_agent.original", "test"),
        ("http.response.status_code", "200"),
        ("penstock.gateway", "edge/shop"),
        ("penstock.listener", "http"),
        ("penstock.rule", "edge/all"),
        ("penstock.request_id", &id),
        ("error.type", ""),
        ("penstock.error", ""),
    ] {
        assert_eq!(server.get(key), value, "{key}");
    }
    let [attempt] = &attempts[..] else { panic!("one attempt: {attempts:?}") };
    assert_eq!((attempt.trace.as_str(), attempt.sent.kind, attempt.failed()), (TRACE, 3, false));
    for (key, value) in [
        ("server.address", "127.0.0.1"),
        ("server.port", &backend.addr().port().to_string()),
        ("http.response.status_code", "200"),
        ("http.request.resend_count", ""),
        ("penstock.pool", "edge/all"),
        ("penstock.settings", "web"),
        ("error.type", ""),
    ] {
        assert_eq!(attempt.get(key), value, "{key}");
    }
    // The parent of what the backend does is the attempt.
    let (onward, state) = told(&backend, "/x/y");
    assert_eq!((onward, state.as_deref()), ([TRACE.to_owned(), attempt.id.clone(), "01".to_owned()], Some("v=1")));
    let states =
        backend.requests()[0].headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case("tracestate")).count();
    assert_eq!(states, 2, "as it came");
    let (outer, inner) = (&server.sent, &attempt.sent);
    assert!(outer.start_time_unix_nano > 1_700_000_000_000_000_000, "{outer:?}");
    assert!(outer.start_time_unix_nano <= inner.start_time_unix_nano, "{outer:?} {inner:?}");
    assert!(inner.start_time_unix_nano < inner.end_time_unix_nano, "{inner:?}");
    assert!(inner.end_time_unix_nano <= outer.end_time_unix_nano, "{outer:?} {inner:?}");
    assert_eq!((outer.flags, inner.flags), (0x301, 0x101), "sampled; the parent of the first is somebody else's");
    // The way there, and that nothing secret went.
    assert_eq!(collector.resource()["service.name"], "penstock");
    for (line, body) in collector.requests() {
        assert_eq!(line, "POST /v1/traces application/x-protobuf");
        assert!(!String::from_utf8_lossy(&body).contains("hidden"));
    }
    gateway.wait_metric("penstock_traces_exported_total", &[], 2.0).await;
}

#[tokio::test]
async fn whoever_began_a_trace_decides_whether_it_is_sampled() {
    let (backend, collector) = (Backend::start("one").await, Collector::start().await);
    let gateway = tracing(&collector, "1", &everything(&backend)).await;
    gateway.send(&Request::get(HOST, "/not").with("traceparent", &traceparent(false))).await;
    gateway.get(HOST, "/new").await;
    let (server, attempts) = collector.request("/new").await;
    assert_eq!((server.parent.as_str(), server.sent.flags, attempts.len()), ("", 0x101, 1));
    assert_ne!(server.trace, TRACE);
    let ([trace, span, flags], _) = told(&backend, "/new");
    assert_eq!((trace, span, flags.as_str()), (server.trace, attempts[0].id.clone(), "01"));
    // Spans go in order: had the first request any, they had come.
    assert_eq!(collector.spans().len(), 2);
    let ([trace, span, flags], _) = told(&backend, "/not");
    assert_eq!((trace.as_str(), flags.as_str()), (TRACE, "00"));
    assert_ne!(span, PARENT);
}

#[tokio::test]
async fn of_new_traces_a_share_is_sampled() {
    let (backend, collector) = (Backend::start("one").await, Collector::start().await);
    let none = tracing(&collector, "0", &everything(&backend)).await;
    none.get(HOST, "/new").await;
    let ([trace, _, flags], _) = told(&backend, "/new");
    assert_eq!((trace.len(), flags.as_str()), (32, "00"), "the backend hears of a trace, and that it is not sampled");
    none.send(&Request::get(HOST, "/sampled").with("traceparent", &traceparent(true))).await;
    collector.request("/sampled").await;
    assert_eq!(collector.spans().len(), 2);
    drop(none);
    let half = tracing(&collector, "0.5", &everything(&backend)).await;
    let mut connection = half.connect().await;
    for turn in 0..200 {
        assert_eq!(connection.exchange(&Request::get(HOST, &format!("/half/{turn}"))).await.unwrap().status, 200);
    }
    half.send(&Request::get(HOST, "/last").with("traceparent", &traceparent(true))).await;
    collector.request("/last").await;
    let sampled = collector.spans().iter().filter(|span| span.get("url.path").starts_with("/half/")).count();
    assert!((50..150).contains(&sampled), "{sampled} of 200");
}

#[tokio::test]
async fn what_is_no_traceparent_begins_a_trace() {
    let (backend, collector) = (Backend::start("one").await, Collector::start().await);
    let gateway = tracing(&collector, "1", &everything(&backend)).await;
    let zero = format!("00-{}-{PARENT}-01", "0".repeat(32));
    for (path, values) in [("/zero", vec![zero]), ("/twice", vec![traceparent(true), traceparent(true)])] {
        let request = Request::get(HOST, path).with("tracestate", "v=1");
        gateway.send(&values.iter().fold(request, |request, value| request.with("traceparent", value))).await;
        let (server, _) = collector.request(path).await;
        assert_eq!(server.parent, "", "{path}");
        let ([trace, ..], state) = told(&backend, path);
        assert_eq!((trace, state), (server.trace.clone(), None), "W3C 3.3: tracestate goes with it");
        assert_ne!(server.trace, TRACE, "{path}");
    }
}

#[tokio::test]
async fn without_a_collector_headers_go_on_as_they_came() {
    let backend = Backend::start("one").await;
    let gateway = Gateway::to(&backend).await;
    let request = Request::get(HOST, "/x").with("traceparent", "00-nonsense").with("tracestate", "v=1");
    gateway.send(&request).await;
    let received = &backend.requests()[0];
    assert_eq!((received.header("traceparent"), received.header("tracestate")), (Some("00-nonsense"), Some("v=1")));
    gateway.get(HOST, "/y").await;
    assert_eq!(backend.requests()[1].header("traceparent"), None);
}

#[tokio::test]
async fn an_attempt_that_failed_has_a_span_of_its_own() {
    let (backend, collector) = (Backend::start("one").await, Collector::start().await);
    let nobody = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
    let objects = [http_gateway(""), rule_to("all", "app"), service_at("app", &[nobody, backend.addr()])];
    let gateway = tracing(&collector, "1", &objects).await;
    // Whose turn it is first is not said. All of them before a probe finds out.
    let paths = ["/0", "/1", "/2", "/3"];
    for path in paths {
        assert_eq!(gateway.get(HOST, path).await.status, 200);
    }
    let mut retried = None;
    for path in paths {
        let (server, attempts) = collector.request(path).await;
        assert_eq!((server.get("http.response.status_code"), server.failed()), ("200", false));
        if attempts.len() == 2 {
            retried = Some((path, attempts));
            break;
        }
    }
    let (path, attempts) = retried.expect("a request whose first attempt met nobody");
    let [first, second] = &attempts[..] else { panic!("two attempts") };
    assert_eq!((first.get("error.type"), first.get("server.port")), ("connect", &*nobody.port().to_string()));
    assert_eq!((first.failed(), first.get("http.response.status_code")), (true, ""));
    assert_eq!((second.failed(), second.get("http.request.resend_count")), (false, "1"));
    assert!(first.sent.end_time_unix_nano <= second.sent.start_time_unix_nano, "one after the other");
    assert_eq!(told(&backend, path).0[1], second.id);
}

#[tokio::test]
async fn only_5xx_is_an_error_of_the_gateway() {
    let (backend, collector) = (Backend::start("one").await, Collector::start().await);
    let paths = "paths:\n- {paths: ['/app*'], backend: {services: [{name: app, port: 80}]}}\n\
                 - {paths: [/missing], backend: {services: [{name: missing, port: 80}]}}\n";
    let gateway = tracing(&collector, "1", &[http_gateway(""), rule("all", paths), service("app", &[&backend])]).await;
    for (path, behaviour, status, failed, error, attempt) in [
        ("/nothing", "", "404", false, "", None),
        ("/missing", "", "502", true, "unresolved", None),
        ("/app-400", "status=400", "400", false, "", Some("400")),
        ("/app-503", "status=503", "503", true, "503", Some("503")),
        ("/app-breaks", "raw=nonsense%0d%0a%0d%0a", "502", true, "reset", Some("reset")),
    ] {
        gateway.send(&Request::get(HOST, path).behaviour(behaviour)).await;
        let (server, attempts) = collector.request(path).await;
        assert_eq!((server.get("http.response.status_code"), server.failed()), (status, failed), "{path}");
        assert_eq!(server.get("error.type"), error, "{path}");
        assert_eq!(attempts.last().map(|attempt| attempt.get("error.type")), attempt, "{path}");
        assert!(attempts.iter().all(collector::Span::failed), "{path}");
    }
    assert_eq!(collector.request("/nothing").await.0.get("penstock.error"), "no_rule");
}

#[tokio::test]
async fn rewrites_do_not_keep_a_trace_from_going_on() {
    let (backend, collector) = (Backend::start("one").await, Collector::start().await);
    let set = "rewriteRuleSets: [{name: set, rules: [{name: r, actions: {requestHeaders: [{name: X-Added, value: 'yes'}]}}]}]";
    let all = rule("all", "rewriteRuleSet: set\nbackend: {services: [{name: app, port: 80}]}");
    let gateway = tracing(&collector, "1", &[http_gateway(set), all, service("app", &[&backend])]).await;
    let request = Request::get(HOST, "/x").with("traceparent", &traceparent(true)).with("tracestate", "v=1");
    assert_eq!(gateway.send(&request).await.echoed("x-added"), ["yes"]);
    let (_, attempts) = collector.request("/x").await;
    let (onward, state) = told(&backend, "/x");
    assert_eq!((onward, state.as_deref()), ([TRACE.into(), attempts[0].id.clone(), "01".into()], Some("v=1")));
}

#[tokio::test]
async fn a_websocket_is_a_span_until_it_ends() {
    let (backend, collector) = (Backend::start("one").await, Collector::start().await);
    let gateway = tracing(&collector, "1", &everything(&backend)).await;
    let request = Request::get(HOST, "/ws").with("traceparent", &traceparent(true));
    let handshake = WebSocket::handshake(gateway.connect().await, &request).await;
    let mut socket = handshake.and_then(Handshake::opened).expect("an open WebSocket");
    assert_eq!(socket.echo("hello").await.unwrap(), "hello");
    gateway.get(HOST, "/after").await;
    collector.request("/after").await;
    assert_eq!(collector.spans().len(), 2, "nothing of what is still open");
    let (onward, _) = told(&backend, "/ws");
    socket.close(1000, "bye").await.unwrap();
    let (server, attempts) = collector.request("/ws").await;
    assert_eq!((server.trace.as_str(), server.parent.as_str()), (TRACE, PARENT));
    for (key, value) in [
        ("http.response.status_code", "101"),
        ("penstock.upgrade", "websocket"),
        ("penstock.close_reason", "client"),
        ("error.type", ""),
    ] {
        assert_eq!(server.get(key), value, "{key}");
    }
    let [attempt] = &attempts[..] else { panic!("one attempt: {attempts:?}") };
    assert_eq!((&onward[1], attempt.failed()), (&attempt.id, false));
    let after = collector.request("/after").await.0;
    assert!(server.sent.end_time_unix_nano > after.sent.end_time_unix_nano, "it ended when it ended");
    assert_eq!(server.sent.end_time_unix_nano, attempt.sent.end_time_unix_nano);
}

#[tokio::test]
async fn the_access_log_has_the_trace_that_the_backend_gets() {
    let (backend, collector) = (Backend::start("one").await, Collector::start().await);
    let url = collector.url();
    let args = ["--otlp-endpoint", &url, "--trace-sample", "0", "--access-log", "json"];
    let gateway = Gateway::start_with(&args, &everything(&backend)).await;
    gateway.get(HOST, "/x").await;
    let line = gateway.process.wait_for_stdout("\"path\":\"/x\"", DEADLINE).await;
    let line: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!(line["trace_id"], told(&backend, "/x").0[0]);
}

#[tokio::test]
async fn a_collector_that_is_busy_is_asked_again() {
    let (backend, collector) = (Backend::start("one").await, Collector::start().await);
    let gateway = tracing(&collector, "1", &everything(&backend)).await;
    collector.refuse(&[503, 429]);
    gateway.get(HOST, "/x").await;
    collector.request("/x").await;
    assert_eq!(collector.requests().len(), 3);
    gateway.wait_metric("penstock_traces_exported_total", &[], 2.0).await;
    // One that says no is believed, and the log hears of it once.
    collector.refuse(&[400, 400]);
    for dropped in [2.0, 4.0] {
        gateway.get(HOST, "/no").await;
        gateway.wait_metric("penstock_traces_dropped_total", &[("reason", "rejected")], dropped).await;
    }
    assert_eq!(collector.requests().len(), 5);
    gateway.get(HOST, "/yes").await;
    gateway.process.wait_for_stderr("traces are taken again", DEADLINE).await;
    let said = gateway.process.stderr().iter().filter(|line| line.contains("traces are dropped")).count();
    assert_eq!(said, 1);
}

#[tokio::test]
async fn a_collector_that_is_away_hurts_nobody() {
    let backend = Backend::start("one").await;
    let nowhere = format!("http://127.0.0.1:{}", free_port());
    let args = ["--otlp-endpoint", &nowhere, "--trace-sample", "1"];
    let gateway = Gateway::start_with(&args, &everything(&backend)).await;
    let mut connection = gateway.connect().await;
    // More than wait: the queue, and the batch that is tried again.
    for _ in 0..3_000 {
        assert_eq!(connection.exchange(&Request::get(HOST, "/x")).await.unwrap().status, 200);
    }
    let dropped = |reason: &'static str| {
        let gateway = &gateway;
        async move { gateway.metrics().await.sum("penstock_traces_dropped_total", &[("reason", reason)]) }
    };
    for reason in ["full", "failed"] {
        until(reason, DEADLINE, || dropped(reason), |count| *count > 0.0).await;
    }
}

#[tokio::test]
async fn what_is_left_is_sent_before_the_end() {
    let (backend, collector) = (Backend::start("one").await, Collector::start().await);
    let mut gateway = tracing(&collector, "1", &everything(&backend)).await;
    gateway.get(HOST, "/x").await;
    assert!(gateway.process.stop(DEADLINE).await.success());
    assert_eq!(collector.spans().len(), 2, "it has ended, and they are here");
}

#[tokio::test]
async fn the_standard_variable_names_a_collector_over_tls() {
    let ca = penstock_testkit::Ca::new("collectors");
    let tls = ca.server(&["localhost"]).server_config();
    let (backend, collector) = (Backend::start("one").await, Collector::start_over(Some(tls.into())).await);
    let folder = penstock_testkit::Manifests::new();
    let file = folder.write("ca.pem", ca.pem());
    let url = format!("https://localhost:{}", collector.port());
    let variables = [
        ("SSL_CERT_FILE", file.to_str().unwrap()),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", &url),
        ("PENSTOCK_TRACE_SAMPLE", "1"),
    ];
    let mut gateway = Gateway::starting_where(&variables, &[], &everything(&backend));
    let admin = gateway.admin();
    gateway.process.wait_ready(admin, DEADLINE).await;
    gateway.get(HOST, "/x").await;
    collector.request("/x").await;
}

#[tokio::test]
async fn a_client_that_leaves_ends_its_spans() {
    let (backend, collector) = (Backend::start("one").await, Collector::start().await);
    let gateway = tracing(&collector, "1", &everything(&backend)).await;
    let client = Http2::open(gateway.addr()).await.unwrap();
    let mut stream = client.send(&Request::get(HOST, "/left").behaviour("never")).await.unwrap();
    until("the request at the backend", DEADLINE, || async { backend.count("/left") }, |count| *count == 1).await;
    stream.reset(h2::Reason::CANCEL);
    let (server, attempts) = collector.request("/left").await;
    assert_eq!((server.get("http.response.status_code"), server.failed()), ("499", false));
    assert_eq!(server.get("network.protocol.version"), "2");
    assert_eq!(attempts[0].get("error.type"), "client_closed");
}
