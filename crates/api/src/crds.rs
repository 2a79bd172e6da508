//! The CustomResourceDefinitions, generated from the types; `crds/` at the top of the repository holds them as files.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube_core::CustomResourceExt;
use serde_json::{Map, Value};

use crate::{ApplicationGateway, RoutingRule};

/// Both definitions, as they are installed. Use these rather than `ApplicationGateway::crd()`, whose schema still has marks that
/// Kubernetes does not know.
pub fn crds() -> [CustomResourceDefinition; 2] {
    [ApplicationGateway::crd(), RoutingRule::crd()].map(installable)
}

/// Both definitions as one YAML stream, always in the same order and form.
pub fn crds_yaml() -> String {
    crds().iter().map(|crd| format!("---\n{}", crd_yaml(crd))).collect()
}

/// One definition as YAML.
pub fn crd_yaml(crd: &CustomResourceDefinition) -> String {
    let mut value = serde_json::to_value(crd).unwrap_or_default();
    drop_empty_metadata(&mut value);
    whole_numbers(&mut value);
    serde_yaml::to_string(&value).unwrap_or_default().lines().map(|line| quoted(line) + "\n").collect()
}

/// Quotes words such as `Off` that kubectl, which reads YAML 1.1, takes for booleans; serde_yaml writes YAML 1.2, where they are strings.
fn quoted(line: &str) -> String {
    const BOOLEANS: [&str; 6] = ["y", "n", "yes", "no", "on", "off"];
    match line.rsplit_once(' ') {
        Some((head, word))
            if BOOLEANS.contains(&word.to_ascii_lowercase().as_str())
                && (head.ends_with(':') || head.ends_with('-')) =>
        {
            format!("{head} \"{word}\"")
        }
        _ => line.to_owned(),
    }
}

fn installable(mut crd: CustomResourceDefinition) -> CustomResourceDefinition {
    for version in &mut crd.spec.versions {
        let Some(schema) = version.schema.as_mut().and_then(|s| s.open_api_v3_schema.as_mut()) else { continue };
        let mut value = serde_json::to_value(&*schema).unwrap_or_default();
        clean(&mut value);
        if let Ok(cleaned) = serde_json::from_value(value) {
            *schema = cleaned;
        }
    }
    crd
}

/// Removes what schemars adds and Kubernetes does not want: formats of unsigned integers (a warning on every apply) and `nullable` (without
/// it the API server drops nulls, so that CEL's `has` means "is there").
fn clean(schema: &mut Value) {
    match schema {
        Value::Object(map) => {
            if map.get("format").and_then(Value::as_str).is_some_and(|format| format.starts_with("uint")) {
                map.remove("format");
            }
            if map.get("nullable").is_some_and(Value::is_boolean) {
                map.remove("nullable");
            }
            map.values_mut().for_each(clean);
        }
        Value::Array(items) => items.iter_mut().for_each(clean),
        _ => {}
    }
}

/// Writes `1.0` as `1`: Kubernetes keeps limits as floating point numbers, people do not.
fn whole_numbers(value: &mut Value) {
    match value {
        Value::Number(number) => {
            if let Some(float) =
                number.as_f64().filter(|float| number.is_f64() && float.fract() == 0.0 && float.abs() < 1e15)
            {
                #[allow(clippy::cast_possible_truncation, reason = "just checked to be whole and small")]
                let whole = float as i64;
                *value = whole.into();
            }
        }
        Value::Array(items) => items.iter_mut().for_each(whole_numbers),
        Value::Object(map) => map.values_mut().for_each(whole_numbers),
        _ => {}
    }
}

fn drop_empty_metadata(value: &mut Value) {
    let empty = Map::new();
    if let Some(crd) = value.as_object_mut() {
        crd.retain(|key, part| key != "status" && part.as_object() != Some(&empty));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_that_yaml_1_1_takes_for_booleans_are_quoted() {
        assert_eq!(quoted("  - Off"), "  - \"Off\"");
        assert_eq!(quoted("name: y"), "name: \"y\"");
        assert_eq!(quoted("description: Whether it is off"), "description: Whether it is off");
        assert!(crds_yaml().contains("- \"Off\""));
        assert!(!crds_yaml().contains("- Off"));
    }
}
