//! `ApplicationGateway`: listeners, and what rules share. Owned by whoever runs the gateway.
#![allow(clippy::duplicated_attributes, reason = "printer columns share types and paths")]

mod backend;
mod limits;
mod listener;
mod outlier;
mod probe;
mod rewrite;
mod service;
mod slow_start;
mod status;

pub use backend::{
    BackendAddress, BackendPool, BackendProtocol, BackendSettings, BackendTls, ConnectionDraining, CookieAffinity,
    LoadBalancing, NamedBackendSettings, Retry, ServiceRef, SubjectAltName, SubjectAltNameType, WebSocketTimeouts,
};
pub(crate) use limits::BYTES;
pub use limits::{BackendLimits, parse_bytes};
pub use listener::{
    CaKind, CaRef, ClientAuth, ClientAuthMode, ConfigMapKeyRef, CustomErrorPage, Listener, ListenerProtocol,
    ListenerTls, SecretRef, TlsPolicy, TlsVersion,
};
pub use outlier::OutlierDetection;
pub use probe::{GrpcProbe, Probe, ProbeMatch};
pub use rewrite::{HeaderEdit, RewriteActions, RewriteCondition, RewriteRule, RewriteRuleSet, UrlRewrite};
pub use service::{
    AllowedRules, ClientAddress, ExternalTrafficPolicy, FromNamespaces, GatewayService, HostSharing, PriorityFrom,
    ProxyProtocol, RuleNamespaces, ServiceType,
};
pub use slow_start::SlowStart;
pub use status::{
    AddressType, ApplicationGatewayStatus, BackendStatus, GatewayAddress, GatewaySummary, ListenerStatus,
    UnhealthyEndpoint,
};

use kube_derive::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::constraint::{NAME, NAME_LEN, rules};
use crate::defaults;

/// What a gateway serves: its listeners, who may attach rules, and the backends and settings that rules share.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "penstock.dev",
    version = "v1alpha1",
    kind = "ApplicationGateway",
    namespaced,
    status = "ApplicationGatewayStatus",
    derive = "PartialEq",
    shortname = "ag",
    category = "penstock",
    category = "networking",
    doc = "A gateway: listeners with ports, hosts and certificates, and the backend pools, settings, probes and rewrite rule sets that RoutingRules share. The shape follows Azure Application Gateway.",
    printcolumn(
        name = "Class",
        type_ = "string",
        json_path = ".spec.className",
        description = "Which installation serves it"
    ),
    printcolumn(
        name = "Address",
        type_ = "string",
        json_path = ".status.addresses[*].value",
        description = "Where clients reach it"
    ),
    printcolumn(
        name = "Listeners",
        type_ = "integer",
        json_path = ".status.summary.listeners",
        description = "Listeners in force"
    ),
    printcolumn(
        name = "Rules",
        type_ = "integer",
        json_path = ".status.summary.rules",
        description = "Attached RoutingRules"
    ),
    printcolumn(
        name = "Healthy",
        type_ = "string",
        json_path = ".status.summary.healthy",
        description = "Backend endpoints that take traffic, of all"
    ),
    printcolumn(
        name = "Programmed",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Programmed")].status"#,
        description = "Whether its ports are bound and it has an address"
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    crates(kube_core = "::kube_core")
)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = rules(&[(
    "!has(self.backendSettings) || self.backendSettings.all(s, !has(s.probe) || (has(self.probes) && self.probes.exists(p, p.name == s.probe)))",
    "every probe that backendSettings name must be one of probes: add it there, or remove the reference"
)])))]
pub struct ApplicationGatewaySpec {
    /// Which installation of Penstock serves this gateway: the one started with `--class` of this value. Default: penstock.
    #[serde(default = "defaults::class_name")]
    #[schemars(length(min = 1, max = NAME_LEN), regex(pattern = NAME))]
    pub class_name: String,

    /// The Kubernetes Service that Penstock keeps in front of this gateway. Default: a LoadBalancer. Not used with `--gateway-service shared` and standalone.
    #[serde(default)]
    pub service: GatewayService,

    /// How the client's own address is found behind a load balancer. Default: the process flags.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_address: Option<ClientAddress>,

    /// Where the gateway accepts connections: 1 to 64 listeners, unique by name.
    #[schemars(length(min = 1, max = 64), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub listeners: Vec<Listener>,

    /// Pages sent in place of the gateway's own error answers, on every listener that has none of its own for a code. At most 16.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "atomic"))]
    pub custom_error_pages: Vec<CustomErrorPage>,

    /// Which RoutingRules may attach, and what they may do. Default: those of the gateway's own namespace.
    #[serde(default)]
    pub allowed_rules: AllowedRules,

    /// Backends that rules share by name. At most 100.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub backend_pools: Vec<BackendPool>,

    /// How backends are spoken to, by name. At most 100.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub backend_settings: Vec<NamedBackendSettings>,

    /// How the health of backends is found out, by name. At most 100.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub probes: Vec<Probe>,

    /// Edits of headers and URLs that rules name. At most 64.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub rewrite_rule_sets: Vec<RewriteRuleSet>,
}
