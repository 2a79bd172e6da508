//! Outlier detection: when an endpoint whose requests fail is taken out for a while. The names are Envoy's and Istio's.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::constraint::at_most;
use crate::defaults;
use crate::duration::Duration;

/// When an endpoint whose requests fail is taken out for a while, beside what its probes say.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OutlierDetection {
    /// Failures in a row after which an endpoint is taken out: answers of 5xx, no connection, no answer. 0 (never) to 1000, default 5.
    #[serde(default = "defaults::consecutive_5xx_errors")]
    #[schemars(range(min = 0, max = 1000))]
    pub consecutive_5xx_errors: u32,

    /// How long it is out the first time; the n-th time in a row n times as long, up to 5m. To 1h, default 30s.
    #[serde(default = "defaults::base_ejection_time")]
    #[schemars(extend("x-kubernetes-validations" = at_most("1h")))]
    pub base_ejection_time: Duration,

    /// How much of the endpoints may be out at once, those that fail their probes included. 0 to 100, default 50.
    #[serde(default = "defaults::max_ejection_percent")]
    #[schemars(range(min = 0, max = 100))]
    pub max_ejection_percent: u32,
}

impl Default for OutlierDetection {
    fn default() -> Self {
        defaults::outlier_detection()
    }
}
