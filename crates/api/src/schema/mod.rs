//! What the API server does with the schema of a CRD, for objects that come from files.
//!
//! Same order as there: nulls are dropped and defaults filled in ([`apply_defaults`]), unknown fields removed ([`prune`]; first named by
//! [`unknown_fields`], since `penstock check` refuses them), then types, limits and patterns are checked, then the CEL rules ([`Checker`]).

mod cel;
mod defaults;
mod structure;
mod unknown;
mod violation;

pub use cel::{Checker, CheckerError};
pub use defaults::apply_defaults;
pub use unknown::{prune, unknown_fields};
pub use violation::Violation;

use serde_json::Value;

use crate::k8s::CustomResourceDefinition;

/// The schema of the stored version of a definition; null when it has none.
pub fn of(crd: &CustomResourceDefinition) -> Value {
    let stored = crd.spec.versions.iter().find(|version| version.storage).and_then(|version| version.schema.as_ref());
    stored
        .and_then(|schema| schema.open_api_v3_schema.as_ref())
        .and_then(|schema| serde_json::to_value(schema).ok())
        .unwrap_or_default()
}

/// Everything that a definition's schema refuses in an object, which may come straight from a file.
///
/// Compiles the schema each time; for many objects keep a [`Checker`].
///
/// # Errors
/// When the schema itself cannot be used.
pub fn validate(value: &Value, crd: &CustomResourceDefinition) -> Result<Vec<Violation>, CheckerError> {
    Ok(Checker::new(crd)?.check(value))
}

/// The schema of a field: its own, or the one that all values of a map share.
fn property<'s>(schema: &'s Value, key: &str) -> Option<&'s Value> {
    schema
        .get("properties")
        .and_then(|properties| properties.get(key))
        .or_else(|| schema.get("additionalProperties").filter(|shared| shared.is_object()))
}

/// Whether fields that the schema does not name are kept.
fn is_open(schema: &Value) -> bool {
    schema.get("x-kubernetes-preserve-unknown-fields") == Some(&Value::Bool(true))
        || schema.get("additionalProperties") == Some(&Value::Bool(true))
        || (schema.get("properties").is_none() && schema.get("additionalProperties").is_none())
}

/// Fields that every object has and no schema of a CRD names.
const ROOT_FIELDS: [&str; 3] = ["apiVersion", "kind", "metadata"];

/// The path of a field in an object: `spec.listeners`, or `["a.b"]` for keys that are no plain names.
fn child(path: &str, key: &str) -> String {
    let plain = !key.is_empty() && key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
    match (path.is_empty(), plain) {
        (true, true) => key.to_owned(),
        (false, true) => format!("{path}.{key}"),
        (_, false) => format!("{path}[{key:?}]"),
    }
}
