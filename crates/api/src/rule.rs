//! `RoutingRule`: which requests go where. Owned by whoever runs the application.
#![allow(clippy::duplicated_attributes, reason = "printer columns share types and paths")]

use kube_derive::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::constraint::{
    HOST_LEN, HOST_PATTERN, NAME, NAME_LEN, NAMESPACE, NAMESPACE_LEN, OBJECT, OBJECT_LEN, PATH_LEN, PATH_PATTERN, URL,
    conditions, rules,
};
use crate::gateway::{BackendSettings, ServiceRef};
use crate::k8s::Condition;

/// Which requests of a gateway go where.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "penstock.dev",
    version = "v1alpha1",
    kind = "RoutingRule",
    namespaced,
    status = "RoutingRuleStatus",
    derive = "PartialEq",
    shortname = "rr",
    category = "penstock",
    category = "networking",
    doc = "Routes requests of an ApplicationGateway by host and path to backends or redirects.",
    printcolumn(
        name = "Gateway",
        type_ = "string",
        json_path = ".status.summary.gateway",
        description = "The gateway it attaches to"
    ),
    printcolumn(
        name = "Hosts",
        type_ = "string",
        json_path = ".status.summary.hosts",
        description = "The hosts it serves"
    ),
    printcolumn(
        name = "Priority",
        type_ = "integer",
        json_path = ".spec.priority",
        description = "Its place before the rules without one"
    ),
    printcolumn(
        name = "Accepted",
        type_ = "string",
        json_path = r#".status.parents[*].conditions[?(@.type=="Accepted")].status"#,
        description = "Whether the gateway takes it"
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    crates(kube_core = "::kube_core")
)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = rules(&[(
    "!(has(self.backend) && has(self.redirect))",
    "give backend or redirect, not both: a request goes to one of them"
)])))]
pub struct RoutingRuleSpec {
    /// The gateway that the rule attaches to.
    pub gateway_ref: GatewayRef,

    /// Listeners of the gateway, by name. Default: every listener. At most 64.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = NAME_LEN), regex(pattern = NAME)), extend("x-kubernetes-list-type" = "atomic"))]
    pub listeners: Vec<String>,

    /// Hosts that the rule takes, among those of the listener; `*` and `?` may stand anywhere. Default: all of the listener's. At most 64.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = HOST_LEN), regex(pattern = HOST_PATTERN)), extend("x-kubernetes-list-type" = "atomic"))]
    pub host_names: Vec<String>,

    /// 1 (first) to 20000. Default: none, which comes after all rules that have one and goes by the most specific host and path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 20000))]
    pub priority: Option<u32>,

    /// Where everything goes that no path takes. Without this and redirect, such requests go to the next rule, at last 404.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backend: Option<RuleBackend>,

    /// Redirects everything that no path takes; in place of backend.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redirect: Option<Redirect>,

    /// Rewrite rule set of the gateway, by name, for every request of this rule that goes to a backend.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = NAME_LEN), regex(pattern = NAME))]
    pub rewrite_rule_set: Option<String>,

    /// Paths with a backend or redirect of their own, compared without case. At most 128.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 128), extend("x-kubernetes-list-type" = "atomic"))]
    pub paths: Vec<PathRule>,
}

/// A gateway by name.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GatewayRef {
    /// Name of the ApplicationGateway.
    #[schemars(length(min = 1, max = OBJECT_LEN), regex(pattern = OBJECT))]
    pub name: String,

    /// Namespace of the gateway, whose `allowedRules` must let this namespace in. Default: the rule's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = NAMESPACE_LEN), regex(pattern = NAMESPACE))]
    pub namespace: Option<String>,
}

/// Where requests go: a pool of the gateway, or Services named here.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = rules(&[
    ("has(self.pool) != (has(self.services) && size(self.services) > 0)", "give exactly one of pool and services"),
    ("!(has(self.settings) && has(self.inlineSettings))", "give settings or inlineSettings, not both"),
])))]
pub struct RuleBackend {
    /// Backend pool of the gateway, by name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = NAME_LEN), regex(pattern = NAME))]
    pub pool: Option<String>,

    /// Services of the rule's namespace, others by ReferenceGrant; in place of pool. At most 32.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), extend("x-kubernetes-list-type" = "atomic"))]
    pub services: Vec<ServiceRef>,

    /// Backend settings of the gateway, by name. Default: the defaults of every setting.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = NAME_LEN), regex(pattern = NAME))]
    pub settings: Option<String>,

    /// Backend settings spelt out here; in place of settings.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inline_settings: Option<Box<BackendSettings>>,
}

/// Answers with a redirect.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = rules(&[("has(self.listener) != has(self.url)", "give exactly one of listener and url")])))]
pub struct Redirect {
    /// Permanent (301), Found (302), SeeOther (303) or Temporary (307).
    #[serde(rename = "type")]
    pub type_: RedirectType,

    /// Listener whose scheme and port the client is sent to; not one with a wildcard host, not the rule's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = NAME_LEN), regex(pattern = NAME))]
    pub listener: Option<String>,

    /// Absolute URL that the client is sent to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 2048), regex(pattern = URL))]
    pub url: Option<String>,

    /// Whether the request's path is kept. Default: true with listener, false with url.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub include_path: Option<bool>,

    /// Whether the request's query is kept. Default: true with listener, false with url.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub include_query_string: Option<bool>,
}

/// Kind of redirect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum RedirectType {
    /// 301.
    Permanent,
    /// 302.
    Found,
    /// 303.
    SeeOther,
    /// 307.
    Temporary,
}

/// Paths that go to a backend or redirect of their own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = rules(&[
    ("has(self.backend) != has(self.redirect)", "give exactly one of backend and redirect"),
    ("!has(self.rewriteRuleSet) || has(self.backend)", "redirects are not rewritten: remove rewriteRuleSet, or give a backend")
])))]
pub struct PathRule {
    /// Name, for messages, metrics and logs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = NAME_LEN), regex(pattern = NAME))]
    pub name: Option<String>,

    /// Path patterns, 1 to 16: each starts with a slash, with `*` only at the end; without it the path matches exactly.
    #[schemars(length(min = 1, max = 16), inner(length(min = 1, max = PATH_LEN), regex(pattern = PATH_PATTERN)), extend("x-kubernetes-list-type" = "atomic"))]
    pub paths: Vec<String>,

    /// Where requests for these paths go.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backend: Option<RuleBackend>,

    /// Redirects requests for these paths; in place of backend.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redirect: Option<Redirect>,

    /// Rewrite rule set of the gateway, by name, for these paths alone, in place of the rule's. Default: the rule's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = NAME_LEN), regex(pattern = NAME))]
    pub rewrite_rule_set: Option<String>,
}

/// What became of a rule.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RoutingRuleStatus {
    /// Texts for `kubectl get`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summary: Option<RuleSummary>,

    /// What each gateway says about the rule. At most 8.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8), extend("x-kubernetes-list-type" = "atomic"))]
    pub parents: Vec<ParentStatus>,
}

/// Texts for `kubectl get`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RuleSummary {
    /// Namespace and name of the gateway: `edge/shop`.
    #[schemars(length(max = 320))]
    pub gateway: String,

    /// Hosts that the rule serves, comma separated, cut where they are many.
    #[schemars(length(max = 1024))]
    pub hosts: String,
}

/// What one gateway says about a rule.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ParentStatus {
    /// The gateway.
    pub gateway_ref: GatewayRef,

    /// Accepted and ResolvedRefs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "conditions")]
    pub conditions: Vec<Condition>,
}
