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
}
