//! Probes: who is asked what, and what the answers mean for the traffic.

mod support;
#[path = "support/ws.rs"]
mod ws;

use std::time::{Duration, Instant};

use penstock_testkit::{Backend, DEADLINE, Request, until};
use serde_json::Value;
use support::{Gateway, WHILE, http_gateway, rule, rule_to, service};
use ws::{none_closed, open, rule_under_settings, stays_open};

/// A gateway whose settings `sockets` use the probe `ready` with these fields, and its Service `app`.
fn probed(probe: &str, backends: &[&Backend]) -> [String; 3] {
    let spec = format!("backendSettings: [{{name: sockets, probe: ready}}]\nprobes: [{{name: ready, {probe}}}]");
    [http_gateway(&spec), rule_under_settings(), service("app", backends)]
}

/// What `/status` says of a backend: health and reason.
fn health(status: &Value, backend: &Backend) -> (String, String) {
    let address = backend.addr().to_string();
    let all = status["backends"].as_array().cloned().unwrap_or_default();
    let found = all.iter().find(|entry| entry["address"] == address.as_str());
    let text = |field: &str| found.and_then(|entry| entry[field].as_str()).unwrap_or_default().to_owned();
    (text("health"), text("reason"))
}

/// Waits for this health, and returns the reason for it.
async fn becomes(gateway: &Gateway, backend: &Backend, wanted: &str) -> String {
    let what = format!("{} to be {wanted}", backend.name());
    let status = gateway.wait_for_status(&what, |status| health(status, backend).0 == wanted).await;
    health(&status, backend).1
}

/// Who answers ten requests.
async fn answers(gateway: &Gateway) -> Vec<String> {
    let mut names = Vec::new();
    for _ in 0..10 {
        names.push(gateway.who("a.example", "/x").await);
    }
    names.sort();
    names.dedup();
    names
}

/// How many probes the backend got for this path.
fn asked(backend: &Backend, path: &str) -> usize {
    let requests = backend.requests();
    let ours = |name: Option<&str>| name.is_some_and(|agent| agent.starts_with("penstock-probe/"));
    requests.iter().filter(|request| request.path() == path && ours(request.header("user-agent"))).count()
}

#[tokio::test]
async fn without_a_probe_anything_but_a_server_error_is_good() {
    let (missing, broken) = (Backend::start("missing").await, Backend::start("broken").await);
    missing.behave("status=404");
    broken.behave("status=500");
    let objects = [
        http_gateway(""),
        rule("missing", "hostNames: [a.example]\nbackend: {services: [{name: missing, port: 80}]}"),
        rule("broken", "hostNames: [b.example]\nbackend: {services: [{name: broken, port: 80}]}"),
        service("missing", &[&missing]),
        service("broken", &[&broken]),
    ];
    let gateway = Gateway::start(&objects).await;
    // Unknown takes traffic, from the first moment on.
    assert_eq!(gateway.who("a.example", "/").await, "missing");
    assert_eq!(becomes(&gateway, &missing, "Up").await, "");
    gateway.wait_metric("penstock_probes_total", &[("result", "failure")], 1.0).await;
    assert_eq!(health(&gateway.status().await, &broken).0, "Unknown", "one failure is not three");
    assert_eq!(gateway.who("b.example", "/").await, "broken");
    let requests = missing.requests();
    let probe = requests.iter().find(|request| request.header("user-agent").is_some()).expect("a probe");
    assert_eq!((probe.method.as_str(), probe.target.as_str(), probe.header("host")), ("GET", "/", Some("127.0.0.1")));
}

#[tokio::test]
async fn down_gets_no_traffic_and_one_success_brings_it_back() {
    let (one, two) = (Backend::start("one").await, Backend::start("two").await);
    let probe = "path: /healthz, host: probe.example, interval: 100ms, timeout: 1s, unhealthyThreshold: 3";
    let gateway = Gateway::start(&probed(probe, &[&one, &two])).await;
    becomes(&gateway, &one, "Up").await;
    becomes(&gateway, &two, "Up").await;
    assert_eq!(answers(&gateway).await, ["one", "two"]);
    one.set_health(false);
    assert_eq!(becomes(&gateway, &one, "Down").await, "StatusMismatch: the answer was 503");
    let before = one.count("/x");
    assert_eq!(answers(&gateway).await, ["two"]);
    assert_eq!(one.count("/x"), before);
    two.set_health(false);
    becomes(&gateway, &two, "Down").await;
    assert_eq!(answers(&gateway).await, ["502"]);
    gateway.wait_metric("penstock_backend_errors_total", &[("reason", "no_healthy")], 10.0).await;
    gateway.wait_metric("penstock_backend_up", &[], 0.0).await;
    one.set_health(true);
    assert_eq!(becomes(&gateway, &one, "Up").await, "");
    assert_eq!(answers(&gateway).await, ["one"]);
    let up = [("endpoint", one.addr().to_string())];
    gateway.wait_metric("penstock_backend_up", &[("endpoint", &up[0].1)], 1.0).await;
    let requests = one.requests();
    let probe = requests.iter().find(|request| request.path() == "/healthz").expect("a probe");
    assert_eq!(probe.header("host"), Some("probe.example"));
}

#[tokio::test]
async fn the_host_can_be_that_of_the_settings() {
    let one = Backend::start("one").await;
    let objects = |settings: &str| {
        let probe = "{name: ready, pickHostNameFromBackendSettings: true, path: /healthz, interval: 100ms}";
        let spec = format!("backendSettings: [{{name: sockets, probe: ready{settings}}}]\nprobes: [{probe}]");
        [http_gateway(&spec), rule_under_settings(), service("app", &[&one])]
    };
    let gateway = Gateway::start(&objects("")).await;
    gateway.wait_for_problem("InvalidValue", "probes[ready].pickHostNameFromBackendSettings finds no host").await;
    for (settings, host) in
        [("", "127.0.0.1"), (", hostName: shop.internal", "shop.internal"), (", pickHostNameFromBackend: true", "app")]
    {
        gateway.replace(&objects(settings));
        let asked = async || one.requests().last().and_then(|request| request.header("host").map(str::to_owned));
        until(host, DEADLINE, asked, |seen| seen.as_deref() == Some(host)).await;
    }
}

#[tokio::test]
async fn it_takes_as_many_failures_in_a_row_as_the_threshold_says() {
    let one = Backend::start("one").await;
    let probe = "path: /ready, interval: 100ms, timeout: 1s, unhealthyThreshold: 8";
    one.behave("status=503");
    let gateway = Gateway::start(&probed(probe, &[&one])).await;
    let failures = [("result", "failure")];
    let seen = until(
        "some failures",
        DEADLINE,
        || async { gateway.metrics().await.sum("penstock_probes_total", &failures) },
        |count| *count >= 2.0,
    )
    .await;
    if seen < 7.0 {
        // A success begins the count anew.
        one.behave("");
        becomes(&gateway, &one, "Up").await;
    }
    let before = gateway.metrics().await.sum("penstock_probes_total", &failures);
    one.behave("status=503");
    becomes(&gateway, &one, "Down").await;
    let after = gateway.metrics().await.sum("penstock_probes_total", &failures);
    assert!(after - before >= 8.0, "down after {} failures", after - before);
}

#[tokio::test]
async fn status_and_body_must_be_as_the_probe_says() {
    let one = Backend::start("one").await;
    one.behave("status=302,body=all is ok here");
    let probe = "path: /ready, interval: 100ms, timeout: 1s, unhealthyThreshold: 1, \
                 match: {statusCodes: [\"201\", \"300-302\"], body: is ok}";
    let gateway = Gateway::start(&probed(probe, &[&one])).await;
    becomes(&gateway, &one, "Up").await;
    for (behaviour, reason) in [
        ("status=302,body=all is well here", "BodyMismatch: the expected text is not in the body"),
        ("status=200,body=is ok", "StatusMismatch: the answer was 200"),
        ("status=303,body=is ok", "StatusMismatch: the answer was 303"),
    ] {
        one.behave(behaviour);
        assert_eq!(becomes(&gateway, &one, "Down").await, reason, "{behaviour}");
        one.behave("status=201,chunked,body=is ok");
        becomes(&gateway, &one, "Up").await;
    }
}

#[tokio::test]
async fn the_reason_says_what_is_wrong() {
    let one = Backend::start("one").await;
    let probe = "path: /ready, interval: 100ms, timeout: 300ms, unhealthyThreshold: 1";
    let gateway = Gateway::start(&probed(probe, &[&one])).await;
    for (behaviour, reason) in
        [("never", "Timeout: "), ("raw=this is no HTTP%0d%0a%0d%0a", "BadAnswer: "), ("close=head", "BadAnswer: ")]
    {
        becomes(&gateway, &one, "Up").await;
        one.behave(behaviour);
        let said = becomes(&gateway, &one, "Down").await;
        assert!(said.starts_with(reason), "{behaviour}: {said}");
        one.behave("");
    }
    becomes(&gateway, &one, "Up").await;
    one.shutdown().await;
    let said = becomes(&gateway, &one, "Down").await;
    assert!(said.starts_with("ConnectFailed: "), "{said}");
    one.resume().await;
    becomes(&gateway, &one, "Up").await;
    assert_eq!(gateway.who("a.example", "/").await, "one");
}

#[tokio::test]
async fn so_many_servers_are_always_taken_for_healthy() {
    let (one, two) = (Backend::start("one").await, Backend::start("two").await);
    one.set_health(false);
    two.set_health(false);
    let probe = |min: u32| format!("path: /healthz, interval: 100ms, unhealthyThreshold: 1, minServers: {min}");
    let gateway = Gateway::start(&probed(&probe(2), &[&one, &two])).await;
    becomes(&gateway, &one, "Down").await;
    becomes(&gateway, &two, "Down").await;
    assert_eq!(answers(&gateway).await, ["one", "two"]);
    // What takes traffic counts as up, though its probes say otherwise.
    gateway.wait_metric("penstock_backend_up", &[], 2.0).await;
    gateway.replace(&probed(&probe(1), &[&one, &two]));
    until("one of them only", DEADLINE, || answers(&gateway), |names| names.len() == 1 && names[0] != "502").await;
    gateway.wait_metric("penstock_backend_up", &[], 1.0).await;
    gateway.replace(&probed(&probe(0), &[&one, &two]));
    until("none of them", DEADLINE, || answers(&gateway), |names| names == &["502"]).await;
    gateway.wait_metric("penstock_backend_up", &[], 0.0).await;
}

#[tokio::test]
async fn down_leaves_what_runs_alone() {
    let one = Backend::start("one").await;
    let probe = "path: /healthz, interval: 100ms, unhealthyThreshold: 1";
    let gateway = Gateway::start(&probed(probe, &[&one])).await;
    becomes(&gateway, &one, "Up").await;
    let mut socket = open(&gateway).await;
    let mut slow = gateway.connect().await;
    slow.send(&Request::get("a.example", "/slow").behaviour("delay=1000,body=slow")).await.unwrap();
    until("the request at the backend", DEADLINE, || async { one.count("/slow") }, |count| *count == 1).await;
    one.set_health(false);
    becomes(&gateway, &one, "Down").await;
    assert_eq!(slow.response("GET").await.unwrap().text(), "slow");
    stays_open(&mut socket, WHILE).await;
    assert_eq!(socket.echo("!name").await.unwrap(), "one");
    none_closed(&gateway, 1).await;
}

#[tokio::test]
async fn another_port_can_answer_for_it() {
    let (one, sidecar) = (Backend::start("one").await, Backend::start("sidecar").await);
    let probe = format!("path: /healthz, port: {}, interval: 100ms, unhealthyThreshold: 1", sidecar.port());
    let gateway = Gateway::start(&probed(&probe, &[&one])).await;
    becomes(&gateway, &one, "Up").await;
    sidecar.set_health(false);
    becomes(&gateway, &one, "Down").await;
    assert_eq!((asked(&one, "/healthz"), gateway.who("a.example", "/").await.as_str()), (0, "502"));
}

#[tokio::test]
async fn a_new_probe_begins_anew_and_an_unchanged_one_goes_on() {
    let one = Backend::start("one").await;
    one.set_health(false);
    let probe = "path: /healthz, interval: 100ms, unhealthyThreshold: 1";
    let gateway = Gateway::start(&probed(probe, &[&one])).await;
    becomes(&gateway, &one, "Down").await;
    // Another rule comes: what is known of the endpoint stays.
    gateway.write(
        "more.yaml",
        &rule("more", "hostNames: [b.example]\nredirect: {type: Found, url: \"https://c.example\"}"),
    );
    gateway.wait_status("b.example", "/", 302).await;
    assert_eq!(gateway.who("a.example", "/").await, "502");
    gateway.replace(&probed("path: /ready, interval: 100ms, unhealthyThreshold: 1", &[&one]));
    becomes(&gateway, &one, "Up").await;
    let asked_before = asked(&one, "/healthz");
    until("more of the new probe", DEADLINE, || async { asked(&one, "/ready") }, |count| *count > 3).await;
    assert!(asked(&one, "/healthz") <= asked_before + 1, "the old probe has ended");
}

#[tokio::test]
async fn settings_with_the_same_probe_share_it() {
    let one = Backend::start("one").await;
    let spec = "backendSettings: [{name: sockets, probe: ready}, {name: others, probe: ready, requestTimeout: 1s}]\n\
                probes: [{name: ready, path: /healthz, interval: 100ms, unhealthyThreshold: 1}]";
    let others = "hostNames: [b.example]\nbackend: {services: [{name: app, port: 80}], settings: others}";
    let objects = [http_gateway(spec), rule_under_settings(), rule("others", others), service("app", &[&one])];
    let gateway = Gateway::start(&objects).await;
    let both = |status: &Value, wanted: &str| {
        let all = status["backends"].as_array().expect("a list");
        all.len() == 2 && all.iter().all(|backend| backend["health"] == wanted)
    };
    gateway.wait_for_status("both to be Up", |status| both(status, "Up")).await;
    one.set_health(false);
    gateway.wait_for_status("both to be Down", |status| both(status, "Down")).await;
    assert_eq!(gateway.who("a.example", "/").await, "502");
    assert_eq!(gateway.who("b.example", "/").await, "502");
    // Two probes would make twice as many requests as one counts under its labels.
    let counted = gateway.metrics().await.sum("penstock_probes_total", &[]);
    let labels = gateway.metrics().await.matching("penstock_probe_duration_seconds_count", &[]).count();
    let seen = f64::from(u32::try_from(asked(&one, "/healthz")).expect("not many"));
    assert!((counted - 1.0..=counted + 2.0).contains(&seen), "{seen} seen, {counted} counted");
    assert_eq!(labels, 1, "one probe counts under the labels of one of its users");
}

#[tokio::test]
async fn the_readiness_probe_of_a_pod_is_the_default() {
    let one = Backend::start("one").await;
    let port = one.port();
    let app = service("app", &[&one]).replace(
        "spec: {ports: [{port: 80}]}",
        &format!("spec: {{selector: {{app: web}}, ports: [{{port: 80, targetPort: {port}}}]}}"),
    );
    let pod = format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: web-1, namespace: edge, labels: {{app: web}}}}\nspec:\n  containers:\n  \
         - name: web\n    ports: [{{containerPort: {port}}}]\n    readinessProbe:\n      periodSeconds: 1\n      \
         failureThreshold: 1\n      httpGet: {{path: /pod-ready, port: {port}, host: pod.example, httpHeaders: [{{name: X-Token, value: abc}}, {{name: User-Agent, value: mine}}]}}\n\
         status: {{conditions: [{{type: Ready, status: \"True\"}}]}}\n"
    );
    let gateway = Gateway::start(&[http_gateway(""), rule_to("all", "app"), app, pod]).await;
    becomes(&gateway, &one, "Up").await;
    let requests = one.requests();
    let probe = requests.iter().find(|request| request.path() == "/pod-ready").expect("the Pod's probe");
    assert_eq!(probe.header("host"), Some("pod.example"));
    assert_eq!((probe.header("x-token"), probe.header("user-agent")), (Some("abc"), Some("mine")));
    one.behave("status=404");
    assert_eq!(becomes(&gateway, &one, "Down").await, "StatusMismatch: the answer was 404");
    one.behave("");
    becomes(&gateway, &one, "Up").await;
}

#[tokio::test]
async fn probes_of_one_endpoint_never_overlap() {
    let one = Backend::start("one").await;
    one.behave("delay=350");
    let probe = "path: /ready, interval: 100ms, timeout: 2s, unhealthyThreshold: 1";
    let gateway = Gateway::start(&probed(probe, &[&one])).await;
    let mut most = 0;
    let look = || async { (one.open(), asked(&one, "/ready")) };
    until("four probes", DEADLINE, look, |(open, count)| {
        most = most.max(*open);
        *count >= 4
    })
    .await;
    assert!(most <= 1, "{most} connections at once");
    assert_eq!(becomes(&gateway, &one, "Up").await, "");
    tokio::time::timeout(Duration::from_secs(5), gateway.get("a.example", "/x")).await.expect("an answer");
}

#[tokio::test]
async fn first_probes_are_spread_over_five_seconds() {
    let mut backends = Vec::new();
    for n in 0..12 {
        backends.push(Backend::start(&format!("b{n}")).await);
    }
    let spec = "probes: [{name: p, path: /alive, interval: 1m}]\nbackendSettings: [{name: s, probe: p}]\n";
    let objects = [
        http_gateway(spec),
        rule("all", "backend: {services: [{name: app, port: 80}], settings: s}"),
        service("app", &backends.iter().collect::<Vec<_>>()),
    ];
    let _gateway = Gateway::start(&objects).await;
    let (ready, mut first) = (Instant::now(), None);
    let probed = || async { backends.iter().filter(|backend| backend.count("/alive") > 0).count() };
    let all = |probed: &usize| {
        if *probed > 0 {
            first.get_or_insert_with(Instant::now);
        }
        *probed == backends.len()
    };
    until("every backend to be probed once", DEADLINE, probed, all).await;
    let (last, spread) = (ready.elapsed(), first.unwrap().elapsed());
    assert!(last < Duration::from_secs(7), "within 5 s, and not over the interval of a minute: {last:?}");
    // By chance all of them within one second: once in a million runs.
    assert!(spread > Duration::from_secs(1), "{spread:?}");
    assert_eq!(backends.iter().map(|backend| backend.count("/alive")).sum::<usize>(), backends.len(), "one each");
}
