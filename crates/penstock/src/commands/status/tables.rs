//! The answers for people.

use serde_json::{Map, Value};

use crate::output;

/// Those of several Pods, one after the other.
pub(super) fn of_pods(all: &Map<String, Value>) -> String {
    let one = |(pod, status): (&String, &Value)| {
        let leads = if status.get("leader") == Some(&Value::Bool(true)) { ", leader" } else { "" };
        format!("{pod}{leads}, {}", tables(status))
    };
    all.iter().map(one).collect::<Vec<_>>().join("\n")
}

/// The answer for people: what is listening, who is behind it, what is wrong.
pub(super) fn tables(status: &Value) -> String {
    let mut text = format!("generation {}\n", cell(status, "generation"));
    let mut section = |key: &str, nothing: &str, columns: &[(&str, &str)]| {
        let rows: Vec<Vec<String>> = status
            .get(key)
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .map(|row| columns.iter().map(|(_, key)| cell(row, key)).collect())
            .collect();
        text.push('\n');
        if rows.is_empty() {
            text.push_str(nothing);
        } else {
            let header: Vec<&str> = columns.iter().map(|(title, _)| *title).collect();
            text.push_str(&output::table(&header, &rows));
        }
    };
    section(
        "listeners",
        "nothing is listening\n",
        &[
            ("GATEWAY", "gateway"),
            ("LISTENER", "name"),
            ("PORT", "port"),
            ("LOCAL", "local_port"),
            ("PROTOCOL", "protocol"),
            ("RULES", "rules"),
            ("CONNECTIONS", "connections"),
            ("ERROR", "error"),
        ],
    );
    section(
        "backends",
        "no backends\n",
        &[
            ("POOL", "pool"),
            ("ADDRESS", "address"),
            ("HEALTH", "health"),
            ("ACTIVE", "active"),
            ("WEBSOCKETS", "websockets"),
            ("REASON", "reason"),
        ],
    );
    section("problems", "no problems\n", &[("PROBLEM", "object"), ("REASON", "reason"), ("MESSAGE", "message")]);
    text
}

/// A value on one line; what is missing is a dash.
fn cell(row: &Value, key: &str) -> String {
    match row.get(key) {
        None | Some(Value::Null) => "-".to_owned(),
        Some(Value::String(text)) if text.is_empty() => "-".to_owned(),
        Some(Value::String(text)) => text.replace(['\n', '\r'], " "),
        Some(other) => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn tables_show_what_there_is() {
        let status = json!({
            "generation": 3,
            "listeners": [{"gateway": "edge/shop", "name": "web", "port": 80, "local_port": 8080, "protocol": "HTTP", "rules": 2, "connections": 5, "error": null}],
            "backends": [{"pool": "shop/web:80", "address": "10.0.0.1:80", "health": "Down", "reason": "connect", "active": 0, "websockets": 1}],
            "problems": [],
        });
        let expected = "generation 3\n\n\
            GATEWAY    LISTENER  PORT  LOCAL  PROTOCOL  RULES  CONNECTIONS  ERROR\n\
            edge/shop  web       80    8080   HTTP      2      5            -\n\n\
            POOL         ADDRESS      HEALTH  ACTIVE  WEBSOCKETS  REASON\n\
            shop/web:80  10.0.0.1:80  Down    0       1           connect\n\n\
            no problems\n";
        assert_eq!(tables(&status), expected);
    }

    #[test]
    fn pods_follow_each_other_and_the_leader_is_named() {
        let all =
            json!({"Pod a/one": {"generation": 3, "leader": true}, "Pod a/two": {"generation": 2, "leader": false}});
        let text = of_pods(all.as_object().unwrap());
        assert!(text.starts_with("Pod a/one, leader, generation 3\n"), "{text}");
        assert!(text.contains("\n\nPod a/two, generation 2\n"), "{text}");
    }

    #[test]
    fn an_empty_status_says_so() {
        assert_eq!(tables(&json!({})), "generation -\n\nnothing is listening\n\nno backends\n\nno problems\n");
    }
}
