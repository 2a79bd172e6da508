//! Types, enums, limits, patterns, required fields and the keys of list maps.

use std::collections::{BTreeMap, BTreeSet};

use regex::Regex;
use serde_json::Value;

use super::violation::Violation;
use super::{child, property};
use crate::constraint::in_words;

/// The compiled patterns of a schema.
pub(super) type Patterns = BTreeMap<String, Regex>;

/// Compiles every pattern that occurs in a schema.
pub(super) fn patterns(schema: &Value, found: &mut Patterns) -> Result<(), regex::Error> {
    match schema {
        Value::Object(map) => {
            if let Some(pattern) =
                map.get("pattern").and_then(Value::as_str).filter(|pattern| !found.contains_key(*pattern))
            {
                found.insert(pattern.to_owned(), Regex::new(pattern)?);
            }
            map.values().try_for_each(|part| patterns(part, found))
        }
        Value::Array(parts) => parts.iter().try_for_each(|part| patterns(part, found)),
        _ => Ok(()),
    }
}

const STRING: &str = "a string";

fn pattern(schema: &Value) -> Option<&str> {
    schema.get("pattern").and_then(Value::as_str)
}

fn with_hint(expected: &str, hint: Option<&str>) -> String {
    hint.map_or_else(|| expected.to_owned(), |hint| format!("{expected}: {hint}"))
}

/// Checks a value and everything below it.
pub(super) fn check(value: &Value, schema: &Value, path: &str, patterns: &Patterns, found: &mut Vec<Violation>) {
    if let Some(expected) = wrong_type(value, schema) {
        let quotes = "put it in quotes if YAML reads it as something else";
        let hint = (expected == STRING).then(|| pattern(schema).and_then(in_words).unwrap_or(quotes));
        found.push(Violation::new(path, value, format!("must be {}", with_hint(expected, hint))));
        return;
    }
    if let Some(allowed) = schema.get("enum").and_then(Value::as_array).filter(|allowed| !allowed.contains(value)) {
        let names: Vec<_> =
            allowed.iter().map(|name| name.as_str().map_or_else(|| name.to_string(), str::to_owned)).collect();
        found.push(Violation::new(path, value, format!("must be one of {}", names.join(", "))));
    }
    match value {
        Value::String(text) => check_string(text, value, schema, path, patterns, found),
        Value::Number(number) => check_number(number.as_f64().unwrap_or_default(), value, schema, path, found),
        Value::Array(items) => check_list(items, value, schema, path, patterns, found),
        Value::Object(fields) => {
            for name in schema.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str)
            {
                if !fields.contains_key(name) {
                    found.push(Violation::missing(child(path, name), "is required: add it"));
                }
            }
            check_size(fields.len(), ["minProperties", "maxProperties"], "entries", value, schema, path, found);
            for (key, field) in fields {
                if let Some(known) = property(schema, key) {
                    check(field, known, &child(path, key), patterns, found);
                }
            }
        }
        Value::Null | Value::Bool(_) => {}
    }
}

fn wrong_type(value: &Value, schema: &Value) -> Option<&'static str> {
    if schema.get("x-kubernetes-int-or-string") == Some(&Value::Bool(true)) {
        return (!value.is_string() && !value.is_i64() && !value.is_u64()).then_some("a whole number or a string");
    }
    let is_whole =
        |value: &Value| value.is_i64() || value.is_u64() || value.as_f64().is_some_and(|number| number.fract() == 0.0);
    let (fits, expected) = match schema.get("type").and_then(Value::as_str)? {
        "object" => (value.is_object(), "an object"),
        "array" => (value.is_array(), "a list"),
        "string" => (value.is_string(), STRING),
        "boolean" => (value.is_boolean(), "true or false"),
        "integer" => (is_whole(value), "a whole number"),
        "number" => (value.is_number(), "a number"),
        _ => return None,
    };
    (!fits).then_some(expected)
}

fn check_string(
    text: &str,
    value: &Value,
    schema: &Value,
    path: &str,
    patterns: &Patterns,
    found: &mut Vec<Violation>,
) {
    check_size(text.chars().count(), ["minLength", "maxLength"], "characters", value, schema, path, found);
    if let Some(pattern) = pattern(schema)
        && patterns.get(pattern).is_some_and(|regex| !regex.is_match(text))
    {
        found.push(Violation::new(path, value, format!("must match {}", with_hint(pattern, in_words(pattern)))));
    }
}

fn check_number(number: f64, value: &Value, schema: &Value, path: &str, found: &mut Vec<Violation>) {
    if let Some(least) = schema.get("minimum").and_then(Value::as_f64).filter(|least| number < *least) {
        found.push(Violation::new(path, value, format!("must be at least {least}")));
    }
    if let Some(most) = schema.get("maximum").and_then(Value::as_f64).filter(|most| number > *most) {
        found.push(Violation::new(path, value, format!("must be at most {most}")));
    }
}

fn check_list(
    items: &[Value],
    value: &Value,
    schema: &Value,
    path: &str,
    patterns: &Patterns,
    found: &mut Vec<Violation>,
) {
    check_size(items.len(), ["minItems", "maxItems"], "entries", value, schema, path, found);
    if schema.get("x-kubernetes-list-type").and_then(Value::as_str) == Some("map") {
        let keys: Vec<&str> = schema
            .get("x-kubernetes-list-map-keys")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        let mut seen = BTreeSet::new();
        for (index, item) in items.iter().enumerate() {
            let key: Vec<String> = keys.iter().filter_map(|key| item.get(*key)).map(Value::to_string).collect();
            if key.len() == keys.len() && !seen.insert(key) {
                let fields = keys.join(", ");
                found.push(Violation::new(
                    &format!("{path}[{index}]"),
                    item,
                    format!("has the same {fields} as an entry before it: rename one"),
                ));
            }
        }
    }
    if let Some(item_schema) = schema.get("items") {
        for (index, item) in items.iter().enumerate() {
            check(item, item_schema, &format!("{path}[{index}]"), patterns, found);
        }
    }
}

fn check_size(
    size: usize,
    [least, most]: [&str; 2],
    what: &str,
    value: &Value,
    schema: &Value,
    path: &str,
    found: &mut Vec<Violation>,
) {
    let limit = |name| schema.get(name).and_then(Value::as_u64).and_then(|limit| usize::try_from(limit).ok());
    if let Some(least) = limit(least).filter(|least| size < *least) {
        found.push(Violation::new(path, value, format!("must have at least {least} {what}, has {size}")));
    }
    if let Some(most) = limit(most).filter(|most| size > *most) {
        found.push(Violation::new(path, value, format!("must have at most {most} {what}, has {size}")));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn refusals(value: &Value, schema: &Value) -> Vec<String> {
        let mut compiled = Patterns::new();
        patterns(schema, &mut compiled).expect("patterns compile");
        let mut found = Vec::new();
        check(value, schema, "f", &compiled, &mut found);
        found.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn each_keyword_accepts_and_refuses() {
        let cases = [
            (
                json!({"type": "string"}),
                json!("a"),
                json!(false),
                "f: false: must be a string: put it in quotes if YAML reads it as something else",
            ),
            (json!({"type": "integer"}), json!(1), json!(1.5), "f: 1.5: must be a whole number"),
            (json!({"type": "boolean"}), json!(true), json!("no"), "f: \"no\": must be true or false"),
            (json!({"enum": ["A", "B"]}), json!("A"), json!("C"), "f: \"C\": must be one of A, B"),
            (json!({"minimum": 1.0}), json!(1), json!(0), "f: 0: must be at least 1"),
            (json!({"maximum": 9.0}), json!(9), json!(10), "f: 10: must be at most 9"),
            (json!({"maxLength": 2}), json!("äö"), json!("abc"), "f: \"abc\": must have at most 2 characters, has 3"),
            (json!({"pattern": "^/"}), json!("/a"), json!("a"), "f: \"a\": must match ^/"),
            (
                json!({"type": "string", "pattern": crate::duration::PATTERN}),
                json!("30s"),
                json!(30),
                "f: 30: must be a string: a duration such as 500ms, 20s or 1h30m",
            ),
            (json!({"maxItems": 1}), json!([1]), json!([1, 2]), "f: [1,2]: must have at most 1 entries, has 2"),
            (json!({"required": ["a"]}), json!({"a": 1}), json!({}), "f.a: is required: add it"),
            (
                json!({"x-kubernetes-int-or-string": true}),
                json!(80),
                json!([]),
                "f: []: must be a whole number or a string",
            ),
        ];
        for (schema, good, bad, message) in cases {
            assert_eq!(refusals(&good, &schema), Vec::<String>::new(), "{schema}");
            assert_eq!(refusals(&bad, &schema), [message], "{schema}");
        }
    }

    #[test]
    fn keys_of_a_list_map_are_unique() {
        let schema = json!({"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]});
        assert!(refusals(&json!([{"name": "a"}, {"name": "b"}]), &schema).is_empty());
        assert_eq!(
            refusals(&json!([{"name": "a"}, {"name": "a"}]), &schema),
            ["f[1]: {\"name\":\"a\"}: has the same name as an entry before it: rename one"]
        );
    }
}
