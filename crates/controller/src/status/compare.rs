//! Statuses as JSON, compared.

use std::collections::BTreeMap;

use penstock_api::reasons::ConditionType;
use serde_json::Value;

/// In the form in which a watch has it: without nulls, with defaults, as text.
pub(super) fn normal<S: serde::Serialize + serde::de::DeserializeOwned>(status: &Value) -> String {
    let typed: Option<S> = serde_json::from_value(status.clone()).ok();
    typed.and_then(|status| serde_json::to_string(&status).ok()).unwrap_or_else(|| status.to_string())
}

/// Without the times of its conditions.
pub(super) fn undated(mut status: Value) -> Value {
    match &mut status {
        Value::Object(map) => {
            map.remove("lastTransitionTime");
            map.values_mut().for_each(|value| *value = undated(value.take()));
        }
        Value::Array(items) => items.iter_mut().for_each(|item| *item = undated(item.take())),
        _ => {}
    }
    status
}

/// Type and status of every `Accepted`, wherever it stands.
pub(super) fn accepted(status: &Value) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut open = vec![(String::new(), status)];
    while let Some((path, value)) = open.pop() {
        match value {
            Value::Object(map) if map.get("type").and_then(Value::as_str) == Some(ConditionType::Accepted.as_str()) => {
                found.insert(path, map.get("status").and_then(Value::as_str).unwrap_or_default().to_owned());
            }
            Value::Object(map) => open.extend(map.iter().map(|(key, value)| (format!("{path}.{key}"), value))),
            Value::Array(items) => {
                open.extend(items.iter().enumerate().map(|(at, value)| (format!("{path}.{at}"), value)));
            }
            _ => {}
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn times_do_not_count() {
        let status =
            |time: &str| json!({"listeners": [{"conditions": [{"type": "Accepted", "lastTransitionTime": time}]}]});
        assert_eq!(undated(status("1")), undated(status("2")));
    }

    #[test]
    fn accepted_is_found_wherever_it_stands() {
        let status = |accepted: &str, other: &str| {
            let conditions =
                json!([{"type": "Accepted", "status": accepted}, {"type": "ResolvedRefs", "status": other}]);
            json!({"conditions": conditions, "parents": [{"conditions": conditions}]})
        };
        assert_eq!(accepted(&status("True", "True")), accepted(&status("True", "False")));
        assert_ne!(accepted(&status("True", "True")), accepted(&status("False", "True")));
        assert_eq!(accepted(&status("True", "True")).len(), 2);
    }
}
