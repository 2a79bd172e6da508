//! Several owners on one gateway: what a namespace may take of a host, a port, a Service or an address, and what it is told.

mod support;

use penstock_testkit::{Backend, Request};
use support::{Gateway, gateway, http_gateway, rule, service};

/// A rule of a namespace, created in this year, that sends clients to `https://NAMESPACE.test/`.
fn rule_of(namespace: &str, year: u32, spec: &str) -> String {
    format!(
        "apiVersion: penstock.dev/v1alpha1\nkind: RoutingRule\n\
         metadata: {{name: own, namespace: {namespace}, creationTimestamp: \"{year}-01-01T00:00:00Z\"}}\n\
         spec:\n  gatewayRef: {{name: shop, namespace: edge}}\n  redirect: {{type: Found, url: \"https://{namespace}.test/\"}}\n  {spec}\n"
    )
}

/// Where a client of this host is sent; empty: nowhere.
async fn sent_to(gateway: &Gateway, host: &str) -> String {
    gateway.get(host, "/").await.header("location").unwrap_or_default().to_owned()
}

async fn wait_sent_to(gateway: &Gateway, host: &str, location: &str) {
    let there = |answer: &penstock_testkit::Response| answer.header("location") == Some(location);
    gateway.wait_answer(location, &Request::get(host, "/"), there).await;
}

#[tokio::test]
async fn a_tenants_priority_counts_only_where_the_gateway_says_so() {
    let rules =
        [rule_of("edge", 2024, "hostNames: [a.example]"), rule_of("b", 2025, "priority: 1\n  hostNames: [a.example]")];
    let with = |allowed: &str| {
        let gateway = http_gateway(&format!("allowedRules: {{namespaces: {{from: All}}{allowed}}}"));
        [&[gateway][..], &rules].concat()
    };
    let gateway = Gateway::start(&with("")).await;
    gateway.wait_for_problem("NotAllowedByGateway", "takes no priority from namespace \"b\": remove priority 1").await;
    assert_eq!(sent_to(&gateway, "a.example").await, "https://edge.test/");
    gateway.replace(&with(", priority: All"));
    wait_sent_to(&gateway, "a.example", "https://b.test/").await;
}

#[tokio::test]
async fn the_first_namespace_keeps_its_hosts_and_what_its_wildcard_covers() {
    let shared = http_gateway("allowedRules: {namespaces: {from: All}, hosts: FirstNamespace}");
    let (old, wildcard) =
        (rule_of("c", 2023, "hostNames: [old.example]"), rule_of("a", 2024, "hostNames: ['*.example']"));
    let young = rule_of("b", 2025, "hostNames: [login.example, '*.example', b.test]");
    let gateway = Gateway::start(&[shared.clone(), old.clone(), wildcard, young.clone()]).await;
    gateway
        .wait_for_problem(
            "HostTaken",
            "host login.example belongs to namespace \"a\", whose rule for *.example is older",
        )
        .await;
    gateway
        .wait_for_problem("HostTaken", "host *.example belongs to namespace \"a\", whose rule for it is older")
        .await;
    assert_eq!(sent_to(&gateway, "login.example").await, "https://a.test/");
    assert_eq!(sent_to(&gateway, "old.example").await, "https://c.test/", "it was there before the wildcard");
    assert_eq!(sent_to(&gateway, "b.test").await, "https://b.test/", "the rest of the rule is in force");
    // The owner goes, and what it held is the next one's.
    gateway.replace(&[shared, old, young]);
    wait_sent_to(&gateway, "login.example", "https://b.test/").await;
    assert_eq!(gateway.status().await["problems"].as_array().map(Vec::len), Some(0));
}

#[tokio::test]
async fn a_service_of_another_namespace_needs_its_owners_grant() {
    let backend = Backend::start("apps").await;
    let gateway = Gateway::start(&[
        http_gateway(""),
        rule("all", "backend: {services: [{name: app, namespace: apps, port: 80}]}"),
        service("app", &[&backend]).replace("namespace: edge", "namespace: apps"),
    ])
    .await;
    gateway
        .wait_for_problem("RefNotPermitted", "Service apps/app is in another namespace: create a ReferenceGrant")
        .await;
    assert_eq!(gateway.get("a.example", "/denied").await.status, 502);
    let grant = "apiVersion: gateway.networking.k8s.io/v1beta1\nkind: ReferenceGrant\nmetadata: {name: edge, namespace: apps}\n\
                 spec: {from: [{group: penstock.dev, kind: RoutingRule, namespace: edge}], to: [{group: '', kind: Service, name: app}]}\n";
    gateway.write("grant.yaml", grant);
    gateway.wait_status("a.example", "/", 200).await;
    assert_eq!(backend.count("/denied"), 0);
    gateway.remove("grant.yaml");
    gateway.wait_status("a.example", "/", 502).await;
}

#[tokio::test]
async fn an_address_that_leads_into_the_node_gets_nothing() {
    let backend = Backend::start("one").await;
    let pool = format!("[{{host: 127.0.0.1, port: {}}}, {{host: 169.254.169.254, port: 80}}]", backend.addr().port());
    let gateway = Gateway::start(&[
        http_gateway(&format!("backendPools: [{{name: outside, addresses: {pool}}}]")),
        rule("all", "backend: {pool: outside}"),
    ])
    .await;
    gateway
        .wait_for_problem("AddressNotAllowed", "169.254.169.254 is a link-local address, which may not be a backend")
        .await;
    let mut seen = std::collections::BTreeMap::<String, usize>::new();
    for _ in 0..10 {
        *seen.entry(gateway.who("a.example", "/").await).or_default() += 1;
    }
    assert_eq!(seen, [("502".to_owned(), 5), ("one".to_owned(), 5)].into(), "its share is answered, not passed on");
}

#[tokio::test]
async fn a_port_and_host_that_another_listener_has_stay_with_it() {
    let of = |name: &str, year: u32, listeners: &str| {
        let spec = format!("allowedRules: {{namespaces: {{from: All}}}}\nlisteners: [{listeners}]");
        let named = format!("{{name: {name}, namespace: edge, creationTimestamp: \"{year}-01-01T00:00:00Z\"}}");
        gateway(&spec).replace("{name: shop, namespace: edge}", &named)
    };
    let listener =
        |name: &str, hosts: &str| format!("{{name: {name}, port: $http, protocol: HTTP, hostNames: [{hosts}]}}");
    let first = [listener("first", "a.example"), listener("again", "a.example")].join(", ");
    let second = [listener("taken", "A.example"), listener("own", "b.example")].join(", ");
    let late = rule_of("late", 2024, "").replace("{name: shop,", "{name: late,");
    let objects = [of("shop", 2023, &first), of("late", 2024, &second), rule_of("early", 2025, ""), late];
    let gateway = Gateway::start(&objects).await;
    for part in ["listeners[again] port", "listeners[taken] port"] {
        gateway.wait_for_problem("Conflicted", part).await;
    }
    gateway.wait_for_problem("Conflicted", "host a.example: listener edge/shop/first has it already").await;
    assert_eq!(sent_to(&gateway, "a.example").await, "https://early.test/");
    assert_eq!(
        sent_to(&gateway, "b.example").await,
        "https://late.test/",
        "the younger gateway keeps its other listener"
    );
    // The older one gives it up.
    gateway.replace(&[objects[1].clone(), objects[3].clone()]);
    wait_sent_to(&gateway, "a.example", "https://late.test/").await;
}
