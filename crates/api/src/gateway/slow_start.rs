//! Slow start: how an endpoint that is new, or has come back, gets to its share. The names are Envoy's and nginx's.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::constraint::between;
use crate::duration::Duration;

/// How an endpoint that is new, or has come back, gets to its share of the requests.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SlowStart {
    /// How long it takes until the share is whole; it begins with a tenth and grows evenly. 1s to 1h.
    #[schemars(extend("x-kubernetes-validations" = between("1s", "1h")))]
    pub window: Duration,
}
