//! What the tests of the schema share: small valid objects.

use std::sync::LazyLock;

use penstock_api::schema::Checker;
use serde_json::{Value, json};

static CHECKERS: LazyLock<[Checker; 2]> =
    LazyLock::new(|| penstock_api::crds().map(|crd| Checker::new(&crd).expect("our schemas compile")));

/// The checker of gateways.
pub(crate) fn gateways() -> &'static Checker {
    &CHECKERS[0]
}

/// The checker of rules.
pub(crate) fn rules() -> &'static Checker {
    &CHECKERS[1]
}

/// A gateway with one HTTP listener and what is merged into its spec.
pub(crate) fn gateway(spec: &Value) -> Value {
    let mut object = json!({"apiVersion": "penstock.dev/v1alpha1", "kind": "ApplicationGateway", "metadata": {"name": "g", "namespace": "n"},
        "spec": {"listeners": [{"name": "http", "port": 80, "protocol": "HTTP"}]}});
    merge(&mut object["spec"], spec);
    object
}

/// A rule with a gateway reference and what is merged into its spec.
pub(crate) fn rule(spec: &Value) -> Value {
    let mut object = json!({"apiVersion": "penstock.dev/v1alpha1", "kind": "RoutingRule", "metadata": {"name": "r", "namespace": "n"},
        "spec": {"gatewayRef": {"name": "g"}}});
    merge(&mut object["spec"], spec);
    object
}

fn merge(into: &mut Value, from: &Value) {
    for (key, value) in from.as_object().expect("a spec is an object") {
        into[key] = value.clone();
    }
}
