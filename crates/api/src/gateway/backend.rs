//! Backends: pools, and how they are spoken to.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{BackendLimits, CaRef, OutlierDetection, SecretRef, SlowStart};
use crate::constraint::{
    ADDRESS, HOST, HOST_LEN, NAME, NAME_LEN, NAMESPACE, NAMESPACE_LEN, OBJECT, OBJECT_LEN, PATH, PATH_LEN, TOKEN,
    TOKEN_LEN, URI, at_most, port_reference, rules,
};
use crate::defaults;
use crate::duration::Duration;
use crate::k8s::IntOrString;

/// Backends that take the same requests: Services, addresses outside the cluster, or both.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BackendPool {
    /// Name by which rules refer to the pool; unique in the gateway.
    #[schemars(length(min = 1, max = NAME_LEN), regex(pattern = NAME))]
    pub name: String,

    /// Services of the gateway's namespace, others by ReferenceGrant. At most 32.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), extend("x-kubernetes-list-type" = "atomic"))]
    pub services: Vec<ServiceRef>,

    /// Addresses outside the cluster. At most 256.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256), extend("x-kubernetes-list-type" = "atomic"))]
    pub addresses: Vec<BackendAddress>,
}

/// A port of a Service with its share of the requests.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServiceRef {
    /// Name of the Service.
    #[schemars(length(min = 1, max = OBJECT_LEN), regex(pattern = OBJECT))]
    pub name: String,

    /// Namespace of the Service; another than that of the referring object needs a ReferenceGrant there. Default: that of the referring object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = NAMESPACE_LEN), regex(pattern = NAMESPACE))]
    pub namespace: Option<String>,

    /// Port of the Service, by number or by name.
    #[schemars(schema_with = "port_reference")]
    pub port: IntOrString,

    /// Share of the requests, against the sum of all weights; 0 takes none. 0 to 1000, default 1.
    #[serde(default = "defaults::weight")]
    #[schemars(range(min = 0, max = 1000))]
    pub weight: u32,
}

/// A backend outside the cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BackendAddress {
    /// IP address, or a name that is resolved again as its TTL runs out.
    #[schemars(length(min = 1, max = HOST_LEN), regex(pattern = ADDRESS))]
    pub host: String,

    /// Port, 1 to 65535. Default: the settings' port, else 80 or, with protocol HTTPS, 443.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub port: Option<u16>,
}

/// Settings that rules share by name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NamedBackendSettings {
    /// Name by which rules refer to the settings; unique in the gateway.
    #[schemars(length(min = 1, max = NAME_LEN), regex(pattern = NAME))]
    pub name: String,

    /// The settings themselves.
    #[serde(flatten)]
    pub settings: BackendSettings,
}

/// How a backend is spoken to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = rules(&[(
    "!(has(self.hostName) && has(self.pickHostNameFromBackend) && self.pickHostNameFromBackend)",
    "give hostName or pickHostNameFromBackend, not both"
), (
    "!(has(self.slowStart) && has(self.loadBalancing) && self.loadBalancing == 'IpHash')",
    "slowStart cannot change where a client's address leads: remove it, or use another loadBalancing than IpHash"
)])))]
pub struct BackendSettings {
    /// What is spoken to the backend: HTTP (1.1), HTTPS (HTTP/2 where the backend picks it in the handshake, else HTTP/1.1), or H2C (HTTP/2 without TLS). Default: HTTP.
    #[serde(default = "defaults::backend_protocol")]
    pub protocol: BackendProtocol,

    /// Port of the endpoints, 1 to 65535. Default: the Service's target port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub port: Option<u16>,

    /// Time until the response head, also the idle timeout of a WebSocket; 0s: none. To 24h, default 20s.
    #[serde(default = "defaults::request_timeout")]
    #[schemars(extend("x-kubernetes-validations" = at_most("24h")))]
    pub request_timeout: Duration,

    /// Timeouts of WebSockets alone. Default: idle as long as requestTimeout, no maximum.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub web_socket: Option<WebSocketTimeouts>,

    /// Time until a connection to the backend stands; 0s: none. To 24h, default 5s.
    #[serde(default = "defaults::connect_timeout")]
    #[schemars(extend("x-kubernetes-validations" = at_most("24h")))]
    pub connect_timeout: Duration,

    /// How long a body may stand still, either way; 0s for event streams that may. To 24h, default 5m.
    #[serde(default = "defaults::stream_idle_timeout")]
    #[schemars(extend("x-kubernetes-validations" = at_most("24h")))]
    pub stream_idle_timeout: Duration,

    /// What a departing backend keeps, and for how long. Default: everything, 30s.
    #[serde(default = "defaults::connection_draining")]
    pub connection_draining: ConnectionDraining,

    /// Keeps a client on one backend by a cookie. Default: off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cookie_affinity: Option<CookieAffinity>,

    /// Which backend takes the next request: RoundRobin, LeastConnections or IpHash. Default: RoundRobin.
    #[serde(default)]
    pub load_balancing: LoadBalancing,

    /// When a request is sent once more, to another backend. Default: one more attempt, not after a timeout.
    #[serde(default = "defaults::retry")]
    pub retry: Retry,

    /// When an endpoint whose requests fail is taken out for a while. Default: after 5 failures in a row, for 30s, at most half of the endpoints.
    #[serde(default = "defaults::outlier_detection")]
    pub outlier_detection: OutlierDetection,

    /// How an endpoint that is new, or has come back, gets to its share. Default: at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slow_start: Option<SlowStart>,

    /// How much the backend gets at once. Default: as much as comes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<BackendLimits>,

    /// Host sent to the backend. Default: the client's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = HOST_LEN), regex(pattern = HOST))]
    pub host_name: Option<String>,

    /// Sends the backend's own name as Host: the address' host, or the Service's name. Default: false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pick_host_name_from_backend: Option<bool>,

    /// Replaces the literal prefix that the rule's path matched; without a path, stands before the whole path. Starts with a slash.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = PATH_LEN), regex(pattern = PATH))]
    pub path: Option<String>,

    /// Probe of the gateway, by name. Default: the Pod's readinessProbe (httpGet or grpc), else GET / where any complete answer below 500 is good.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = NAME_LEN), regex(pattern = NAME))]
    pub probe: Option<String>,

    /// How the backend's certificate is checked, and what it is shown and offered; without effect unless the protocol is HTTPS. Default: by the system's authorities and the Host sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<BackendTls>,
}

impl Default for BackendSettings {
    /// The settings of a backend that names none.
    fn default() -> Self {
        Self {
            protocol: defaults::backend_protocol(),
            port: None,
            request_timeout: defaults::request_timeout(),
            web_socket: None,
            connect_timeout: defaults::connect_timeout(),
            stream_idle_timeout: defaults::stream_idle_timeout(),
            connection_draining: defaults::connection_draining(),
            cookie_affinity: None,
            load_balancing: LoadBalancing::default(),
            retry: defaults::retry(),
            outlier_detection: defaults::outlier_detection(),
            slow_start: None,
            limits: None,
            host_name: None,
            pick_host_name_from_backend: None,
            path: None,
            probe: None,
            tls: None,
        }
    }
}

/// What is spoken to a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum BackendProtocol {
    /// HTTP/1.1.
    Http,
    /// HTTP over TLS; HTTP/2 where the backend picks it.
    Https,
    /// HTTP/2 without TLS, with prior knowledge.
    H2c,
}

/// Timeouts of WebSockets.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WebSocketTimeouts {
    /// Silence in both directions after which a WebSocket is closed; 0s: never. To 7 days (168h), default requestTimeout.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-kubernetes-validations" = at_most("168h")))]
    pub idle_timeout: Option<Duration>,

    /// Age at which a WebSocket is closed; 0s: never. To 7 days (168h), default never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-kubernetes-validations" = at_most("168h")))]
    pub max_duration: Option<Duration>,
}

/// What a departing backend keeps, and for how long.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = rules(&[(
    "!has(self.spread) || duration(self.spread) <= duration(self.timeout)",
    "spread is the last part of timeout and cannot be longer"
)])))]
pub struct ConnectionDraining {
    /// How long a departing backend keeps its requests and WebSockets. To 1h, default 30s.
    #[serde(default = "defaults::draining_timeout")]
    #[schemars(extend("x-kubernetes-validations" = at_most("1h")))]
    pub timeout: Duration,

    /// The last part of the timeout, in which WebSockets are closed evenly with 1001. To 1h, default a tenth of the timeout.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-kubernetes-validations" = at_most("1h")))]
    pub spread: Option<Duration>,
}

/// Keeps a client on one backend.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CookieAffinity {
    /// Name of the cookie, a token of RFC 6265. Default: ApplicationGatewayAffinity.
    #[serde(default = "defaults::affinity_cookie")]
    #[schemars(length(min = 1, max = TOKEN_LEN), regex(pattern = TOKEN))]
    pub cookie_name: String,

    /// Sets Secure on the cookie, so that browsers take and send it over TLS only, wherever TLS ends. Without it a site on HTTP has sessions, too; the twin for other sites (CORS) has Secure anyway. Default: false, as in Azure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secure: Option<bool>,
}

/// Which backend takes the next request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum LoadBalancing {
    #[default]
    /// One after the other, by weight.
    RoundRobin,
    /// The one with the fewest requests and WebSockets under way, by weight.
    LeastConnections,
    /// The one that the client's address maps to.
    IpHash,
}

/// When a request is sent once more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Retry {
    /// How often a request that the backend has not taken goes to another one, 0 to 5. Default 1.
    #[serde(default = "defaults::retry_attempts")]
    #[schemars(range(min = 0, max = 5))]
    pub attempts: u32,

    /// Whether idempotent requests are also sent again after requestTimeout, as Azure does. Default: false.
    #[serde(default)]
    pub on_timeout: bool,
}

/// TLS to a backend: how its certificate is checked, and what it is shown and offered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BackendTls {
    /// Authorities that sign the backend's certificate. Default: the system's. At most 16.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "atomic"))]
    pub ca_certificate_refs: Vec<CaRef>,

    /// Certificate shown to backends that ask for one (mutual TLS). Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_certificate_ref: Option<SecretRef>,

    /// Server name sent in the handshake and looked for in the certificate. Default: the Host sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = HOST_LEN), regex(pattern = HOST))]
    pub sni_name: Option<String>,

    /// Names of which the backend's certificate must have one, in place of the server name, which is sent all the same. Default: the server name. At most 5.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 5), extend("x-kubernetes-list-type" = "atomic"))]
    pub subject_alt_names: Vec<SubjectAltName>,

    /// Whether the certificate is checked at all. Default: true.
    #[serde(default = "defaults::yes")]
    pub verify: bool,

    /// Whether HTTP/2 is offered in the handshake (ALPN), which gRPC needs; the backend picks. WebSockets are always opened in HTTP/1.1. Default: true.
    #[serde(default = "defaults::yes")]
    pub http2: bool,
}

impl Default for BackendTls {
    fn default() -> Self {
        Self {
            ca_certificate_refs: Vec::new(),
            client_certificate_ref: None,
            sni_name: None,
            subject_alt_names: Vec::new(),
            verify: defaults::yes(),
            http2: defaults::yes(),
        }
    }
}

/// A name that a backend's certificate may have, as in BackendTLSPolicy of Gateway API.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = rules(&[
    ("(self.type == 'Hostname') == has(self.hostname)", "type Hostname goes with hostname, and with nothing else"),
    ("(self.type == 'URI') == has(self.uri)", "type URI goes with uri, and with nothing else"),
])))]
pub struct SubjectAltName {
    /// Hostname or URI.
    #[serde(rename = "type")]
    pub type_: SubjectAltNameType,

    /// A DNS name. One with a wildcard in the certificate matches it, too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = HOST_LEN), regex(pattern = HOST))]
    pub hostname: Option<String>,

    /// A whole URI, such as the SPIFFE ID of a service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = URI))]
    pub uri: Option<String>,
}

/// Kind of a subject alternative name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum SubjectAltNameType {
    /// A DNS name.
    Hostname,
    /// A URI.
    #[serde(rename = "URI")]
    Uri,
}
