//! Fields that the schema does not know: named for people, removed as the API server removes them.

use serde_json::Value;

use super::{ROOT_FIELDS, child, is_open, property};

/// The paths of all fields that the schema does not know, in the order of the object's keys.
pub fn unknown_fields(value: &Value, schema: &Value) -> Vec<String> {
    let mut found = Vec::new();
    collect(value, schema, "", &mut found);
    found
}

/// Removes the fields that the schema does not know.
pub fn prune(value: &mut Value, schema: &Value) {
    prune_below(value, schema, true);
}

fn collect(value: &Value, schema: &Value, path: &str, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            for (key, field) in fields {
                if path.is_empty() && ROOT_FIELDS.contains(&key.as_str()) {
                    continue;
                }
                match property(schema, key) {
                    Some(known) => collect(field, known, &child(path, key), found),
                    None if is_open(schema) => {}
                    None => found.push(child(path, key)),
                }
            }
        }
        Value::Array(items) => {
            if let Some(item_schema) = schema.get("items") {
                for (index, item) in items.iter().enumerate() {
                    collect(item, item_schema, &format!("{path}[{index}]"), found);
                }
            }
        }
        _ => {}
    }
}

fn prune_below(value: &mut Value, schema: &Value, root: bool) {
    match value {
        Value::Object(fields) => {
            fields.retain(|key, field| match property(schema, key) {
                Some(known) => {
                    prune_below(field, known, false);
                    true
                }
                None => (root && ROOT_FIELDS.contains(&key.as_str())) || is_open(schema),
            });
        }
        Value::Array(items) => {
            if let Some(item_schema) = schema.get("items") {
                items.iter_mut().for_each(|item| prune_below(item, item_schema, false));
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn schema() -> Value {
        json!({"type": "object", "properties": {"spec": {"type": "object", "properties": {
            "list": {"type": "array", "items": {"type": "object", "properties": {"a": {"type": "string"}}}},
            "map": {"type": "object", "additionalProperties": {"type": "string"}},
            "open": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}
        }}}})
    }

    fn object() -> Value {
        json!({"apiVersion": "v", "kind": "K", "metadata": {"name": "n"}, "extra": 1, "spec": {
            "list": [{"a": "x"}, {"a": "x", "b": 1}], "map": {"any.key": "v"}, "open": {"x": 1}, "lst": []
        }})
    }

    #[test]
    fn unknown_fields_are_named_by_path() {
        assert_eq!(unknown_fields(&object(), &schema()), ["extra", "spec.list[1].b", "spec.lst"]);
    }

    #[test]
    fn pruning_removes_exactly_these() {
        let mut value = object();
        prune(&mut value, &schema());
        assert!(unknown_fields(&value, &schema()).is_empty());
        assert_eq!(
            value,
            json!({"apiVersion": "v", "kind": "K", "metadata": {"name": "n"}, "spec": {
                "list": [{"a": "x"}, {"a": "x"}], "map": {"any.key": "v"}, "open": {"x": 1}
            }})
        );
    }
}
