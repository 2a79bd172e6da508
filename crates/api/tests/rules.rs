//! Every CEL rule and every pattern: one object that it takes, one that it refuses.
#![allow(clippy::needless_pass_by_value, reason = "small builders read better with json! at the call")]

mod common;

use common::{gateway, gateways, rule, rules};
use penstock_api::schema::Checker;
use serde_json::{Value, json};

fn listener(parts: Value) -> Value {
    let mut listener =
        json!({"name": "a", "port": 443, "protocol": "HTTPS", "tls": {"certificateRefs": [{"name": "c"}]}});
    for (key, value) in parts.as_object().expect("an object") {
        listener[key] = value.clone();
    }
    gateway(&json!({"listeners": [listener]}))
}

fn settings(mut parts: Value) -> Value {
    parts["name"] = json!("s");
    gateway(&json!({"backendSettings": [parts]}))
}

fn probe(mut parts: Value) -> Value {
    parts["name"] = json!("p");
    gateway(&json!({"probes": [parts]}))
}

fn to(backend: Value) -> Value {
    rule(&json!({"backend": backend}))
}

fn path(parts: Value) -> Value {
    let mut path = json!({"paths": ["/a"], "backend": {"pool": "p"}});
    for (key, value) in parts.as_object().expect("an object") {
        path[key] = value.clone();
        if value.is_null() {
            path.as_object_mut().expect("an object").remove(key);
        }
    }
    rule(&json!({"paths": [path]}))
}

/// Asserts that the first is taken, and that the second is refused by exactly this message at exactly this path.
#[track_caller]
fn accepts_and_refuses(checker: &Checker, good: &Value, bad: &Value, path: &str, message: &str) {
    assert_eq!(checker.check(good), [], "must be accepted: {good}");
    let found = checker.check(bad);
    assert!(
        found.len() == 1 && found[0].path == path && found[0].message.contains(message),
        "wanted {path}: ... {message}, got {found:#?}"
    );
}

#[track_caller]
fn gw(good: &Value, bad: &Value, path: &str, message: &str) {
    accepts_and_refuses(gateways(), good, bad, path, message);
}

#[track_caller]
fn rr(good: &Value, bad: &Value, path: &str, message: &str) {
    accepts_and_refuses(rules(), good, bad, path, message);
}

#[test]
fn tls_goes_with_https_and_only_with_it() {
    gw(
        &listener(json!({})),
        &listener(json!({"protocol": "HTTP"})),
        "spec.listeners[0]",
        "tls goes with protocol HTTPS",
    );
    gw(&listener(json!({})), &listener(json!({"tls": null})), "spec.listeners[0]", "tls goes with protocol HTTPS");
}

#[test]
fn a_tls_policy_is_a_name_or_spelt_out() {
    let policy = |policy: Value| listener(json!({"tls": {"certificateRefs": [{"name": "c"}], "policy": policy}}));
    let (name, spelt) = (
        json!({"name": "AppGwSslPolicy20220101S"}),
        json!({"minProtocolVersion": "TLSv1_3", "cipherSuites": ["TLS_AES_128_GCM_SHA256"]}),
    );
    let both = json!({"name": "AppGwSslPolicy20220101S", "minProtocolVersion": "TLSv1_3"});
    gw(&policy(name), &policy(both), "spec.listeners[0].tls.policy", "give either name");
    gw(&policy(spelt), &policy(json!({})), "spec.listeners[0].tls.policy", "give either name");
}

#[test]
fn strict_client_certificates_need_an_authority() {
    let auth = |auth: Value| listener(json!({"tls": {"certificateRefs": [{"name": "c"}], "clientAuth": auth}}));
    let at = "spec.listeners[0].tls.clientAuth";
    gw(
        &auth(json!({"mode": "Strict", "caCertificateRefs": [{"name": "ca"}]})),
        &auth(json!({})),
        at,
        "mode Strict needs",
    );
    gw(&auth(json!({"mode": "Passthrough"})), &auth(json!({"caCertificateRefs": []})), at, "mode Strict needs");
}

#[test]
fn a_subject_alternative_name_has_what_goes_with_its_type() {
    let named = |name: Value| settings(json!({"protocol": "HTTPS", "tls": {"subjectAltNames": [name]}}));
    let hostname = json!({"type": "Hostname", "hostname": "web.internal"});
    let uri = json!({"type": "URI", "uri": "spiffe://mesh/ns/app/sa/web"});
    let at = "spec.backendSettings[0].tls.subjectAltNames[0]";
    gw(&named(hostname), &named(json!({"type": "Hostname"})), at, "type Hostname goes with hostname");
    gw(&named(uri.clone()), &named(json!({"type": "URI"})), at, "type URI goes with uri");
    let both = json!({"type": "URI", "uri": "spiffe://mesh/web", "hostname": "web.internal"});
    gw(&named(uri.clone()), &named(both), at, "type Hostname goes with hostname");
    let no_scheme = json!({"type": "URI", "uri": "mesh/web"});
    gw(&named(uri), &named(no_scheme), &format!("{at}.uri"), "");
}

#[test]
fn host_patterns_are_azures() {
    for host in
        ["a", "shop.example.com", "*.example.com", "shop?.example.*", "*", "Shop.Example.Com.", "xn--bcher-kva.example"]
    {
        let bad = listener(json!({"hostNames": ["a b"]}));
        gw(&listener(json!({"hostNames": [host]})), &bad, "spec.listeners[0].hostNames[0]", "must match");
    }
    for host in ["http://a", "a:80", ".a", "a..b", "-a", "a/b"] {
        rr(
            &rule(&json!({"hostNames": ["a.b"]})),
            &rule(&json!({"hostNames": [host]})),
            "spec.hostNames[0]",
            "must match",
        );
    }
}

#[test]
fn fields_of_the_service_fit_its_type() {
    let service = |service: Value| gateway(&json!({"service": service}));
    gw(
        &service(json!({"loadBalancerClass": "x"})),
        &service(json!({"type": "NodePort", "loadBalancerClass": "x"})),
        "spec.service",
        "loadBalancerClass needs",
    );
    gw(
        &service(json!({"loadBalancerSourceRanges": ["10.0.0.0/8"]})),
        &service(json!({"type": "NodePort", "loadBalancerSourceRanges": ["10.0.0.0/8"]})),
        "spec.service",
        "loadBalancerSourceRanges needs",
    );
    gw(
        &service(json!({"type": "NodePort", "externalTrafficPolicy": "Local"})),
        &service(json!({"type": "ClusterIP", "externalTrafficPolicy": "Local"})),
        "spec.service",
        "externalTrafficPolicy needs",
    );
}

#[test]
fn a_selector_goes_with_from_selector() {
    let namespaces = |namespaces: Value| gateway(&json!({"allowedRules": {"namespaces": namespaces}}));
    let (at, selector) = ("spec.allowedRules.namespaces", json!({"matchLabels": {"edge": "true"}}));
    gw(
        &namespaces(json!({"from": "Selector", "selector": selector})),
        &namespaces(json!({"selector": selector})),
        at,
        "selector goes with",
    );
    gw(&namespaces(json!({"from": "All"})), &namespaces(json!({"from": "Selector"})), at, "selector goes with");
}

#[test]
fn probes_that_settings_name_exist() {
    let good = gateway(&json!({"probes": [{"name": "p"}], "backendSettings": [{"name": "s", "probe": "p"}]}));
    gw(&good, &settings(json!({"probe": "p"})), "spec", "must be one of probes");
}

#[test]
fn durations_have_limits() {
    let at = |field: &str| format!("spec.backendSettings[0].{field}");
    for (field, longest, longer) in
        [("requestTimeout", "24h", "24h1s"), ("connectTimeout", "0s", "25h"), ("streamIdleTimeout", "1440m", "1441m")]
    {
        gw(&settings(json!({field: longest})), &settings(json!({field: longer})), &at(field), "must be at most 24h");
    }
    for field in ["idleTimeout", "maxDuration"] {
        gw(
            &settings(json!({"webSocket": {field: "168h"}})),
            &settings(json!({"webSocket": {field: "169h"}})),
            &at(&format!("webSocket.{field}")),
            "must be at most 168h",
        );
    }
    let draining = |draining: Value| settings(json!({"connectionDraining": draining}));
    gw(
        &draining(json!({"timeout": "1h"})),
        &draining(json!({"timeout": "61m"})),
        &at("connectionDraining.timeout"),
        "must be at most 1h",
    );
    gw(
        &draining(json!({"timeout": "1h", "spread": "1h"})),
        &draining(json!({"spread": "31s"})),
        &at("connectionDraining"),
        "spread is the last part",
    );
    gw(
        &settings(json!({"limits": {"maxConnections": 1, "maxPendingRequests": 0}})),
        &settings(json!({"limits": {"maxPendingRequests": 0}})),
        &at("limits"),
        "give maxConnections, too",
    );
    gw(
        &settings(json!({"outlierDetection": {"baseEjectionTime": "1h"}})),
        &settings(json!({"outlierDetection": {"baseEjectionTime": "61m"}})),
        &at("outlierDetection.baseEjectionTime"),
        "must be at most 1h",
    );
    gw(
        &settings(json!({"slowStart": {"window": "1h"}})),
        &settings(json!({"slowStart": {"window": "61m"}})),
        &at("slowStart.window"),
        "must be from 1s to 1h",
    );
    gw(&settings(json!({})), &settings(json!({"requestTimeout": "1 minute"})), &at("requestTimeout"), "must match");
    for field in ["interval", "timeout"] {
        for wrong in ["99ms", "25h"] {
            gw(
                &probe(json!({field: "100ms"})),
                &probe(json!({field: wrong})),
                &format!("spec.probes[0].{field}"),
                "must be from 100ms to 24h",
            );
        }
    }
}

#[test]
fn a_spread_has_a_limit_of_its_own() {
    let found = gateways().check(&settings(json!({"connectionDraining": {"timeout": "1h", "spread": "2h"}})));
    assert!(
        found.iter().any(|v| v.path.ends_with("connectionDraining.spread") && v.message.contains("at most 1h")),
        "{found:?}"
    );
}

#[test]
fn host_name_or_the_backends_own() {
    let good = settings(json!({"hostName": "a", "pickHostNameFromBackend": false}));
    gw(
        &good,
        &settings(json!({"hostName": "a", "pickHostNameFromBackend": true})),
        "spec.backendSettings[0]",
        "not both",
    );
}

#[test]
fn slow_start_or_the_clients_address() {
    let slow = |balancing: &str| settings(json!({"slowStart": {"window": "30s"}, "loadBalancing": balancing}));
    gw(
        &slow("LeastConnections"),
        &slow("IpHash"),
        "spec.backendSettings[0]",
        "remove it, or use another loadBalancing",
    );
}

#[test]
fn settings_path_has_no_wildcard() {
    gw(
        &settings(json!({"path": "/v2/"})),
        &settings(json!({"path": "/v2/*"})),
        "spec.backendSettings[0].path",
        "must match",
    );
}

#[test]
fn status_codes_are_codes_or_rising_ranges() {
    let codes = |code: &str| probe(json!({"match": {"statusCodes": [code]}}));
    gw(&codes("204"), &codes("2xx"), "spec.probes[0].match.statusCodes[0]", "must match");
    gw(&codes("200-200"), &codes("399-200"), "spec.probes[0].match.statusCodes", "from the lower code");
}

#[test]
fn a_rewrite_does_something() {
    let actions = |actions: Value| {
        gateway(&json!({"rewriteRuleSets": [{"name": "s", "rules": [{"name": "r", "actions": actions}]}]}))
    };
    let at = "spec.rewriteRuleSets[0].rules[0].actions";
    gw(
        &actions(json!({"responseHeaders": [{"name": "Server"}]})),
        &actions(json!({})),
        at,
        "give at least one of requestHeaders",
    );
    gw(
        &actions(json!({"url": {"queryString": ""}})),
        &actions(json!({"url": {}})),
        &format!("{at}.url"),
        "give at least one of path",
    );
    gw(
        &actions(json!({"requestHeaders": [{"name": "X-A", "value": "1"}]})),
        &actions(json!({"requestHeaders": [{"name": "X A"}]})),
        &format!("{at}.requestHeaders[0].name"),
        "must match",
    );
    gw(
        &actions(json!({"requestHeaders": [{"name": "X-A", "value": "1", "append": true}]})),
        &actions(json!({"requestHeaders": [{"name": "X-A", "append": true}]})),
        &format!("{at}.requestHeaders[0]"),
        "append needs a value",
    );
}

#[test]
fn names_in_list_maps_are_unique() {
    let twice = gateway(
        &json!({"listeners": [{"name": "a", "port": 80, "protocol": "HTTP"}, {"name": "a", "port": 81, "protocol": "HTTP"}]}),
    );
    gw(&gateway(&json!({})), &twice, "spec.listeners[1]", "has the same name");
    for list in ["backendPools", "backendSettings", "probes"] {
        let twice = gateway(&json!({list: [{"name": "a"}, {"name": "a"}]}));
        gw(
            &gateway(&json!({list: [{"name": "a"}, {"name": "b"}]})),
            &twice,
            &format!("spec.{list}[1]"),
            "has the same name",
        );
    }
}

#[test]
fn a_backend_is_a_pool_or_services() {
    let service = json!([{"name": "s", "port": "http"}]);
    rr(
        &to(json!({"pool": "p"})),
        &to(json!({"pool": "p", "services": service})),
        "spec.backend",
        "exactly one of pool and services",
    );
    rr(
        &to(json!({"services": service})),
        &to(json!({"services": []})),
        "spec.backend",
        "exactly one of pool and services",
    );
}

#[test]
fn settings_are_named_or_inline() {
    let good = to(json!({"pool": "p", "inlineSettings": {"requestTimeout": "0s"}}));
    rr(
        &good,
        &to(json!({"pool": "p", "settings": "s", "inlineSettings": {}})),
        "spec.backend",
        "settings or inlineSettings",
    );
    rr(
        &to(json!({"pool": "p", "settings": "s"})),
        &to(json!({"pool": "p", "inlineSettings": {"requestTimeout": "25h"}})),
        "spec.backend.inlineSettings.requestTimeout",
        "at most 24h",
    );
}

#[test]
fn a_request_goes_to_a_backend_or_a_redirect() {
    let (backend, redirect) = (json!({"pool": "p"}), json!({"type": "Found", "listener": "l"}));
    rr(
        &rule(&json!({"redirect": redirect})),
        &rule(&json!({"backend": backend, "redirect": redirect})),
        "spec",
        "not both",
    );
    rr(&path(json!({})), &path(json!({"redirect": redirect})), "spec.paths[0]", "exactly one of backend and redirect");
    rr(&rule(&json!({})), &path(json!({"backend": null})), "spec.paths[0]", "exactly one of backend and redirect");
}

#[test]
fn a_redirect_goes_to_a_listener_or_a_url() {
    let redirect = |mut target: Value| {
        target["type"] = json!("Found");
        rule(&json!({"redirect": target}))
    };
    rr(
        &redirect(json!({"url": "https://a.example/x?y"})),
        &redirect(json!({"listener": "l", "url": "https://a"})),
        "spec.redirect",
        "exactly one of listener and url",
    );
    rr(&redirect(json!({"listener": "l"})), &redirect(json!({})), "spec.redirect", "exactly one of listener and url");
    rr(
        &redirect(json!({"url": "http://a"})),
        &redirect(json!({"url": "/relative"})),
        "spec.redirect.url",
        "must match",
    );
}

#[test]
fn paths_start_with_a_slash_and_have_a_star_only_at_the_end() {
    for wrong in ["a", "/a*b", "/a**", "*", "/a?b"] {
        rr(
            &path(json!({"paths": ["/", "/*", "/images/*", "/static*"]})),
            &path(json!({"paths": [wrong]})),
            "spec.paths[0].paths[0]",
            "must match",
        );
    }
}

#[test]
fn ports_of_services_are_numbers_or_names() {
    let port = |port: Value| to(json!({"services": [{"name": "s", "port": port}]}));
    let at = "spec.backend.services[0].port";
    rr(&port(json!(80)), &port(json!(0)), at, "must be at least 1");
    rr(&port(json!("http")), &port(json!(65536)), at, "must be at most 65535");
    rr(&port(json!("a-1")), &port(json!("HTTP")), at, "must match");
}

#[test]
fn priorities_and_weights_have_limits() {
    rr(&rule(&json!({"priority": 20000})), &rule(&json!({"priority": 20001})), "spec.priority", "at most 20000");
    rr(&rule(&json!({"priority": 1})), &rule(&json!({"priority": 0})), "spec.priority", "at least 1");
    let weight = |weight: u32| to(json!({"services": [{"name": "s", "port": 80, "weight": weight}]}));
    rr(&weight(1000), &weight(1001), "spec.backend.services[0].weight", "at most 1000");
}
