//! What `penstock probe` sends to a running instance, which reads it here as well: the JSON of `POST /probe`.

use std::time::Duration;

use http::uri::{Authority, PathAndQuery};
use penstock_api::gateway::BackendProtocol;
use penstock_dataplane::{ProbeNow, Spoken};
use serde::{Deserialize, Serialize};

/// The longest path and text (those of the schema).
const LONGEST_PATH: usize = 1024;
const LONGEST_TEXT: usize = 4090;
/// The most status codes.
const MOST_CODES: usize = 32;
/// A timeout is between these.
const TIMEOUTS: [Duration; 2] = [Duration::from_millis(100), Duration::from_secs(30)];

/// Whom to ask, and what otherwise than the configuration says. Fields have the names of `probes[]`.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct Order {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) pool: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) settings: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) protocol: Option<BackendProtocol>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) host: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) path: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) timeout: Option<penstock_api::Duration>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) status_codes: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) body: Option<String>,
}

impl Order {
    /// What it means, or why it means nothing.
    pub(crate) fn read(self) -> Result<ProbeNow, String> {
        let Self { pool, settings, protocol, host, path, timeout, status_codes, body } = self;
        if let Some(host) = &host {
            host.parse::<Authority>().map_err(|error| format!("host {host:?} is no host: {error}"))?;
        }
        if let Some(path) = &path {
            let sent = path.parse::<PathAndQuery>().is_ok_and(|parsed| parsed.as_str() == path);
            if !path.starts_with('/') || path.len() > LONGEST_PATH || !sent {
                return Err(format!("path {path:?} is no path such as /healthz, of at most {LONGEST_PATH} bytes"));
            }
        }
        if body.as_ref().is_some_and(|text| text.is_empty() || text.len() > LONGEST_TEXT) {
            return Err(format!("body is to be a text of 1 to {LONGEST_TEXT} bytes"));
        }
        if status_codes.len() > MOST_CODES {
            return Err(format!("statusCodes are more than {MOST_CODES}"));
        }
        let timeout = match timeout {
            None => None,
            Some(text) => {
                let parsed = text.parse().map_err(|error| format!("timeout: {error}"))?;
                let [least, most] = TIMEOUTS;
                if !(least..=most).contains(&parsed) {
                    return Err(format!("timeout {text} is not between {least:?} and {most:?}"));
                }
                Some(parsed)
            }
        };
        let statuses = status_codes.iter().map(|codes| codes.parse().map_err(|error| format!("statusCodes: {error}")));
        Ok(ProbeNow {
            pool: pool.map(Into::into),
            settings: settings.map(Into::into),
            protocol: protocol.map(|protocol| match protocol {
                BackendProtocol::Http => Spoken::Http,
                BackendProtocol::Https => Spoken::Https,
                BackendProtocol::H2c => Spoken::H2c,
            }),
            host: host.map(Into::into),
            path: path.map(Into::into),
            timeout,
            statuses: statuses.collect::<Result<_, _>>()?,
            body: body.map(Into::into),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<ProbeNow, String> {
        serde_json::from_str::<Order>(json).map_err(|error| error.to_string())?.read()
    }

    #[test]
    fn nothing_asks_for_everything_as_it_is_configured() {
        let all = read("{}").unwrap();
        assert!(!all.asks_otherwise() && all.pool.is_none());
        assert!(!read(r#"{"pool": "web", "settings": "app"}"#).unwrap().asks_otherwise());
    }

    #[test]
    fn what_is_asked_otherwise_is_read() {
        let order = r#"{"protocol": "HTTPS", "host": "a.example:1", "path": "/x?y", "timeout": "2s", "statusCodes": ["204", "300-399"], "body": "ok"}"#;
        let order = read(order).unwrap();
        assert!(order.asks_otherwise());
        assert_eq!((order.protocol, order.timeout), (Some(Spoken::Https), Some(Duration::from_secs(2))));
        assert_eq!((order.path.as_deref(), order.statuses.len()), (Some("/x?y"), 2));
    }

    #[test]
    fn what_cannot_be_sent_is_refused_in_words() {
        for (order, part) in [
            (r#"{"address": "192.0.2.1:80"}"#, "unknown field `address`"),
            (r#"{"path": "healthz"}"#, "path \"healthz\""),
            (r#"{"path": "/a b"}"#, "path \"/a b\""),
            (r#"{"path": "/a#b"}"#, "path \"/a#b\""),
            (r#"{"path": "/\r\nX: y"}"#, "path"),
            (r#"{"host": "a b"}"#, "host \"a b\""),
            (r#"{"timeout": "1h"}"#, "timeout 1h is not between 100ms and 30s"),
            (r#"{"statusCodes": ["300-200"]}"#, "statusCodes: \"300-200\""),
            (r#"{"body": ""}"#, "body"),
        ] {
            let refused = read(order).unwrap_err();
            assert!(refused.contains(part), "{order}: {refused}");
        }
    }
}
