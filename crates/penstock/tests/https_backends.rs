//! Backends that are spoken to over TLS: who is trusted, under which name, and that nothing is ever sent without it.

mod support;

use penstock_testkit::{Backend, Ca, DEADLINE, Request, WebSocket, until};
use support::{Gateway, RawBackend, http_gateway, rule, service, service_at};

const HOST: &str = "a.example";

/// The gateway and its rule, with `protocol: HTTPS` and more of the settings.
fn https(settings: &str) -> [String; 2] {
    [
        http_gateway(&format!("backendSettings: [{{name: tls, protocol: HTTPS, {settings}}}]")),
        rule("all", "backend: {services: [{name: app, port: 80}], settings: tls}"),
    ]
}

/// The same to this backend, with this authority as ConfigMap `ca`.
fn objects(settings: &str, backend: &Backend, ca: &Ca) -> Vec<String> {
    let mut objects = https(settings).to_vec();
    objects.extend([service("app", &[backend]), ca.config_map_yaml("edge", "ca")]);
    objects
}

const TRUSTED: &str = "tls: {caCertificateRefs: [{kind: ConfigMap, name: ca}], sniName: app.internal}";

/// So many attempts are counted.
async fn refused(gateway: &Gateway, attempts: f64) {
    let answer = gateway.get(HOST, "/x").await;
    assert_eq!((answer.status, answer.text().trim()), (502, "502 Bad Gateway: no TLS with the backend"));
    gateway.wait_metric("penstock_backend_errors_total", &[("reason", "tls")], attempts).await;
}

#[tokio::test]
async fn requests_and_websockets_pass_over_connections_that_are_kept() {
    let ca = Ca::new("internal");
    let backend = Backend::start_tls("app", &ca.server(&["app.internal"])).await;
    let gateway = Gateway::start(&objects(TRUSTED, &backend, &ca)).await;
    let answer = gateway.send(&Request::post(HOST, "/x?a=1", vec![b'x'; 1_000_000])).await;
    assert_eq!((answer.status, answer.header("x-backend")), (200, Some("app")));
    assert_eq!(answer.json()["body_length"], 1_000_000);
    let long = gateway.get(HOST, "/long?do=size=3000000,chunked").await;
    assert_eq!((long.status, long.body.len()), (200, 3_000_000));
    let again = gateway.get(HOST, "/x").await;
    assert_eq!(again.json()["connection"], answer.json()["connection"], "connections are used again");
    let mut socket = WebSocket::open(gateway.addr(), HOST, "/ws").await.unwrap();
    assert_eq!(socket.echo("hello").await.unwrap(), "hello");
    let large = "x".repeat(500_000);
    assert!(socket.echo(&large).await.unwrap() == large, "a large message comes back whole");
    assert_eq!(backend.command_websockets("close 4000 enough"), 1);
    assert_eq!(socket.ended(DEADLINE).await.unwrap(), 4000);
}

#[tokio::test]
async fn who_cannot_be_trusted_gets_nothing() {
    let (ca, other) = (Ca::new("internal"), Ca::new("other"));
    for identity in [other.server(&["app.internal"]), ca.server(&["b.internal"]), ca.expired(&["app.internal"])] {
        let backend = Backend::start_tls("app", &identity).await;
        let gateway = Gateway::start(&objects(TRUSTED, &backend, &ca)).await;
        refused(&gateway, 2.0).await;
        assert_eq!(backend.count("/x"), 0);
        // The same without a look at the certificate.
        gateway.replace(&objects("tls: {verify: false}", &backend, &ca));
        gateway.wait_status(HOST, "/x", 200).await;
    }
}

#[tokio::test]
async fn nothing_is_sent_without_tls() {
    let ca = Ca::new("internal");
    let backend = Backend::start("app").await;
    let gateway = Gateway::start(&objects("tls: {verify: false}", &backend, &ca)).await;
    refused(&gateway, 2.0).await;
    assert_eq!(backend.count("/x"), 0);
    // Nor over a connection from a time when the settings asked for none.
    let [tls, rule] = https("tls: {verify: false}");
    let plain = http_gateway("backendSettings: [{name: tls}]");
    gateway.replace(&[plain, rule.clone(), service("app", &[&backend])]);
    gateway.wait_status(HOST, "/plain", 200).await;
    gateway.replace(&[tls, rule, service("app", &[&backend])]);
    gateway.wait_status(HOST, "/plain", 502).await;
    assert_eq!(gateway.get(HOST, "/x").await.status, 502);
    assert_eq!(backend.count("/x"), 0);
}

#[tokio::test]
async fn the_name_is_the_host_that_is_sent_unless_settings_say_another() {
    let ca = Ca::new("internal");
    let backend = Backend::start_tls("app", &ca.server(&["a.example", "127.0.0.1"])).await;
    let trust = "tls: {caCertificateRefs: [{kind: ConfigMap, name: ca}]}";
    let gateway = Gateway::start(&objects(trust, &backend, &ca)).await;
    assert_eq!(gateway.who("a.example", "/x").await, "app");
    // A connection for one name is none for another.
    assert_eq!(gateway.who("b.example", "/x").await, "502");
    assert_eq!(gateway.who("A.example:80", "/x").await, "app");
    assert_eq!(gateway.who("127.0.0.1", "/x").await, "app");
    gateway.replace(&objects(&format!("hostName: a.example, {trust}"), &backend, &ca));
    gateway.wait_status("b.example", "/x", 200).await;
    let answer = gateway.get("b.example", "/x").await;
    assert_eq!(answer.echoed("host"), ["a.example"]);
}

#[tokio::test]
async fn other_authorities_count_at_once() {
    let (ca, other) = (Ca::new("internal"), Ca::new("other"));
    let backend = Backend::start_tls("app", &ca.server(&["app.internal"])).await;
    let gateway = Gateway::start(&objects(TRUSTED, &backend, &other)).await;
    refused(&gateway, 2.0).await;
    gateway.replace(&objects(TRUSTED, &backend, &ca));
    gateway.wait_status(HOST, "/x", 200).await;
    gateway.replace(&objects(TRUSTED, &backend, &other));
    gateway.wait_status(HOST, "/x", 502).await;
}

#[tokio::test]
async fn without_references_the_system_is_trusted() {
    let ca = Ca::new("system");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ca.crt");
    std::fs::write(&file, ca.pem()).unwrap();
    let backend = Backend::start_tls("app", &ca.server(&[HOST])).await;
    let variables = [("SSL_CERT_FILE", file.to_str().unwrap())];
    let trusting = Gateway::starting_where(&variables, &[], &objects("", &backend, &ca));
    trusting.wait_status(HOST, "/x", 200).await;
    let gateway = Gateway::start(&objects("", &backend, &ca)).await;
    refused(&gateway, 2.0).await;
}

#[tokio::test]
async fn a_handshake_has_the_time_of_a_connection() {
    let silent = RawBackend::start().await;
    let mut objects = https("connectTimeout: 200ms, retry: {attempts: 0}, tls: {verify: false}").to_vec();
    objects.push(service_at("app", &[silent.addr()]));
    let gateway = Gateway::start(&objects).await;
    let started = std::time::Instant::now();
    refused(&gateway, 1.0).await;
    assert!(started.elapsed() < DEADLINE / 2, "{:?}", started.elapsed());
}

#[tokio::test]
async fn a_connection_that_was_closed_meanwhile_is_not_an_error() {
    let ca = Ca::new("internal");
    let backend = Backend::start_tls("app", &ca.server(&["app.internal"])).await;
    let gateway = Gateway::start(&objects(TRUSTED, &backend, &ca)).await;
    assert_eq!(gateway.get(HOST, "/x").await.status, 200);
    backend.cut_connections();
    until("the connection is cut", DEADLINE, || async { backend.open() }, |open| *open == 0).await;
    let answer = gateway.send(&Request::post(HOST, "/x", "hello")).await;
    assert_eq!(answer.status, 200);
}

#[tokio::test]
async fn probes_ask_over_tls_and_trust_whom_requests_trust() {
    let (ca, other) = (Ca::new("internal"), Ca::new("other"));
    let good = Backend::start_tls("good", &ca.server(&["app.internal"])).await;
    let stranger = Backend::start_tls("stranger", &other.server(&["app.internal"])).await;
    let probes = "probes: [{name: ready, host: ready.example, path: /healthz, interval: 1s, unhealthyThreshold: 1}]";
    let gateway_with = |tls: &str| {
        http_gateway(&format!("backendSettings: [{{name: tls, protocol: HTTPS, probe: ready, {tls}}}]\n{probes}"))
    };
    let more =
        [https("")[1].clone(), service("app", &[&good, &stranger]), ca.config_map_yaml("edge", "ca")].join("\n---\n");
    let gateway = Gateway::start(&[gateway_with(TRUSTED), more.clone()]).await;
    let of = |status: &serde_json::Value, backend: &Backend| {
        let address = backend.addr().to_string();
        let all = status["backends"].as_array().cloned().unwrap_or_default();
        let found = all.into_iter().find(|entry| entry["address"] == address.as_str()).unwrap_or_default();
        ["health", "reason"].map(|field| found[field].as_str().unwrap_or_default().to_owned())
    };
    let status = gateway
        .wait_for_status("one up, one down", |status| {
            [of(status, &good)[0].as_str(), of(status, &stranger)[0].as_str()] == ["Up", "Down"]
        })
        .await;
    let reason = &of(&status, &stranger)[1];
    assert!(reason.starts_with("CertificateNotTrusted: "), "{reason}");
    assert_eq!((stranger.count("/healthz"), good.count("/healthz") > 0), (0, true));
    gateway.replace(&[gateway_with("tls: {verify: false}"), more]);
    gateway.wait_for_status("both up", |status| of(status, &stranger)[0] == "Up").await;
    stranger.set_health(false);
    gateway.wait_for_status("down again", |status| of(status, &stranger)[1].starts_with("StatusMismatch")).await;
}

#[tokio::test]
async fn a_probe_without_a_host_asks_for_that_of_its_settings() {
    let ca = Ca::new("internal");
    let backend = Backend::start_tls("app", &ca.server(&["app.internal", "app"])).await;
    let objects = |settings: &str, host: &str| {
        let probe = format!("probes: [{{name: ready, {host}path: /healthz, interval: 100ms, unhealthyThreshold: 1}}]");
        let trust = "tls: {caCertificateRefs: [{kind: ConfigMap, name: ca}]";
        let settings = format!("backendSettings: [{{name: tls, protocol: HTTPS, probe: ready, {trust}{settings}}}]");
        let objects = [http_gateway(&format!("{settings}\n{probe}")), https("")[1].clone()];
        [&objects[..], &[service("app", &[&backend]), ca.config_map_yaml("edge", "ca")]].concat()
    };
    let health = |status: &serde_json::Value| {
        ["health", "reason"].map(|field| status["backends"][0][field].as_str().unwrap_or_default().to_owned())
    };
    let asked = || backend.requests().last().and_then(|request| request.header("host").map(str::to_owned));
    // Nobody names a host: it cannot go well, and the rule says so.
    let gateway = Gateway::start(&objects("}", "")).await;
    gateway.wait_for_problem("InvalidValue", "probe edge/shop/ready speaks HTTPS").await;
    let status = gateway.wait_for_status("a wrong name", |status| health(status)[0] == "Down").await;
    assert!(health(&status)[1].starts_with("CertificateNameMismatch: "), "{status}");
    for (settings, host, sent) in [
        ("}, hostName: app.internal", "", "app.internal"),
        ("}, pickHostNameFromBackend: true", "", "app"),
        (", sniName: app.internal}", "", "127.0.0.1"),
        ("}", "host: app.internal, ", "app.internal"),
    ] {
        gateway.replace(&objects(settings, host));
        until(&format!("{sent} with {settings}"), DEADLINE, async || asked(), |host| host.as_deref() == Some(sent))
            .await;
        let status = gateway.wait_for_status("up", |status| health(status)[0] == "Up").await;
        assert_eq!(status["problems"], serde_json::json!([]), "{settings}");
    }
    // Its own host goes before that of the settings.
    gateway.replace(&objects("}, hostName: app.internal", "host: b.internal, "));
    let named = |status: &serde_json::Value| health(status)[1].starts_with("CertificateNameMismatch: ");
    gateway.wait_for_status("the name of the probe", named).await;
}

#[tokio::test]
async fn what_is_wrong_with_a_certificate_is_in_the_reason() {
    let (ca, other) = (Ca::new("internal"), Ca::new("other"));
    let probe = "probes: [{name: ready, path: /healthz, interval: 100ms, unhealthyThreshold: 1}]";
    for (identity, class) in [
        (ca.server(&["b.internal"]), "CertificateNameMismatch: "),
        (other.server(&["app.internal"]), "CertificateNotTrusted: "),
        (ca.expired(&["app.internal"]), "CertificateExpired: "),
    ] {
        let backend = Backend::start_tls("app", &identity).await;
        let mut objects = objects(&format!("probe: ready, {TRUSTED}"), &backend, &ca);
        objects[0] = http_gateway(&format!(
            "backendSettings: [{{name: tls, protocol: HTTPS, probe: ready, {TRUSTED}}}]\n{probe}"
        ));
        let gateway = Gateway::start(&objects).await;
        let reason =
            |status: &serde_json::Value| status["backends"][0]["reason"].as_str().unwrap_or_default().to_owned();
        gateway.wait_for_status(class, |status| reason(status).starts_with(class)).await;
    }
}
