//! Rewrite rule sets: edits of headers and URLs, with Azure's variables and syntax.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::constraint::{NAME, NAME_LEN, TOKEN, TOKEN_LEN, rules};
use crate::defaults;

/// Rewrite rules that a RoutingRule names together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RewriteRuleSet {
    /// Name by which rules refer to the set; unique in the gateway.
    #[schemars(length(min = 1, max = NAME_LEN), regex(pattern = NAME))]
    pub name: String,

    /// The rules, carried out by sequence. 1 to 64.
    #[schemars(length(min = 1, max = 64), extend("x-kubernetes-list-type" = "atomic"))]
    pub rules: Vec<RewriteRule>,
}

/// Edits that are made when all conditions hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RewriteRule {
    /// Name, for messages.
    #[schemars(length(min = 1, max = NAME_LEN), regex(pattern = NAME))]
    pub name: String,

    /// Place in the order of the set: lowest first, equal ones as listed. 0 to 20000, default 100.
    #[serde(default = "defaults::sequence")]
    #[schemars(range(min = 0, max = 20000))]
    pub sequence: u32,

    /// Conditions that must all hold. Default: none, the edits are always made. At most 16.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "atomic"))]
    pub conditions: Vec<RewriteCondition>,

    /// The edits.
    pub actions: RewriteActions,
}

/// A test of one variable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RewriteCondition {
    /// Variable under test: a server variable such as `uri_path`, or a header as `http_req_NAME` or `http_resp_NAME`.
    #[schemars(length(min = 1, max = 160), regex(pattern = "^[A-Za-z0-9_-]+$"))]
    pub variable: String,

    /// Regular expression that must be found in the value. Its groups are `{var_NAME_1}` and so on in the edits.
    #[schemars(length(min = 1, max = 1024))]
    pub pattern: String,

    /// Whether case is ignored. Default: false.
    #[serde(default)]
    pub ignore_case: bool,

    /// Whether the condition holds when the pattern is not found. Default: false.
    #[serde(default)]
    pub negate: bool,
}

/// Edits of request headers, response headers and the URL.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = rules(&[(
    "has(self.requestHeaders) || has(self.responseHeaders) || has(self.url)",
    "give at least one of requestHeaders, responseHeaders and url"
)])))]
pub struct RewriteActions {
    /// Headers of the request to the backend. At most 32.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), extend("x-kubernetes-list-type" = "atomic"))]
    pub request_headers: Vec<HeaderEdit>,

    /// Headers of the response to the client. At most 32.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), extend("x-kubernetes-list-type" = "atomic"))]
    pub response_headers: Vec<HeaderEdit>,

    /// Path and query of the request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<UrlRewrite>,
}

/// Sets, appends or deletes one header.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = rules(&[("!self.append || has(self.value)", "append needs a value")])))]
pub struct HeaderEdit {
    /// Name of the header.
    #[schemars(length(min = 1, max = TOKEN_LEN), regex(pattern = TOKEN))]
    pub name: String,

    /// New value; may hold variables such as `{var_client_ip}`. Without a value the header is deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 4096))]
    pub value: Option<String>,

    /// Whether the value becomes one line more, beside those that are there. Default: false, it takes their place.
    #[serde(default)]
    pub append: bool,
}

/// New path and query of a request.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = rules(&[("has(self.path) || has(self.queryString)", "give at least one of path and queryString")])))]
pub struct UrlRewrite {
    /// New path; may hold variables. Default: unchanged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 2048))]
    pub path: Option<String>,

    /// New query without the question mark; may hold variables. Empty removes the query. Default: unchanged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 2048))]
    pub query_string: Option<String>,

    /// Whether the rule's paths are matched again with the new path. Default: false.
    #[serde(default)]
    pub reroute: bool,
}
