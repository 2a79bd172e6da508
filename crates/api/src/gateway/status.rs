//! Status of a gateway, written by the replica that holds the Lease.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::constraint::conditions;
use crate::k8s::Condition;

/// What became of a gateway.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ApplicationGatewayStatus {
    /// Accepted, ResolvedRefs and Programmed, with Gateway API's meanings.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "conditions")]
    pub conditions: Vec<Condition>,

    /// Where clients reach the gateway, from the Service in front. At most 16.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "atomic"))]
    pub addresses: Vec<GatewayAddress>,

    /// Every listener with its rules. At most 64.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub listeners: Vec<ListenerStatus>,

    /// Counts for `kubectl get`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summary: Option<GatewaySummary>,

    /// Health of the backends as the leader sees it. At most 256; all of them at /status of the admin port.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256), extend("x-kubernetes-list-type" = "atomic"))]
    pub backends: Vec<BackendStatus>,
}

/// An address of the gateway.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GatewayAddress {
    /// IPAddress or Hostname.
    #[serde(rename = "type")]
    pub type_: AddressType,

    /// The address.
    #[schemars(length(min = 1, max = 253))]
    pub value: String,
}

/// Kind of address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub enum AddressType {
    /// IPv4 or IPv6.
    #[serde(rename = "IPAddress")]
    IpAddress,
    /// A DNS name.
    Hostname,
}

/// What became of a listener.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ListenerStatus {
    /// Name of the listener.
    #[schemars(length(max = 63))]
    pub name: String,

    /// RoutingRules that this listener serves.
    #[schemars(range(min = 0))]
    pub attached_rules: u32,

    /// Accepted and ResolvedRefs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "conditions")]
    pub conditions: Vec<Condition>,
}

/// Counts for `kubectl get`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GatewaySummary {
    /// Listeners in force.
    #[schemars(range(min = 0))]
    pub listeners: u32,

    /// Attached rules.
    #[schemars(range(min = 0))]
    pub rules: u32,

    /// Endpoints that take traffic, of all: `5/6`.
    #[schemars(length(max = 32))]
    pub healthy: String,
}

/// Health of one pool under one set of settings.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BackendStatus {
    /// Name of the pool, or the rule that has the backend inline.
    #[schemars(length(max = 512))]
    pub pool: String,

    /// Name of the settings; none for the defaults and for inline settings.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    pub settings: Option<String>,

    /// Endpoints that take traffic.
    #[schemars(range(min = 0))]
    pub healthy: u32,

    /// Endpoints in all.
    #[schemars(range(min = 0))]
    pub total: u32,

    /// Endpoints that take none, and why. At most 8.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8), extend("x-kubernetes-list-type" = "atomic"))]
    pub unhealthy: Vec<UnhealthyEndpoint>,
}

/// An endpoint that takes no traffic.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct UnhealthyEndpoint {
    /// Address and port.
    #[schemars(length(max = 320))]
    pub address: String,

    /// Why, in one word, such as StatusMismatch.
    #[schemars(length(max = 256))]
    pub reason: String,
}
