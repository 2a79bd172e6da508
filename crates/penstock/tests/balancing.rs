//! Which backend of a pool gets a request: round robin over endpoints, exact weights over Services, and places that stay
//! where they are when what they name is not there.

mod support;

use std::collections::BTreeMap;
use std::net::SocketAddr;

use penstock_testkit::{Backend, Connection, Request, WebSocket};
use support::{Gateway, http_gateway, rule, rule_to, service, service_at};

const HOST: &str = "a.example";

async fn backends(count: usize) -> Vec<Backend> {
    let mut backends = Vec::new();
    for n in 0..count {
        backends.push(Backend::start(&format!("b{n}")).await);
    }
    backends
}

/// Who answers so many requests: backends by name, failures by status.
async fn who(gateway: &Gateway, requests: usize) -> BTreeMap<String, usize> {
    let mut connection = gateway.connect().await;
    let mut seen = BTreeMap::new();
    for _ in 0..requests {
        let answer = connection.exchange(&Request::get(HOST, "/x")).await.expect("an answer");
        let name = answer.header("x-backend").map_or_else(|| answer.status.to_string(), str::to_owned);
        *seen.entry(name).or_default() += 1;
    }
    seen
}

fn counts<const N: usize>(expected: [(&str, usize); N]) -> BTreeMap<String, usize> {
    expected.into_iter().map(|(name, count)| (name.to_owned(), count)).collect()
}

#[tokio::test]
async fn endpoints_take_turns() {
    let all = backends(3).await;
    let gateway =
        Gateway::start(&[http_gateway(""), rule_to("all", "app"), service("app", &all.iter().collect::<Vec<_>>())])
            .await;
    assert_eq!(who(&gateway, 30).await, counts([("b0", 10), ("b1", 10), ("b2", 10)]));
    // Whatever connection they come on.
    let mut seen = BTreeMap::new();
    for _ in 0..9 {
        *seen.entry(gateway.who(HOST, "/x").await).or_default() += 1;
    }
    assert_eq!(seen, counts([("b0", 3), ("b1", 3), ("b2", 3)]));
}

#[tokio::test]
async fn weights_over_services_are_exact() {
    let all = backends(3).await;
    let weighted = "backend:\n  services:\n  - {name: most, port: 80, weight: 9}\n  - {name: canary, port: 80, weight: 1}\n  \
                    - {name: never, port: 80, weight: 0}\n";
    let gateway = Gateway::start(&[
        http_gateway(""),
        rule("all", weighted),
        service("most", &[&all[0]]),
        service("canary", &[&all[1]]),
        service("never", &[&all[2]]),
    ])
    .await;
    for turn in 0..10 {
        assert_eq!(who(&gateway, 10).await, counts([("b0", 9), ("b1", 1)]), "turn {turn}");
    }
}

#[tokio::test]
async fn a_weight_is_the_services_however_many_endpoints_it_has() {
    let all = backends(4).await;
    let equal = "backend: {services: [{name: large, port: 80}, {name: small, port: 80}]}";
    let gateway = Gateway::start(&[
        http_gateway(""),
        rule("all", equal),
        service("large", &[&all[0], &all[1], &all[2]]),
        service("small", &[&all[3]]),
    ])
    .await;
    assert_eq!(who(&gateway, 12).await, counts([("b0", 2), ("b1", 2), ("b2", 2), ("b3", 6)]));
}

#[tokio::test]
async fn what_is_not_there_keeps_its_weight() {
    let all = backends(1).await;
    let mixed = |other: &str| {
        let services = format!("[{{name: app, port: 80, weight: 3}}, {other}]");
        rule("all", &format!("backend: {{services: {services}}}"))
    };
    for (what, other) in [
        ("no such Service", "{name: missing, port: 80, weight: 1}"),
        ("no such port", "{name: app, port: 81, weight: 1}"),
        ("no such port name", "{name: app, port: metrics, weight: 1}"),
        ("no grant", "{name: app, namespace: elsewhere, port: 80, weight: 1}"),
    ] {
        let gateway = Gateway::start(&[http_gateway(""), mixed(other), service("app", &[&all[0]])]).await;
        assert_eq!(who(&gateway, 20).await, counts([("502", 5), ("b0", 15)]), "{what}");
    }
}

#[tokio::test]
async fn a_service_without_endpoints_leaves_its_turn_to_the_others() {
    let all = backends(1).await;
    let both = "backend: {services: [{name: app, port: 80}, {name: empty, port: 80, weight: 9}]}";
    let objects = [http_gateway(""), rule("all", both), service("app", &[&all[0]]), service_at("empty", &[])];
    let gateway = Gateway::start(&objects).await;
    assert_eq!(who(&gateway, 10).await, counts([("b0", 10)]));
}

#[tokio::test]
async fn a_weight_of_zero_takes_nothing_whatever_becomes_of_the_others() {
    let all = backends(2).await;
    let services = "services: [{name: empty, port: 80}, {name: failing, port: 80}, {name: zero, port: 80, weight: 0}]";
    let settings = "inlineSettings: {retry: {attempts: 3}, outlierDetection: {consecutive5xxErrors: 0}}";
    all[0].behave("close=before");
    let objects = [
        http_gateway(""),
        rule("all", &format!("backend: {{{services}, {settings}}}")),
        service_at("empty", &[]),
        service("failing", &[&all[0]]),
        service("zero", &[&all[1]]),
    ];
    let gateway = Gateway::start(&objects).await;
    assert_eq!(who(&gateway, 8).await, counts([("502", 8)]), "there is nobody else to try");
    let [edge, rule, empty, _, zero] = objects;
    gateway.replace(&[edge, rule, empty, service_at("failing", &[]), zero]);
    gateway.wait_metric("penstock_backend_up", &[], 1.0).await;
    assert_eq!(who(&gateway, 8).await, counts([("502", 8)]), "there is nobody else");
    assert_eq!(all[1].count("/x"), 0);
}

#[tokio::test]
async fn a_pool_without_anybody_is_502() {
    let paths = "paths:\n- {paths: [/missing], backend: {services: [{name: missing, port: 80}]}}\n\
                 - {paths: [/empty], backend: {services: [{name: empty, port: 80}]}}\n\
                 - {paths: [/zero], backend: {services: [{name: empty, port: 80, weight: 0}]}}\n\
                 - {paths: [/pool], backend: {pool: nobody}}\n\
                 - {paths: [/unknown], backend: {pool: unknown}}\n\
                 - {paths: [/settings], backend: {pool: nobody, settings: unknown}}\n";
    let gateway = Gateway::start(&[
        http_gateway("backendPools: [{name: nobody}]\n"),
        rule("all", paths),
        service_at("empty", &[]),
    ])
    .await;
    for path in ["/missing", "/empty", "/zero", "/pool", "/unknown", "/settings"] {
        assert_eq!(gateway.get(HOST, path).await.status, 502, "{path}");
    }
}

#[tokio::test]
async fn a_shared_pool_has_services_and_addresses() {
    let all = backends(3).await;
    let address = |backend: &Backend| format!("{{host: 127.0.0.1, port: {}}}", backend.port());
    let pool = format!(
        "backendPools:\n- name: shared\n  services: [{{name: app, port: 80}}]\n  addresses: [{}, {}]\n",
        address(&all[1]),
        address(&all[2])
    );
    let gateway =
        Gateway::start(&[http_gateway(&pool), rule("all", "backend: {pool: shared}"), service("app", &[&all[0]])])
            .await;
    let seen = who(&gateway, 12).await;
    assert_eq!(seen.keys().collect::<Vec<_>>(), ["b0", "b1", "b2"], "{seen:?}");
    assert_eq!(seen["b1"], seen["b2"], "{seen:?}");
}

#[tokio::test]
async fn endpoints_come_and_go_without_an_error() {
    let all = backends(3).await;
    let objects = |now: &[&Backend]| [http_gateway(""), rule_to("all", "app"), service("app", now)];
    let gateway = Gateway::start(&objects(&[&all[0]])).await;
    assert_eq!(who(&gateway, 4).await, counts([("b0", 4)]));
    for (now, names) in [(vec![0, 1, 2], vec!["b0", "b1", "b2"]), (vec![2], vec!["b2"]), (vec![0, 1], vec!["b0", "b1"])]
    {
        gateway.replace(&objects(&now.iter().map(|&n| &all[n]).collect::<Vec<_>>()));
        gateway
            .wait_for_status("the endpoints in /status", |status| {
                let backends = status["backends"].as_array().cloned().unwrap_or_default();
                let here: Vec<SocketAddr> = backends
                    .iter()
                    .filter(|backend| backend["health"] != "Draining")
                    .filter_map(|backend| backend["address"].as_str()?.parse().ok())
                    .collect();
                here.len() == now.len() && now.iter().all(|&n| here.contains(&all[n].addr()))
            })
            .await;
        let seen = who(&gateway, 6 * now.len()).await;
        assert_eq!(seen.keys().collect::<Vec<_>>(), names, "{seen:?}");
        assert!(seen.values().all(|&count| count == 6), "{seen:?}");
    }
}

#[tokio::test]
async fn an_endpoint_that_is_not_ready_gets_nothing() {
    let all = backends(3).await;
    let mut objects = service("app", &[&all[0], &all[1], &all[2]]);
    for state in ["ready: true", "ready: false", "ready: true, serving: true, terminating: true"] {
        let conditions = format!("{{conditions: {{{state}}}, addresses: [127.0.0.1]}}");
        objects = objects.replacen("{addresses: [127.0.0.1]}", &conditions, 1);
    }
    let gateway = Gateway::start(&[http_gateway(""), rule_to("all", "app"), objects]).await;
    assert_eq!(who(&gateway, 6).await, counts([("b0", 6)]));
}

/// A pool under settings with this `loadBalancing`.
fn balanced(how: &str, all: &[&Backend]) -> [String; 3] {
    [
        http_gateway(&format!("backendSettings: [{{name: s, loadBalancing: {how}}}]")),
        rule("all", "backend: {services: [{name: app, port: 80}], settings: s}"),
        service("app", all),
    ]
}

#[tokio::test]
async fn least_connections_counts_websockets_for_as_long_as_they_live() {
    let all = backends(3).await;
    let gateway = Gateway::start(&balanced("LeastConnections", &all.iter().collect::<Vec<_>>())).await;
    let mut sockets = Vec::new();
    for _ in 0..8 {
        sockets.push(WebSocket::open(gateway.addr(), HOST, "/ws").await.expect("an open WebSocket"));
    }
    let open: Vec<usize> = all.iter().map(Backend::websockets).collect();
    assert_eq!(open.iter().sum::<usize>(), 8);
    assert!(open.iter().all(|count| (2..=3).contains(count)), "evenly: {open:?}");
    // Two have three: everything goes to the third while they live.
    let least = open.iter().position(|count| *count == 2).expect("8 = 3 + 3 + 2");
    assert_eq!(who(&gateway, 10).await, counts([(all[least].name(), 10)]));
    drop(sockets);
    gateway.wait_metric("penstock_websocket_open", &[], 0.0).await;
    assert_eq!(who(&gateway, 30).await.len(), 3, "all take turns again");
}

#[tokio::test]
async fn ip_hash_keeps_a_client_on_its_backend_and_spreads_clients() {
    let all = backends(3).await;
    let gateway = Gateway::start(&balanced("IpHash", &all.iter().collect::<Vec<_>>())).await;
    let mut seen = BTreeMap::<String, usize>::new();
    for client in 1..=60 {
        let mut names = std::collections::BTreeSet::new();
        for _ in 0..3 {
            let mut connection =
                Connection::open_from([127, 0, 1, client].into(), gateway.addr()).await.expect("a connection");
            let answer = connection.exchange(&Request::get(HOST, "/x")).await.expect("an answer");
            names.insert(answer.header("x-backend").expect("a backend's answer").to_owned());
        }
        assert_eq!(names.len(), 1, "127.0.1.{client} moved: {names:?}");
        *seen.entry(names.into_iter().next().expect("one")).or_default() += 1;
    }
    assert!(seen.len() == 3 && seen.values().all(|clients| *clients >= 8), "{seen:?}");
}

#[tokio::test]
async fn ip_hash_tells_clients_apart_behind_a_trusted_proxy() {
    let all = backends(3).await;
    let objects = balanced("IpHash", &all.iter().collect::<Vec<_>>());
    let gateway = Gateway::start_with(&["--trusted-proxies", "127.0.0.0/8,10.0.0.0/8"], &objects).await;
    let from = |list: String| {
        let request = Request::get(HOST, "/x").with("X-Forwarded-For", &list);
        let gateway = &gateway;
        async move { gateway.send(&request).await.header("x-backend").expect("a backend's answer").to_owned() }
    };
    let mut seen = BTreeMap::<String, usize>::new();
    for client in 1..=60 {
        let name = from(format!("192.0.2.{client}")).await;
        // Who stands further left is the client's own word; a proxy behind it is no client, and a port none either.
        for list in [format!("1.1.1.1, 192.0.2.{client}:4711,10.0.0.9"), format!("x, [::ffff:192.0.2.{client}]:1")] {
            assert_eq!(from(list.clone()).await, name, "{list}");
        }
        *seen.entry(name).or_default() += 1;
    }
    assert!(seen.len() == 3 && seen.values().all(|clients| *clients >= 8), "{seen:?}");
}
