//! Backends that are DNS names: of pools and of ExternalName Services. Names are asked of a server of the test's own.

mod support;

use std::collections::BTreeMap;
use std::net::SocketAddr;

use penstock_testkit::{Backend, Ca, DEADLINE, DnsMode, DnsServer, Request, WebSocket, client, until};
use serde_json::Value;
use support::{Gateway, http_gateway, rule};

const HOST: &str = "a.example";
const LOOKUPS: &str = "penstock_dns_lookups_total";
const FAILING: &str = "penstock_dns_names_failing";

/// Backends with one port on several addresses, as the addresses of a name have it.
async fn on_one_port<const N: usize>(names: [&str; N]) -> [Backend; N] {
    let mut all: Vec<Backend> = Vec::new();
    for (n, name) in (1_u8..).zip(names) {
        let port = all.first().map_or(0, Backend::port);
        all.push(Backend::bind(name, SocketAddr::from(([127, 0, 1, n], port)), None).await);
    }
    all.try_into().expect("one for each name")
}

/// A pool of these names at a port, under settings `s` with these fields.
fn pool(names: &[&str], port: u16, settings: &str) -> [String; 2] {
    let addresses: Vec<String> = names.iter().map(|name| format!("{{host: {name}, port: {port}}}")).collect();
    [
        http_gateway(&format!(
            "backendPools: [{{name: out, addresses: [{}]}}]\nbackendSettings: [{{name: s, {settings}}}]",
            addresses.join(", ")
        )),
        rule("all", "backend: {pool: out, settings: s}"),
    ]
}

const PLAIN: &str = "protocol: HTTP";

async fn start(dns: &DnsServer, objects: &[String]) -> Gateway {
    Gateway::start_with(&["--resolver", &dns.addr().to_string(), "--allow-external-name"], objects).await
}

/// How many of so many requests each backend answers; failures by status.
async fn who(gateway: &Gateway, requests: usize) -> BTreeMap<String, usize> {
    let mut seen = BTreeMap::new();
    for _ in 0..requests {
        *seen.entry(gateway.who(HOST, "/x").await).or_default() += 1;
    }
    seen
}

/// Asks on until a backend answers, and sees to it that nothing fails meanwhile.
async fn until_answers(gateway: &Gateway, name: &str) {
    let look = || async { gateway.who(HOST, "/x").await };
    let mut seen = Vec::new();
    until(&format!("an answer of {name}"), DEADLINE, look, |who| {
        seen.push(who.clone());
        who == name
    })
    .await;
    assert!(seen.iter().all(|who| who.parse::<u16>().is_err()), "only answers of backends: {seen:?}");
}

/// The row of a name in `/status`: its health and why.
fn row(status: &Value, address: &str) -> Option<(String, String)> {
    let rows = status["backends"].as_array()?;
    let row = rows.iter().find(|row| row["address"] == address)?;
    Some((row["health"].as_str()?.to_owned(), row["reason"].as_str()?.to_owned()))
}

#[tokio::test]
async fn a_name_is_resolved_before_the_process_is_ready_and_is_the_host_that_is_sent() {
    let (dns, backend) = (DnsServer::start().await, Backend::start("one").await);
    dns.alias("Legacy.example.net", "real.example.net", 300);
    dns.set("real.example.net", &["127.0.0.1"], 300);
    let gateway = start(&dns, &pool(&["legacy.example.net."], backend.port(), "pickHostNameFromBackend: true")).await;
    let answer = gateway.get(HOST, "/x").await;
    assert_eq!((answer.status, answer.header("x-backend")), (200, Some("one")));
    let host = answer.json()["headers"].as_array().and_then(|headers| {
        headers.iter().find(|header| header[0].as_str().is_some_and(|name| name.eq_ignore_ascii_case("host"))).cloned()
    });
    assert_eq!(host.expect("a Host")[1], "legacy.example.net");
    gateway.wait_metric(LOOKUPS, &[("result", "success")], 1.0).await;
    gateway.wait_metric(FAILING, &[], 0.0).await;
}

#[tokio::test]
async fn a_probe_over_tls_asks_for_the_name_where_nobody_says_another() {
    let (dns, ca) = (DnsServer::start().await, Ca::new("internal"));
    let backend = Backend::start_tls("one", &ca.server(&["legacy.example.net"])).await;
    dns.set("legacy.example.net", &["127.0.0.1"], 300);
    let settings = "protocol: HTTPS, probe: ready, tls: {caCertificateRefs: [{kind: ConfigMap, name: ca}]}";
    let mut objects = pool(&["legacy.example.net."], backend.port(), settings).to_vec();
    objects[0] += "  probes: [{name: ready, path: /healthz, interval: 100ms, unhealthyThreshold: 1}]\n";
    objects.push(ca.config_map_yaml("edge", "ca"));
    let gateway = start(&dns, &objects).await;
    let status = gateway.wait_for_status("up", |status| status["backends"][0]["health"] == "Up").await;
    assert_eq!(status["problems"], serde_json::json!([]));
}

#[tokio::test]
async fn another_address_takes_the_requests_and_the_first_one_drains() {
    let (dns, [one, two]) = (DnsServer::start().await, on_one_port(["one", "two"]).await);
    dns.set("moving.example.net", &["127.0.1.1"], 1);
    let gateway =
        start(&dns, &pool(&["moving.example.net"], one.port(), "connectionDraining: {timeout: 1h, spread: 0s}")).await;
    assert_eq!(gateway.who(HOST, "/x").await, "one");
    let mut socket = WebSocket::open(gateway.addr(), HOST, "/ws").await.expect("an open WebSocket");
    dns.set("moving.example.net", &["127.0.1.2"], 1);
    until_answers(&gateway, "two").await;
    assert_eq!(who(&gateway, 10).await, BTreeMap::from([("two".to_owned(), 10)]));
    assert_eq!(socket.echo("still there").await.expect("an echo"), "still there");
    let draining =
        |status: &Value| row(status, &one.addr().to_string()).is_some_and(|(health, _)| health == "Draining");
    gateway.wait_for_status("the first address to drain", draining).await;
    // One that comes back beside the other one.
    dns.set("moving.example.net", &["127.0.1.1", "127.0.1.2"], 1);
    until_answers(&gateway, "one").await;
    assert_eq!(who(&gateway, 10).await.values().collect::<Vec<_>>(), [&5, &5]);
    assert_eq!(two.count("/ws"), 0);
}

#[tokio::test]
async fn addresses_are_kept_while_dns_fails() {
    let (dns, [one, _two]) = (DnsServer::start().await, on_one_port(["one", "two"]).await);
    dns.set("kept.example.net", &["127.0.1.1"], 1);
    let gateway = start(&dns, &pool(&["kept.example.net"], one.port(), PLAIN)).await;
    let name = format!("kept.example.net:{}", one.port());
    for (mode, result, reason) in [
        (DnsMode::Fail, "failure", "LookupFailed: the server says SERVFAIL"),
        (DnsMode::Silent, "timeout", "LookupFailed: no answer in time"),
        (DnsMode::Answer, "not_found", "NotFound: there is no such name"),
    ] {
        dns.mode(mode);
        dns.remove("kept.example.net");
        let told = |status: &Value| row(status, &name) == Some(("Stale".to_owned(), reason.to_owned()));
        gateway.wait_for_status(reason, told).await;
        assert_eq!(who(&gateway, 5).await, BTreeMap::from([("one".to_owned(), 5)]), "{mode:?}");
        assert!(gateway.metrics().await.sum(LOOKUPS, &[("result", result)]) >= 1.0, "{result}");
        gateway.wait_metric(FAILING, &[], 1.0).await;
    }
    dns.set("kept.example.net", &["127.0.1.2"], 300);
    until_answers(&gateway, "two").await;
    gateway.wait_metric(FAILING, &[], 0.0).await;
    assert_eq!(row(&gateway.status().await, &name), None);
    let warnings = gateway.process.stderr().iter().filter(|line| line.contains("cannot be resolved")).count();
    assert_eq!(warnings, 3, "once for each change");
}

#[tokio::test]
async fn each_name_of_a_pool_has_the_same_share_and_is_asked_for_once() {
    let (dns, [one, _two, _three]) = (DnsServer::start().await, on_one_port(["one", "two", "three"]).await);
    dns.set("a.example.net", &["127.0.1.1"], 300);
    dns.set("b.example.net", &["127.0.1.2", "127.0.1.3"], 300);
    let port = one.port();
    let mut objects = pool(&["a.example.net", "b.example.net"], port, PLAIN).to_vec();
    objects.push(rule("other", "hostNames: [other.example]\nbackend: {pool: out}"));
    let gateway = start(&dns, &objects).await;
    let shares = [("one", 20), ("two", 10), ("three", 10)].map(|(name, share)| (name.to_owned(), share));
    assert_eq!(who(&gateway, 40).await, BTreeMap::from(shares));
    assert_eq!(gateway.get("other.example", "/x").await.status, 200);
    assert_eq!((dns.asked("a.example.net"), dns.asked("b.example.net")), (1, 1));
    // A name that joins has its share when it is known; one that leaves takes nothing from the others.
    dns.set("c.example.net", &["127.0.1.3"], 300);
    gateway.replace(&pool(&["b.example.net", "c.example.net"], port, PLAIN));
    until(
        "the share of the one that left",
        DEADLINE,
        || who(&gateway, 4),
        |seen| {
            assert!(seen.keys().all(|who| who.parse::<u16>().is_err()), "{seen:?}");
            *seen == BTreeMap::from([("two", 1), ("three", 3)].map(|(name, share)| (name.to_owned(), share)))
        },
    )
    .await;
    assert_eq!(dns.asked("b.example.net"), 1, "known before");
}

#[tokio::test]
async fn a_service_that_is_a_name_moves_without_a_failure() {
    let (dns, [one, _two]) = (DnsServer::start().await, on_one_port(["one", "two"]).await);
    dns.set("one.example.net", &["127.0.1.1"], 300);
    dns.set("two.example.net", &["127.0.1.2"], 300);
    let objects = |name: &str| {
        [
            http_gateway(""),
            rule("all", &format!("backend: {{services: [{{name: out, port: {}}}]}}", one.port())),
            format!(
                "apiVersion: v1\nkind: Service\nmetadata: {{name: out, namespace: edge}}\n\
                 spec: {{type: ExternalName, externalName: {name}}}\n"
            ),
        ]
    };
    let gateway = start(&dns, &objects("one.example.net")).await;
    assert_eq!(gateway.who(HOST, "/x").await, "one");
    gateway.replace(&objects("two.example.net"));
    until_answers(&gateway, "two").await;
    // As long as nothing is known of the next one.
    dns.mode(DnsMode::Fail);
    gateway.replace(&objects("three.example.net"));
    let name = format!("three.example.net:{}", one.port());
    let told = |status: &Value| row(status, &name).is_some_and(|(health, _)| health == "Unresolved");
    gateway.wait_for_status("the name that cannot be resolved", told).await;
    gateway.wait_status(HOST, "/x", 502).await;
}

#[tokio::test]
async fn dns_that_is_down_at_the_start_costs_the_rest_nothing() {
    let (dns, backend) = (DnsServer::start().await, Backend::start("one").await);
    dns.mode(DnsMode::Silent);
    let mut objects = pool(&["late.example.net"], backend.port(), PLAIN).to_vec();
    objects.push(rule("else", "hostNames: [else.example]\nbackend: {services: [{name: app, port: 80}]}"));
    objects.push(support::service("app", &[&backend]));
    let mut gateway = Gateway::starting(&["--resolver", &dns.addr().to_string()], &objects);
    let starting = "starting: the first answers about DNS names of backends";
    let ready = || async { client::get(gateway.admin(), "admin", "/readyz").await.map(|answer| answer.text()).ok() };
    until(starting, DEADLINE, ready, |answer| answer.as_ref().is_some_and(|text| text.contains(starting))).await;
    assert_eq!(gateway.get("else.example", "/x").await.status, 200, "what needs no name is served");
    let admin = gateway.admin();
    gateway.process.wait_ready(admin, DEADLINE).await;
    assert_eq!(gateway.get(HOST, "/x").await.status, 502);
    dns.set("late.example.net", &["127.0.0.1"], 300);
    dns.mode(DnsMode::Answer);
    gateway.wait_status(HOST, "/x", 200).await;
}

#[tokio::test]
async fn a_name_leads_nowhere_where_an_address_may_not() {
    let (dns, backend) = (DnsServer::start().await, Backend::start("one").await);
    dns.set("metadata.example.net", &["169.254.169.254", "::ffff:169.254.169.254", "0.0.0.0"], 1);
    let gateway = start(&dns, &pool(&["metadata.example.net"], backend.port(), PLAIN)).await;
    assert_eq!(gateway.get(HOST, "/x").await.status, 502);
    let name = format!("metadata.example.net:{}", backend.port());
    let (health, reason) = row(&gateway.status().await, &name).expect("a row");
    assert_eq!(health, "Unresolved");
    assert!(reason.starts_with("AddressNotAllowed: "), "{reason}");
    // Beside others it is left out.
    dns.set("metadata.example.net", &["169.254.169.254", "127.0.0.1"], 1);
    gateway.wait_status(HOST, "/x", 200).await;
    let status = gateway.status().await;
    let backends = status["backends"].as_array().expect("a list");
    assert_eq!(backends.len(), 1, "{backends:?}");
    assert_eq!(backends[0]["address"], backend.addr().to_string());
}

#[tokio::test]
async fn tls_is_asked_for_and_checked_by_the_name() {
    let (dns, ca) = (DnsServer::start().await, Ca::new("internal"));
    let backend = Backend::start_tls("one", &ca.server(&["secure.example.net"])).await;
    dns.set("secure.example.net", &["127.0.0.1"], 300);
    dns.set("other.example.net", &["127.0.0.1"], 300);
    let trusted =
        "protocol: HTTPS, pickHostNameFromBackend: true, tls: {caCertificateRefs: [{kind: ConfigMap, name: ca}]}";
    let objects = |name: &str| {
        let mut objects = pool(&[name], backend.port(), trusted).to_vec();
        objects.push(ca.config_map_yaml("edge", "ca"));
        objects
    };
    let gateway = start(&dns, &objects("secure.example.net")).await;
    assert_eq!(gateway.who(HOST, "/x").await, "one");
    gateway.replace(&objects("other.example.net"));
    // Before there is an answer about the other name, nobody is healthy.
    let ask = || async { gateway.send(&Request::get(HOST, "/x")).await.text() };
    until("no TLS", DEADLINE, ask, |text| text.trim() == "502 Bad Gateway: no TLS with the backend").await;
}
