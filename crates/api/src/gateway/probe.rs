//! Health probes.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::BackendProtocol;
use crate::constraint::{ADDRESS, HOST_LEN, NAME, NAME_LEN, PATH_LEN, PROBE_PATH, STATUS_CODES, between, rules};
use crate::defaults;
use crate::duration::Duration;

/// How the health of a backend is found out. One success brings a backend up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = rules(&[(
    "!(has(self.pickHostNameFromBackendSettings) && self.pickHostNameFromBackendSettings) || !has(self.host) || self.host == '127.0.0.1'",
    "give host or pickHostNameFromBackendSettings, not both"
)])))]
pub struct Probe {
    /// Name by which settings refer to the probe; unique in the gateway.
    #[schemars(length(min = 1, max = NAME_LEN), regex(pattern = NAME))]
    pub name: String,

    /// What the probe speaks: HTTP, HTTPS or H2C. Default: the settings' protocol.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protocol: Option<BackendProtocol>,

    /// Host header of the probe; over TLS also the name that the certificate must be for, unless the settings have a sniName. 127.0.0.1 names no host: over TLS the settings' one is taken then. Default: 127.0.0.1.
    #[serde(default = "defaults::probe_host")]
    #[schemars(length(min = 1, max = HOST_LEN), regex(pattern = ADDRESS))]
    pub host: String,

    /// Takes the host from the settings: their hostName or, with pickHostNameFromBackend, the backend's name or address. Default: false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pick_host_name_from_backend_settings: Option<bool>,

    /// Asks the health service of gRPC in place of a GET: path and match have no effect then. Default: a GET.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grpc: Option<GrpcProbe>,

    /// Path of the probe, with a query if it has one. Default: /.
    #[serde(default = "defaults::probe_path")]
    #[schemars(length(min = 1, max = PATH_LEN), regex(pattern = PROBE_PATH))]
    pub path: String,

    /// Port probed, 1 to 65535. Default: the endpoint's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub port: Option<u16>,

    /// Time between two probes of an endpoint. 100ms to 24h, default 30s.
    #[serde(default = "defaults::probe_interval")]
    #[schemars(extend("x-kubernetes-validations" = between("100ms", "24h")))]
    pub interval: Duration,

    /// Time until the whole answer; longer is a failure. 100ms to 24h, default 30s.
    #[serde(default = "defaults::probe_timeout")]
    #[schemars(extend("x-kubernetes-validations" = between("100ms", "24h")))]
    pub timeout: Duration,

    /// Failures in a row that take a backend down, 1 to 20. Default 3.
    #[serde(default = "defaults::unhealthy_threshold")]
    #[schemars(range(min = 1, max = 20))]
    pub unhealthy_threshold: u32,

    /// Which answers are good. Default: status 200 to 399.
    #[serde(default = "defaults::probe_match", rename = "match")]
    pub match_: ProbeMatch,

    /// So many backends always count as healthy, whatever the probe says. 0 to 1000, default 0.
    #[serde(default)]
    #[schemars(range(min = 0, max = 1000))]
    pub min_servers: u32,
}

/// A call of `grpc.health.v1.Health/Check`, which only the answer SERVING is good for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GrpcProbe {
    /// The service that is asked about. Default: the server as a whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub service: Option<String>,
}

/// Which answers to a probe are good.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ProbeMatch {
    /// Status codes, single or as ranges: `204`, `200-399`. 1 to 32, default 200-399.
    #[serde(default = "defaults::status_codes")]
    #[schemars(
        length(min = 1, max = 32),
        inner(length(max = 7), regex(pattern = STATUS_CODES)),
        extend("x-kubernetes-list-type" = "atomic", "x-kubernetes-validations" = rules(&[(
            "self.all(code, size(code) < 7 || code.substring(0, 3) <= code.substring(4, 7))",
            "a range goes from the lower code to the higher, such as 200-399"
        )]))
    )]
    pub status_codes: Vec<String>,

    /// Text that the body must contain, at most 4090 characters. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 4090))]
    pub body: Option<String>,
}

impl Default for ProbeMatch {
    fn default() -> Self {
        defaults::probe_match()
    }
}
