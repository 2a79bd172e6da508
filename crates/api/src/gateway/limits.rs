//! How much a backend gets at once. The names are those of Envoy's circuit breakers.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::constraint::rules;

/// How much a backend gets at once, each replica of the gateway counting by itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = rules(&[(
    "!has(self.maxPendingRequests) || has(self.maxConnections)",
    "maxPendingRequests is how many wait when maxConnections are in use: give maxConnections, too"
)])))]
pub struct BackendLimits {
    /// Connections to all endpoints together that carry a request or a WebSocket; further requests wait. 1 to 1000000, default no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub max_connections: Option<u32>,

    /// Requests that wait for such a connection, for connectTimeout at most; further ones are answered with 503. 0 to 1000000, default 1024.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1_000_000))]
    pub max_pending_requests: Option<u32>,

    /// Size of a request body, in bytes or with a unit such as 512Ki or 10Mi; a longer one is answered with 413. Default no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 16), regex(pattern = BYTES))]
    pub max_request_body_size: Option<String>,
}

/// Sizes as Kubernetes writes quantities, whole numbers only.
pub(crate) const BYTES: &str = "^[0-9]{1,12}(k|M|G|Ki|Mi|Gi)?$";

/// The bytes that a size stands for; `None` when it is none.
pub fn parse_bytes(text: &str) -> Option<u64> {
    let digits = text.trim_end_matches(|unit: char| unit.is_ascii_alphabetic());
    let factor = match &text[digits.len()..] {
        "" => 1,
        "k" => 1_000,
        "M" => 1_000_000,
        "G" => 1_000_000_000,
        "Ki" => 1 << 10,
        "Mi" => 1 << 20,
        "Gi" => 1 << 30,
        _ => return None,
    };
    digits.parse::<u64>().ok()?.checked_mul(factor)
}

#[cfg(test)]
mod tests {
    use super::parse_bytes;

    #[test]
    fn sizes_are_quantities() {
        assert_eq!(parse_bytes("0"), Some(0));
        assert_eq!(parse_bytes("512Ki"), Some(524_288));
        assert_eq!(parse_bytes("10M"), Some(10_000_000));
        for bad in ["", "Ki", "1Ti", "1.5Mi", "-1", "1 Mi", "99999999999999999999"] {
            assert_eq!(parse_bytes(bad), None, "{bad}");
        }
    }
}
