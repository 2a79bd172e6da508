//! The schema as a whole: the example of the design, defaults, limits, and that code and schema agree.

mod common;

use common::{gateway, gateways, rule, rules};
use penstock_api::gateway::{BackendSettings, HostSharing, ListenerProtocol, PriorityFrom, ServiceType};
use penstock_api::{ApplicationGateway, Duration, RoutingRule};
use serde::Deserialize;
use serde_json::{Value, json};

fn example() -> [Value; 2] {
    let text = include_str!("example.yaml");
    let mut documents =
        serde_yaml::Deserializer::from_str(text).map(|document| Value::deserialize(document).expect("YAML"));
    [documents.next().expect("a gateway"), documents.next().expect("a rule")]
}

#[test]
fn the_example_of_the_design_is_accepted_and_read() {
    let [gateway_value, rule_value] = example();
    for (checker, value) in [(gateways(), &gateway_value), (rules(), &rule_value)] {
        assert_eq!(checker.check(value), []);
        assert_eq!(penstock_api::schema::unknown_fields(value, checker.schema()), Vec::<String>::new());
    }
    let gateway: ApplicationGateway = serde_json::from_value(gateways().admit(&gateway_value)).expect("a gateway");
    let rule: RoutingRule = serde_json::from_value(rules().admit(&rule_value)).expect("a rule");
    assert_eq!(gateway.spec.listeners[0].protocol, ListenerProtocol::Https);
    assert_eq!(gateway.spec.backend_settings[0].settings.stream_idle_timeout, Duration::literal("5m"));
    assert_eq!(rule.spec.backend.expect("a backend").services[0].weight, 9);
}

#[test]
fn defaults_of_code_and_schema_agree() {
    let bare = [
        gateway(
            &json!({"backendPools": [{"name": "p", "services": [{"name": "s", "port": 80}]}], "backendSettings": [{"name": "s", "cookieAffinity": {}, "protocol": "HTTPS", "tls": {"caCertificateRefs": [{"name": "ca"}]}}],
            "probes": [{"name": "p"}], "rewriteRuleSets": [{"name": "r", "rules": [{"name": "r", "actions": {"url": {"path": "/"}}, "conditions": [{"variable": "uri_path", "pattern": "a"}]}]}]}),
        ),
        gateway(&json!({})),
    ];
    for value in bare {
        let by_code: ApplicationGateway = serde_json::from_value(value.clone()).expect("a gateway");
        let by_schema: ApplicationGateway = serde_json::from_value(gateways().admit(&value)).expect("a gateway");
        assert_eq!(by_code, by_schema);
        assert_eq!(serde_json::to_value(&by_code).expect("JSON")["spec"], gateways().admit(&value)["spec"]);
    }
    let value = rule(&json!({"backend": {"services": [{"name": "s", "port": 80}], "inlineSettings": {}}}));
    let by_code: RoutingRule = serde_json::from_value(value.clone()).expect("a rule");
    let by_schema: RoutingRule = serde_json::from_value(rules().admit(&value)).expect("a rule");
    assert_eq!(by_code, by_schema);
    assert_eq!(by_code.spec.backend.and_then(|b| b.inline_settings), Some(Box::<BackendSettings>::default()));
}

#[test]
fn defaults_are_those_of_the_table() {
    let spec = serde_json::from_value::<ApplicationGateway>(gateways().admit(&gateway(
        &json!({"backendSettings": [{"name": "s", "cookieAffinity": {}}], "probes": [{"name": "p"}]}),
    )))
    .expect("a gateway")
    .spec;
    assert_eq!(spec.class_name, "penstock");
    assert_eq!(spec.service.type_, ServiceType::LoadBalancer);
    assert_eq!(
        (spec.allowed_rules.priority, spec.allowed_rules.hosts),
        (PriorityFrom::GatewayNamespace, HostSharing::Shared)
    );
    let settings = serde_json::to_value(&spec.backend_settings[0]).expect("JSON");
    assert_eq!(
        settings,
        json!({"name": "s", "protocol": "HTTP", "requestTimeout": "20s", "connectTimeout": "5s", "streamIdleTimeout": "5m", "connectionDraining": {"timeout": "30s"},
        "cookieAffinity": {"cookieName": "ApplicationGatewayAffinity"}, "loadBalancing": "RoundRobin", "retry": {"attempts": 1, "onTimeout": false},
        "outlierDetection": {"consecutive5xxErrors": 5, "baseEjectionTime": "30s", "maxEjectionPercent": 50}})
    );
    let probe = serde_json::to_value(&spec.probes[0]).expect("JSON");
    assert_eq!(
        probe,
        json!({"name": "p", "host": "127.0.0.1", "path": "/", "interval": "30s", "timeout": "30s", "unhealthyThreshold": 3, "match": {"statusCodes": ["200-399"]}, "minServers": 0})
    );
}

#[test]
fn everything_is_described_and_limited() {
    for checker in [gateways(), rules()] {
        let mut faults = Vec::new();
        inspect(checker.schema(), "", true, &mut faults);
        assert_eq!(faults, Vec::<String>::new());
    }
}

/// Collects what the schema conventions forbid.
fn inspect(schema: &Value, path: &str, is_property: bool, faults: &mut Vec<String>) {
    let missing = |key: &str| schema.get(key).is_none();
    let mut demand = |condition: bool, what: &str| {
        if !condition {
            faults.push(format!("{path}: {what}"));
        }
    };
    demand(!is_property || !missing("description") || path.is_empty(), "no description");
    match schema["type"].as_str() {
        Some("string") => demand(!missing("maxLength") || !missing("enum"), "no maxLength"),
        Some("array") => {
            demand(!missing("maxItems"), "no maxItems");
            demand(!missing("x-kubernetes-list-type"), "no list type");
            inspect(&schema["items"], &format!("{path}[]"), false, faults);
        }
        Some("object") if schema["additionalProperties"].is_object() => {
            demand(!missing("maxProperties"), "no maxProperties");
            inspect(&schema["additionalProperties"], &format!("{path}{{}}"), false, faults);
        }
        Some("integer" | "boolean" | "object") => {}
        other => {
            demand(schema["x-kubernetes-int-or-string"] == json!(true), &format!("type {other:?} is not structural"));
        }
    }
    for key in ["nullable", "$ref", "oneOf", "allOf"] {
        if schema.get(key).is_some() {
            faults.push(format!("{path}: {key}"));
        }
    }
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        inspect(property, &format!("{path}.{name}"), true, faults);
    }
}

#[test]
fn definitions_are_complete() {
    let [gateways, rules] = penstock_api::crds().map(|crd| serde_json::to_value(crd).expect("JSON"));
    let columns = |crd: &Value| -> Vec<String> {
        let columns = crd["spec"]["versions"][0]["additionalPrinterColumns"].as_array().expect("columns");
        columns.iter().filter_map(|column| column["name"].as_str()).map(str::to_uppercase).collect()
    };
    assert_eq!(columns(&gateways), ["CLASS", "ADDRESS", "LISTENERS", "RULES", "HEALTHY", "PROGRAMMED", "AGE"]);
    assert_eq!(columns(&rules), ["GATEWAY", "HOSTS", "PRIORITY", "ACCEPTED", "AGE"]);
    for (crd, short) in [(&gateways, "ag"), (&rules, "rr")] {
        assert_eq!(crd["spec"]["group"], penstock_api::GROUP);
        assert_eq!(crd["spec"]["names"]["shortNames"], json!([short]));
        assert_eq!(crd["spec"]["names"]["categories"], json!(["penstock", "networking"]));
        let version = &crd["spec"]["versions"][0];
        assert_eq!(
            (&version["name"], &version["served"], &version["storage"]),
            (&json!(penstock_api::VERSION), &json!(true), &json!(true))
        );
        assert_eq!(version["subresources"], json!({"status": {}}));
    }
}

#[test]
fn a_refusal_names_path_value_and_remedy() {
    let found = gateways().check(&gateway(&json!({"listeners": [{"name": "a", "port": 0, "protocol": "TCP"}]})));
    let texts: Vec<_> = found.iter().map(ToString::to_string).collect();
    assert_eq!(
        texts,
        [
            "spec.listeners[0].port: 0: must be at least 1",
            "spec.listeners[0].protocol: \"TCP\": must be one of HTTP, HTTPS"
        ]
    );
}
