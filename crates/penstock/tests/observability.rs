//! What an operator sees: the series of ARCHITECTURE.md with their labels, the access log, readiness and status.

mod support;

use std::collections::BTreeSet;
use std::net::SocketAddr;

use penstock_testkit::{
    Backend, Ca, DEADLINE, Manifests, Metrics, Process, Request, TlsClient, WebSocket, client, eventually, until,
};
use serde_json::{Map, Value};
use support::{Gateway, gateway, http_gateway, rule, rule_to, service, service_at};

const HOST: &str = "a.example";
/// The labels of what rule `edge/all` takes on listener `http`.
const ALL: [(&str, &str); 3] = [("gateway", "edge/shop"), ("listener", "http"), ("rule", "edge/all")];

/// A gateway that logs every request.
async fn logging(objects: &[String]) -> Gateway {
    Gateway::start_with(&["--access-log", "json"], objects).await
}

fn everything(backend: &Backend) -> Vec<String> {
    vec![http_gateway(""), rule_to("all", "app"), service("app", &[backend])]
}

/// The line about the request for this path.
async fn line(process: &Process, path: &str) -> Map<String, Value> {
    let lines = || async {
        let lines = process.stdout();
        let mut parsed = lines.iter().map(|line| serde_json::from_str(line).expect("every line is a JSON object"));
        parsed.find(|line: &Map<String, Value>| line["path"] == path)
    };
    eventually(&format!("the line about {path}"), DEADLINE, lines).await
}

/// The names of the labels of each series of a metric.
async fn labels(gateway: &Gateway, name: &str) -> BTreeSet<Vec<String>> {
    let metrics = gateway.metrics().await;
    let found = metrics.matching(name, &[]).map(|s| s.labels.keys().filter(|k| *k != "le").cloned().collect());
    found.collect()
}

#[tokio::test]
async fn requests_are_counted_by_rule_code_and_method() {
    let backend = Backend::start("one").await;
    let gateway = Gateway::to(&backend).await;
    for _ in 0..3 {
        gateway.get(HOST, "/x").await;
    }
    gateway.send(&Request::post(HOST, "/x", "hello").behaviour("status=201,body=hi")).await;
    gateway.send(&Request::new("PROPFIND", HOST, "/x").behaviour("status=503")).await;
    let with = |more: &[(&'static str, &'static str)]| [&ALL[..], more].concat();
    gateway.wait_metric("penstock_requests_total", &with(&[("code", "200"), ("method", "GET")]), 3.0).await;
    gateway.wait_metric("penstock_requests_total", &with(&[("code", "201"), ("method", "POST")]), 1.0).await;
    gateway.wait_metric("penstock_requests_total", &with(&[("code", "503"), ("method", "other")]), 1.0).await;
    let metrics = gateway.metrics().await;
    assert_eq!(metrics.value("penstock_request_bytes_total", &with(&[("direction", "received")])), Some(5.0));
    assert!(metrics.value("penstock_request_bytes_total", &with(&[("direction", "sent")])).unwrap() > 100.0);
    // Bodies of unknown length count, too.
    gateway.send(&Request::post(HOST, "/x", vec![b'x'; 2500]).chunked(&[])).await;
    gateway.wait_metric("penstock_request_bytes_total", &with(&[("direction", "received")]), 2505.0).await;
    let metrics = gateway.metrics().await;
    assert_eq!(metrics.value("penstock_request_duration_seconds_count", &ALL[..2]), Some(6.0));
    assert!((metrics.sum("penstock_backend_duration_seconds_count", &[]) - 6.0).abs() < 1e-9);
}

#[tokio::test]
async fn every_series_has_the_labels_that_are_documented() {
    let backend = Backend::start("one").await;
    let nobody = std::net::SocketAddr::from(([127, 0, 0, 1], penstock_testkit::free_port()));
    let gateway = Gateway::start(&[
        http_gateway(""),
        rule("all", "paths:\n- {paths: [/dead], backend: {services: [{name: dead, port: 80}]}}\nbackend: {services: [{name: app, port: 80}]}"),
        service("app", &[&backend]),
        service_at("dead", &[nobody]),
    ])
    .await;
    gateway.get(HOST, "/x").await;
    assert_eq!(gateway.get(HOST, "/dead").await.status, 502);
    gateway.raw("GET /x HTTP/1.1\r\n\r\n").await;
    let mut socket = WebSocket::open(gateway.addr(), HOST, "/ws").await.unwrap();
    socket.echo("hello").await.unwrap();
    gateway.wait_metric("penstock_websocket_open", &ALL, 1.0).await;
    socket.close(1000, "bye").await.unwrap();
    gateway.wait_metric("penstock_websocket_closed_total", &ALL, 1.0).await;
    gateway.wait_metric("penstock_requests_total", &[], 4.0).await;
    // The first probe of an endpoint comes within 5 s.
    until("a probe", DEADLINE, || async { gateway.metrics().await.sum("penstock_probes_total", &[]) }, |n| *n > 0.0)
        .await;
    for (name, expected) in [
        ("penstock_requests_total", "code gateway listener method rule"),
        ("penstock_request_duration_seconds_bucket", "gateway listener"),
        ("penstock_backend_duration_seconds_count", "pool settings"),
        ("penstock_request_bytes_total", "direction gateway listener rule"),
        ("penstock_refused_total", "listener reason"),
        ("penstock_backend_errors_total", "pool reason settings"),
        ("penstock_websocket_open", "gateway listener rule"),
        ("penstock_websocket_opened_total", "gateway listener rule"),
        ("penstock_websocket_closed_total", "gateway listener reason rule"),
        ("penstock_websocket_bytes_total", "direction gateway listener rule"),
        ("penstock_websocket_duration_seconds_count", "gateway listener"),
        ("penstock_connections_open", "gateway listener"),
        ("penstock_connections_total", "gateway listener"),
        ("penstock_backend_up", "endpoint pool settings"),
        ("penstock_backend_connections", "endpoint pool settings"),
        ("penstock_probe_duration_seconds_count", "pool settings"),
        ("penstock_probes_total", "pool result settings"),
        ("penstock_config_generation", ""),
        ("penstock_config_apply_seconds_count", "stage"),
        ("penstock_build_info", "revision version"),
        ("process_resident_memory_bytes", ""),
        ("process_open_fds", ""),
        ("process_cpu_seconds_total", ""),
    ] {
        let expected: Vec<String> = expected.split_whitespace().map(str::to_owned).collect();
        assert_eq!(labels(&gateway, name).await, BTreeSet::from([expected]), "{name}");
    }
    assert_eq!(labels(&gateway, "penstock_leader").await, BTreeSet::new(), "nobody is elected outside of a cluster");
    let metrics = gateway.metrics().await;
    let bytes = |direction| metrics.sum("penstock_websocket_bytes_total", &[("direction", direction)]);
    assert!(bytes("from_client") > 10.0 && bytes("from_backend") > 6.0, "{metrics:?}");
}

#[tokio::test]
async fn durations_tell_fractions_of_a_millisecond_apart() {
    let backend = Backend::start("one").await;
    let gateway = Gateway::to(&backend).await;
    gateway.get(HOST, "/x").await;
    for name in ["request", "backend", "probe"] {
        let name = format!("penstock_{name}_duration_seconds_bucket");
        let ends = || async {
            let metrics = gateway.metrics().await;
            let ends = metrics.matching(&name, &[]).filter_map(|series| series.labels["le"].parse().ok());
            ends.filter(|end| *end < 0.001).collect::<Vec<f64>>()
        };
        until(&name, DEADLINE, ends, |ends| ends == &[0.00025, 0.0005]).await;
    }
}

#[tokio::test]
async fn before_the_first_configuration_there_is_what_it_will_increase() {
    let folder = Manifests::new();
    // Nobody listens there: in a cluster, and never a configuration.
    let config = format!(
        "clusters: [{{name: it, cluster: {{server: 'http://127.0.0.1:{}'}}}}]\nusers: [{{name: it, user: {{}}}}]\n\
         contexts: [{{name: it, context: {{cluster: it, user: it}}}}]\ncurrent-context: it\n",
        penstock_testkit::free_port()
    );
    folder.write("config", &config);
    let admin = SocketAddr::from(([127, 0, 0, 1], penstock_testkit::free_port()));
    let _process = Process::of(env!("CARGO_BIN_EXE_penstock"))
        .args(["run", "--gateway-service", "shared", "--admin-address", &admin.to_string(), "--kubeconfig"])
        .arg(folder.path().join("config"))
        .start();
    let now =
        || async { Metrics::fetch(admin).await.ok().filter(|now| now.value("penstock_leader", &[]) == Some(0.0)) };
    let now = eventually("a replica that does not lead", DEADLINE, now).await;
    assert_eq!(now.value("penstock_config_generation", &[]), Some(0.0));
    let count = |stage| now.value("penstock_config_apply_seconds_count", &[("stage", stage)]);
    assert_eq!(["compile", "apply"].map(count), [Some(0.0); 2]);
}

#[tokio::test]
async fn no_label_is_of_a_clients_choosing() {
    let backend = Backend::start("one").await;
    let gateway = Gateway::start(&[
        http_gateway(""),
        rule("all", "hostNames: ['*.example']\nbackend: {services: [{name: app, port: 80}]}"),
        service("app", &[&backend]),
    ])
    .await;
    for request in [
        Request::get("chosen.example", "/chosen?chosen=1"),
        Request::new("CHOSEN", "a.example", "/"),
        Request::get("chosen.elsewhere", "/"),
        Request::get("a.example", "/").with("User-Agent", "chosen").with("X-Forwarded-For", "chosen"),
    ] {
        gateway.send(&request).await;
    }
    gateway.wait_metric("penstock_requests_total", &[], 4.0).await;
    let text = client::get(gateway.admin(), "admin", "/metrics").await.unwrap().text().to_lowercase();
    assert!(!text.contains("chosen"), "{text}");
}

#[tokio::test]
async fn durations_carry_the_rule_on_demand() {
    let backend = Backend::start("one").await;
    let gateway = Gateway::start_with(&["--metrics-per-rule"], &everything(&backend)).await;
    gateway.get(HOST, "/x").await;
    gateway.wait_metric("penstock_request_duration_seconds_count", &ALL, 1.0).await;
}

#[tokio::test]
async fn endpoints_that_are_gone_have_no_series() {
    let (one, two) = (Backend::start("one").await, Backend::start("two").await);
    let objects = |now: &[&Backend]| vec![http_gateway(""), rule_to("all", "app"), service("app", now)];
    let gateway = Gateway::start(&objects(&[&one, &two])).await;
    gateway.wait_metric("penstock_backend_up", &[], 2.0).await;
    gateway.replace(&objects(&[&two]));
    gateway.wait_metric("penstock_backend_up", &[], 1.0).await;
    let metrics = gateway.metrics().await;
    let left: Vec<_> = metrics.matching("penstock_backend_up", &[]).map(|s| s.labels["endpoint"].clone()).collect();
    assert_eq!(left, [two.addr().to_string()]);
    // The rule goes, and with it the cluster.
    gateway.replace(&[http_gateway("")]);
    let series = || async { gateway.metrics().await.matching("penstock_backend_up", &[]).count() };
    until("no series of endpoints", DEADLINE, series, |left| *left == 0).await;
}

#[tokio::test]
async fn connections_to_backends_are_counted_while_they_are_open() {
    let backend = Backend::start("one").await;
    let gateway = Gateway::to(&backend).await;
    gateway.get(HOST, "/x").await;
    gateway.wait_metric("penstock_backend_connections", &[], 1.0).await;
    backend.cut_connections();
    // An idle connection is kept for four seconds at most.
    gateway.wait_metric("penstock_backend_connections", &[], 0.0).await;
}

#[tokio::test]
async fn connections_are_counted_while_they_are_open() {
    let backend = Backend::start("one").await;
    let gateway = Gateway::to(&backend).await;
    let mut open = Vec::new();
    for _ in 0..3 {
        open.push(gateway.connect().await);
    }
    gateway.wait_metric("penstock_connections_open", &ALL[..2], 3.0).await;
    open.clear();
    gateway.wait_metric("penstock_connections_open", &ALL[..2], 0.0).await;
    gateway.wait_metric("penstock_connections_total", &ALL[..2], 3.0).await;
}

#[tokio::test]
async fn the_access_log_has_a_line_for_each_request() {
    let backend = Backend::start("one").await;
    let gateway = logging(&everything(&backend)).await;
    let request = Request::post("A.example:81", "/x/y?a=1&access_token=hidden&sig=hidden&password=hidden&b=2", "hello");
    let request = request.with("User-Agent", "test \"1\"").behaviour("status=201,body=hi");
    let trace = "0af7651916cd43dd8448eb211c80319c";
    let answer = gateway.send(&request.with("traceparent", &format!("00-{trace}-b7ad6b7169203331-01"))).await;
    assert_eq!(answer.status, 201);
    let line = line(&gateway.process, "/x/y").await;
    for (key, value) in [
        ("gateway", "edge/shop"),
        ("listener", "http"),
        ("rule", "edge/all"),
        ("client", "127.0.0.1"),
        ("method", "POST"),
        ("scheme", "http"),
        ("host", "A.example:81"),
        ("query", "a=1&access_token=REDACTED&sig=REDACTED&password=REDACTED&b=2"),
        ("protocol", "HTTP/1.1"),
        ("user_agent", "test \"1\""),
        ("trace_id", trace),
    ] {
        assert_eq!(line[key], value, "{key}");
    }
    assert_eq!(line["backend"], backend.addr().to_string());
    for (key, value) in [("status", 201), ("bytes_received", 5), ("bytes_sent", 2), ("attempts", 1)] {
        assert_eq!(line[key], value, "{key}");
    }
    assert!(line["duration_ms"].as_f64().unwrap() >= line["backend_ms"].as_f64().unwrap());
    assert!(line["pool"].is_string());
    let id = backend.requests().iter().find(|r| r.path() == "/x/y").unwrap().header("x-request-id").unwrap().to_owned();
    assert_eq!(line["request_id"], id, "the one that the backend got");
    let time = line["time"].as_str().unwrap();
    assert!(time.len() == 24 && time.ends_with('Z') && time.as_bytes()[19] == b'.', "RFC 3339 with ms: {time}");
    for absent in ["upgrade", "close_reason", "tls_version", "tls_cipher", "error"] {
        assert_eq!(line.get(absent), None, "{absent}");
    }
    assert!(!gateway.process.stdout().concat().contains("hidden"));
}

#[tokio::test]
async fn behind_a_trusted_proxy_the_log_has_its_request_id_and_its_client() {
    let backend = Backend::start("one").await;
    let arguments = ["--access-log", "json", "--trusted-proxies", "127.0.0.0/8,10.0.0.0/8"];
    let gateway = Gateway::start_with(&arguments, &everything(&backend)).await;
    let said = |path: &str| Request::get(HOST, path).with("X-Request-Id", "id-1");
    gateway
        .send(&said("/a").with("X-Forwarded-For", "1.1.1.1, 192.0.2.7:4711").with("X-Forwarded-For", "10.0.0.9"))
        .await;
    let told = line(&gateway.process, "/a").await;
    assert_eq!(
        (&told["request_id"], &told["client"], &told["peer"]),
        (&"id-1".into(), &"192.0.2.7".into(), &"127.0.0.1".into())
    );
    // Nobody but proxies, and what is no address: the last that was one.
    for (path, list, client) in [("/b", "10.0.0.8, 10.0.0.9", "10.0.0.8"), ("/c", "nonsense, 10.0.0.9", "10.0.0.9")] {
        gateway.send(&said(path).with("X-Forwarded-For", list)).await;
        assert_eq!(line(&gateway.process, path).await["client"], client, "{list}");
    }
    // What Connection lists was for the gateway alone: the backend does not get it either.
    gateway
        .send(&said("/d").with("Connection", "X-Request-Id, X-Forwarded-For").with("X-Forwarded-For", "192.0.2.7"))
        .await;
    let own = line(&gateway.process, "/d").await;
    let sent = backend.requests().iter().find(|r| r.path() == "/d").unwrap().header("x-request-id").unwrap().to_owned();
    assert_eq!((&own["request_id"], &own["client"], own.get("peer")), (&sent.into(), &"127.0.0.1".into(), None));
    assert_ne!(own["request_id"], "id-1");
}

#[tokio::test]
async fn the_access_log_says_why_something_went_wrong() {
    let backend = Backend::start("one").await;
    let paths = "paths:\n- {paths: [/missing], backend: {services: [{name: missing, port: 80}]}}\n\
                 - {paths: [/slow], backend: {services: [{name: app, port: 80}], inlineSettings: {requestTimeout: 200ms}}}\n\
                 - {paths: ['/app*'], backend: {services: [{name: app, port: 80}]}}\n";
    let gateway = logging(&[http_gateway(""), rule("all", paths), service("app", &[&backend])]).await;
    for (path, behaviour, status) in [
        ("/missing", "", 502),
        ("/slow", "never", 504),
        ("/nothing", "", 404),
        ("/app-closes", "close=before", 502),
        ("/app-breaks", "raw=nonsense%0d%0a%0d%0a", 502),
    ] {
        assert_eq!(gateway.send(&Request::get(HOST, path).behaviour(behaviour)).await.status, status, "{path}");
        let line = line(&gateway.process, path).await;
        assert_eq!(line["status"], status, "{path}");
        assert!(line["error"].as_str().is_some_and(|error| !error.is_empty()), "{path}: {line:?}");
    }
    let none = line(&gateway.process, "/nothing").await;
    assert_eq!((&none["rule"], none.get("backend")), (&Value::from("none"), None));
    assert_eq!(line(&gateway.process, "/app-closes").await["attempts"], 2);
}

#[tokio::test]
async fn of_what_went_well_a_share_is_logged_and_everything_else() {
    let backend = Backend::start("one").await;
    let objects = |to| {
        vec![
            http_gateway(""),
            rule("all", "paths:\n- {paths: ['/app*'], backend: {services: [{name: app, port: 80}]}}"),
            service("app", &[to]),
        ]
    };
    for (share, expected) in [("0", 0), ("0.25", 50), ("1", 200)] {
        let args = ["--access-log", "json", "--access-log-sample", share];
        let mut gateway = Gateway::start_with(&args, &objects(&backend)).await;
        for _ in 0..200 {
            assert_eq!(gateway.get(HOST, "/app-well").await.status, 200);
        }
        for (path, behaviour, status) in [
            ("/refused", "", 404),
            ("/app-missing", "status=404", 404),
            ("/app-error", "status=503", 503),
            ("/app-cut", "size=100000,close=body", 200),
        ] {
            let sent = client::send(gateway.addr(), &Request::get(HOST, path).behaviour(behaviour)).await;
            assert_eq!(sent.map_or(200, |answer| answer.status), status, "{path}");
        }
        let mut socket = WebSocket::open(gateway.addr(), HOST, "/app-ws").await.unwrap();
        socket.close(1000, "bye").await.unwrap();
        gateway.wait_metric("penstock_websocket_open", &[], 0.0).await;
        assert!(gateway.process.stop(DEADLINE).await.success());
        let lines = gateway.process.stdout();
        let count = |path: &str| lines.iter().filter(|line| line.contains(&format!("\"{path}\""))).count();
        for path in ["/refused", "/app-missing", "/app-error", "/app-cut", "/app-ws"] {
            assert_eq!(count(path), 1, "{share}: {path}");
        }
        assert!(count("/app-well").abs_diff(expected) <= 2, "{share}: {} of 200", count("/app-well"));
    }
}

#[tokio::test]
async fn a_websocket_is_logged_at_its_end_and_tls_is_named() {
    let backend = Backend::start("one").await;
    let ca = Ca::new("test");
    let listeners = "listeners: [{name: https, port: $https, protocol: HTTPS, tls: {certificateRefs: [{name: cert}]}}]";
    let secret = ca.server(&[HOST]).secret_yaml("edge", "cert");
    let gateway = logging(&[gateway(listeners), rule_to("all", "app"), service("app", &[&backend]), secret]).await;
    let tls = TlsClient::new(&ca);
    let mut socket = WebSocket::open_tls(gateway.addr_of("https"), &tls, HOST, "/ws").await.unwrap();
    socket.echo("hello").await.unwrap();
    let get = Request::get(HOST, "/get");
    assert_eq!(client::send_tls(gateway.addr_of("https"), &tls, &get).await.unwrap().status, 200);
    let other = line(&gateway.process, "/get").await;
    assert_eq!((&other["tls_version"], &other["scheme"]), (&Value::from("TLSv1_3"), &Value::from("https")));
    assert!(other["tls_cipher"].as_str().unwrap().starts_with("TLS13_"), "{other:?}");
    assert!(!gateway.process.stdout().iter().any(|line| line.contains("\"/ws\"")), "not before its end");
    socket.close(1000, "bye").await.unwrap();
    let line = line(&gateway.process, "/ws").await;
    assert_eq!((&line["status"], &line["upgrade"]), (&Value::from(101), &Value::from("websocket")));
    assert_eq!(line["close_reason"], "client");
    assert!(line["bytes_received"].as_u64().unwrap() > 10 && line["bytes_sent"].as_u64().unwrap() > 6, "{line:?}");
}

#[tokio::test]
async fn standalone_logs_no_requests_unless_asked() {
    let backend = Backend::start("one").await;
    let mut gateway = Gateway::to(&backend).await;
    gateway.get(HOST, "/x").await;
    assert!(gateway.process.stop(DEADLINE).await.success());
    assert_eq!(gateway.process.stdout(), [""; 0]);
}

#[tokio::test]
async fn the_access_log_is_complete_when_the_process_ends() {
    let backend = Backend::start("one").await;
    let mut gateway = logging(&everything(&backend)).await;
    for n in 0..50 {
        gateway.get(HOST, &format!("/{n}")).await;
    }
    assert!(gateway.process.stop(DEADLINE).await.success());
    assert_eq!(gateway.process.stdout().len(), 50);
}

#[tokio::test]
async fn status_tells_listeners_backends_and_problems() {
    let backend = Backend::start("one").await;
    let listeners = "listeners:\n- {name: http, port: $http, protocol: HTTP}\n\
                     - {name: https, port: $https, protocol: HTTPS, tls: {certificateRefs: [{name: missing}]}}\n";
    let gateway = Gateway::start(&[
        gateway(listeners),
        rule_to("all", "app"),
        rule_to("bad", "nobody"),
        service("app", &[&backend]),
    ])
    .await;
    let _open = gateway.connect().await;
    let status = gateway.wait_for_status("the connection", |status| status["listeners"][0]["connections"] == 1).await;
    assert!(status["generation"].as_u64().unwrap() > 0);
    let listener = &status["listeners"][0];
    assert_eq!((&listener["gateway"], &listener["name"]), (&Value::from("edge/shop"), &Value::from("http")));
    assert_eq!(
        (&listener["port"], &listener["local_port"]),
        (&gateway.port("http").into(), &gateway.port("http").into())
    );
    assert_eq!((&listener["protocol"], &listener["rules"]), (&Value::from("HTTP"), &Value::from(2)));
    let backends = status["backends"].as_array().unwrap();
    assert_eq!(backends.len(), 1, "{backends:?}");
    assert_eq!(backends[0]["address"], backend.addr().to_string());
    assert!(["Unknown", "Up"].contains(&backends[0]["health"].as_str().unwrap()), "{backends:?}");
    assert_eq!((&backends[0]["active"], &backends[0]["websockets"]), (&Value::from(0), &Value::from(0)));
    let problems = status["problems"].as_array().unwrap();
    let find = |reason: &str| problems.iter().find(|problem| problem["reason"] == reason);
    let secret = find("InvalidCertificateRef").unwrap_or_else(|| panic!("{problems:?}"));
    assert!(secret["object"].as_str().unwrap().contains("edge/shop"), "{secret}");
    assert!(secret["message"].as_str().unwrap().contains("edge/missing"), "{secret}");
    let service = find("ServiceNotFound").unwrap_or_else(|| panic!("{problems:?}"));
    assert!(service["object"].as_str().unwrap().contains("edge/bad"), "{service}");
    gateway.wait_metric("penstock_config_problems", &[("reason", "ServiceNotFound")], 1.0).await;
    // Never a secret, and read-only.
    let admin = gateway.admin();
    assert_eq!(client::send(admin, &Request::post("admin", "/status", "")).await.unwrap().status, 405);
    assert_eq!(client::get(admin, "admin", "/healthz").await.unwrap().status, 200);
}

#[tokio::test]
async fn a_gateway_without_objects_is_ready_and_problems_go_away_when_solved() {
    let backend = Backend::start("one").await;
    let gateway = Gateway::start(&[]).await;
    assert_eq!(client::get(gateway.admin(), "admin", "/readyz").await.unwrap().status, 200);
    assert_eq!(gateway.status().await["listeners"], Value::Array(Vec::new()));
    gateway.replace(&[http_gateway(""), rule_to("all", "app")]);
    gateway.wait_status(HOST, "/x", 502).await;
    let count = |status: &Value| status["problems"].as_array().map_or(0, Vec::len);
    gateway.wait_for_status("the problem", |status| count(status) > 0).await;
    gateway.process.wait_for_stderr("ServiceNotFound", DEADLINE).await;
    gateway.write("app.yaml", &service("app", &[&backend]));
    gateway.wait_status(HOST, "/x", 200).await;
    gateway.wait_for_status("no problem", |status| count(status) == 0).await;
    gateway.wait_metric("penstock_config_problems", &[], 0.0).await;
}
