//! Defaults of the schema, filled in as the API server does.

use serde_json::Value;

use super::property;

/// Drops nulls and fills in the schema's defaults, also inside what a default brought in.
///
/// No field of ours is nullable: a null means "not given", and gives way to the default where there is one.
pub fn apply_defaults(value: &mut Value, schema: &Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|key, field| !field.is_null() || property(schema, key).is_none());
            for (key, known) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
                if let Some(default) = known.get("default").filter(|_| !fields.contains_key(key)) {
                    fields.insert(key.clone(), default.clone());
                }
            }
            for (key, field) in fields {
                if let Some(known) = property(schema, key) {
                    apply_defaults(field, known);
                }
            }
        }
        Value::Array(items) => {
            if let Some(item_schema) = schema.get("items") {
                items.iter_mut().for_each(|item| apply_defaults(item, item_schema));
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn defaults_fill_gaps_and_nulls_and_go_into_defaults() {
        let schema = json!({"properties": {
            "a": {"default": 1}, "b": {"default": 2}, "c": {},
            "d": {"default": {}, "properties": {"e": {"default": "x"}}},
            "l": {"items": {"properties": {"w": {"default": 1}}}}
        }});
        let mut value = json!({"a": 5, "b": null, "c": null, "l": [{}, {"w": 0}]});
        apply_defaults(&mut value, &schema);
        assert_eq!(value, json!({"a": 5, "b": 2, "d": {"e": "x"}, "l": [{"w": 1}, {"w": 0}]}));
    }
}
