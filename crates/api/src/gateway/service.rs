//! What surrounds a gateway: the Service in front, the client's address, and whose rules it takes.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::constraint::{CIDR, CIDR_LEN, label_selector, rules};
use crate::k8s::LabelSelector;

/// The Service in front of a gateway. The leader keeps it in Penstock's own namespace; its ports are the listeners' ports.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = rules(&[
    ("self.type == 'LoadBalancer' || !has(self.loadBalancerClass)", "loadBalancerClass needs type LoadBalancer: remove it, or change type"),
    ("self.type == 'LoadBalancer' || !has(self.loadBalancerSourceRanges)", "loadBalancerSourceRanges needs type LoadBalancer: remove it, or change type"),
    ("self.type != 'ClusterIP' || !has(self.externalTrafficPolicy)", "externalTrafficPolicy needs type LoadBalancer or NodePort: remove it, or change type"),
])))]
pub struct GatewayService {
    /// Kind of Service. Default: LoadBalancer.
    #[serde(default, rename = "type")]
    pub type_: ServiceType,

    /// Annotations put on the Service, for cloud load balancers. Those that others put there survive. At most 64.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 64, "additionalProperties" = {"type": "string", "maxLength": 4096}))]
    pub annotations: BTreeMap<String, String>,

    /// Which load balancer implementation takes the Service, such as `service.k8s.aws/nlb`. Cannot change once the Service exists: Kubernetes forbids it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 317))]
    pub load_balancer_class: Option<String>,

    /// Address blocks from which the load balancer accepts clients. Default: all. At most 128.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 128), inner(length(max = CIDR_LEN), regex(pattern = CIDR)), extend("x-kubernetes-list-type" = "atomic"))]
    pub load_balancer_source_ranges: Vec<String>,

    /// Local keeps the client's address and sends traffic only to nodes with a Pod of Penstock; Cluster spreads over all nodes. Default: Kubernetes' own (Cluster).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external_traffic_policy: Option<ExternalTrafficPolicy>,
}

/// Kind of Service in front.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ServiceType {
    #[default]
    /// An address from the cloud or from a load balancer in the cluster.
    LoadBalancer,
    /// A port on every node.
    NodePort,
    /// Reachable in the cluster only.
    #[serde(rename = "ClusterIP")]
    ClusterIp,
}

/// Where traffic from outside may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ExternalTrafficPolicy {
    /// Any node.
    Cluster,
    /// Only nodes with a Pod of Penstock; the client's address stays.
    Local,
}

/// How the client's own address is found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClientAddress {
    /// Address blocks whose `X-Forwarded-*` headers and PROXY protocol are believed. Default: the flag `--trusted-proxies`; an empty list trusts nobody. At most 128.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128), inner(length(max = CIDR_LEN), regex(pattern = CIDR)), extend("x-kubernetes-list-type" = "atomic"))]
    pub trusted_proxies: Option<Vec<String>>,

    /// Whether connections of trusted proxies start with a PROXY protocol header (v1 or v2): "Off", Optional or Required. Default: the flag `--proxy-protocol`. Write "Off" in quotes: YAML 1.1 reads a bare Off as false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proxy_protocol: Option<ProxyProtocol>,
}

/// Whether a PROXY protocol header is expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ProxyProtocol {
    /// Never read.
    Off,
    /// Read where one is.
    Optional,
    /// Connections of trusted proxies without one are closed.
    Required,
}

/// Which RoutingRules may attach, and what they may do.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AllowedRules {
    /// Namespaces whose rules may attach. Default: the gateway's own.
    #[serde(default)]
    pub namespaces: RuleNamespaces,

    /// Whose rules may set a priority: GatewayNamespace or All. Default: GatewayNamespace, because a priority takes requests from every other rule.
    #[serde(default)]
    pub priority: PriorityFrom,

    /// Shared: rules of several namespaces merge on one host. FirstNamespace: the namespace of the oldest rule for a host owns it, and with a wildcard what lies below. Default: Shared.
    #[serde(default)]
    pub hosts: HostSharing,
}

/// Namespaces whose rules may attach.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = rules(&[(
    "(self.from == 'Selector') == has(self.selector)",
    "selector goes with from: Selector, and only with it"
)])))]
pub struct RuleNamespaces {
    /// Same: the gateway's namespace. All: every namespace. Selector: those with fitting labels. Default: Same.
    #[serde(default)]
    pub from: FromNamespaces,

    /// Labels of the namespaces; with `from: Selector` only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "label_selector")]
    pub selector: Option<LabelSelector>,
}

/// Where rules may come from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum FromNamespaces {
    #[default]
    /// The gateway's namespace.
    Same,
    /// Every namespace.
    All,
    /// Namespaces by label.
    Selector,
}

/// Whose rules may set a priority.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum PriorityFrom {
    #[default]
    /// Rules of the gateway's namespace.
    GatewayNamespace,
    /// Every rule that may attach.
    All,
}

/// Whether namespaces share hosts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum HostSharing {
    #[default]
    /// Rules of several namespaces merge.
    Shared,
    /// The oldest rule's namespace owns the host.
    FirstNamespace,
}
