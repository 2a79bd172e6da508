//! Building blocks of the schema that attributes name: limits, patterns, list maps and CEL rules.
//!
//! Limits are shared so that the same thing (a host, a name) is the same everywhere. Patterns cost the API server nothing, CEL rules are
//! charged by the largest object that could exist: patterns come first, CEL only where two fields meet or numbers hide in text.

use kube_core::Rule;
use serde_json::{Value, json};

/// A name that our own fields give or refer to: listener, pool, settings, probe, rewrite rule set, path.
pub(crate) const NAME: &str = "^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?$";
/// The longest such name; it is a label value in metrics.
pub(crate) const NAME_LEN: usize = 63;
/// The name of a Kubernetes object (RFC 1123 subdomain).
pub(crate) const OBJECT: &str = r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*$";
/// The longest object name.
pub(crate) const OBJECT_LEN: usize = 253;
/// A namespace (RFC 1123 label).
pub(crate) const NAMESPACE: &str = "^[a-z0-9]([a-z0-9-]*[a-z0-9])?$";
/// The longest namespace.
pub(crate) const NAMESPACE_LEN: usize = 63;
/// A host that clients ask for; `*` and `?` stand anywhere, as Azure allows, a trailing dot is ignored.
pub(crate) const HOST_PATTERN: &str =
    r"^[A-Za-z0-9*?]([A-Za-z0-9*?_-]*[A-Za-z0-9*?])?(\.[A-Za-z0-9*?]([A-Za-z0-9*?_-]*[A-Za-z0-9*?])?)*\.?$";
/// One host without wildcards.
pub(crate) const HOST: &str =
    r"^[A-Za-z0-9]([A-Za-z0-9_-]*[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9_-]*[A-Za-z0-9])?)*\.?$";
/// A URI with a scheme (RFC 3986 4.3), of ASCII.
pub(crate) const URI: &str = "^[A-Za-z][A-Za-z0-9+.-]*:[!-~]+$";
/// A host name or an IP address (IPv6 without brackets).
pub(crate) const ADDRESS: &str = r"^([A-Za-z0-9]([A-Za-z0-9_-]*[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9_-]*[A-Za-z0-9])?)*\.?|[0-9a-fA-F:]*:[0-9a-fA-F:.]*)$";
/// The longest host (RFC 1035) with its trailing dot.
pub(crate) const HOST_LEN: usize = 254;
/// An address block; a bare address is a block of one.
pub(crate) const CIDR: &str = "^[0-9a-fA-F.:]+(/[0-9]{1,3})?$";
/// The longest address block: IPv6 with an embedded IPv4 address.
pub(crate) const CIDR_LEN: usize = 49;
/// A URL path without query; no wildcard.
pub(crate) const PATH: &str = r"^/[^*?#\s]*$";
/// A URL path as probes send it; a query may follow.
pub(crate) const PROBE_PATH: &str = r"^/[^#\s]*$";
/// A path pattern of a rule: starts with a slash, `*` only at the end.
pub(crate) const PATH_PATTERN: &str = r"^/[^*?#\s]*\*?$";
/// The longest path.
pub(crate) const PATH_LEN: usize = 1024;
/// A status code or a range of them.
pub(crate) const STATUS_CODES: &str = "^[1-5][0-9]{2}(-[1-5][0-9]{2})?$";
/// A token of RFC 9110 5.6.2: header and cookie names.
pub(crate) const TOKEN: &str = "^[!#$%&'*+.^_`|~0-9A-Za-z-]+$";
/// The longest header or cookie name.
pub(crate) const TOKEN_LEN: usize = 128;
/// An absolute HTTP URL.
pub(crate) const URL: &str = r"^https?://[^\s/?#]+[^\s]*$";

/// What a pattern asks for, in words, where it is one that people write against: an expression alone helps few.
pub(crate) fn in_words(pattern: &str) -> Option<&'static str> {
    Some(match pattern {
        crate::duration::PATTERN => "a duration such as 500ms, 20s or 1h30m",
        crate::gateway::BYTES => "a size such as 512k or 10Mi",
        PATH_PATTERN => "a path that begins with / and has * only at its end",
        PATH | PROBE_PATH => "a path that begins with /",
        HOST_PATTERN => "a host name without scheme and port; * and ? may stand in it",
        HOST => "a host name without scheme, port and wildcards",
        ADDRESS => "an IP address or a host name, without a port",
        CIDR => "an address block such as 10.0.0.0/8",
        STATUS_CODES => "a status code such as 200, or a range such as 200-399",
        URL => "a URL that begins with http:// or https://",
        _ => return None,
    })
}

/// The value of `x-kubernetes-validations` for pairs of rule and message.
pub(crate) fn rules(pairs: &[(&str, &str)]) -> Value {
    pairs.iter().map(|&pair| json!(Rule::from(pair))).collect()
}

/// The rule of a duration field: at most `longest`.
pub(crate) fn at_most(longest: &str) -> Value {
    rules(&[(&format!("duration(self) <= duration('{longest}')"), &format!("must be at most {longest}"))])
}

/// The rule of a duration field: from `shortest` to `longest`.
pub(crate) fn between(shortest: &str, longest: &str) -> Value {
    let rule = format!("duration(self) >= duration('{shortest}') && duration(self) <= duration('{longest}')");
    rules(&[(&rule, &format!("must be from {shortest} to {longest}"))])
}

/// The schema of a Service port: a number, or the name of one of its ports.
pub(crate) fn port_reference(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({
        "x-kubernetes-int-or-string": true,
        "anyOf": [{"type": "integer"}, {"type": "string"}],
        "minimum": 1,
        "maximum": 65535,
        "maxLength": 63,
        "pattern": "^[a-z0-9]([a-z0-9-]*[a-z0-9])?$"
    })
}

/// The schema of status conditions: Kubernetes' own, with the limits that Gateway API gives it.
pub(crate) fn conditions(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({
        "type": "array",
        "maxItems": 8,
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["type"],
        "items": {
            "type": "object",
            "description": "One aspect of the state.",
            "required": ["type", "status", "reason", "message", "lastTransitionTime"],
            "properties": {
                "type": {"type": "string", "maxLength": 316, "description": "The aspect, such as Accepted, ResolvedRefs or Programmed."},
                "status": {"type": "string", "enum": ["True", "False", "Unknown"], "description": "Whether it holds."},
                "observedGeneration": {"type": "integer", "format": "int64", "minimum": 0, "description": "The metadata.generation that this was judged by."},
                "lastTransitionTime": {"type": "string", "format": "date-time", "maxLength": 64, "description": "When status last changed."},
                "reason": {"type": "string", "minLength": 1, "maxLength": 1024, "pattern": "^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$", "description": "The cause in one word."},
                "message": {"type": "string", "maxLength": 32768, "description": "The cause for humans: object, field, value and remedy."}
            }
        }
    })
}

/// The schema of a label selector: Kubernetes' own, with limits.
pub(crate) fn label_selector(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({
        "type": "object",
        "x-kubernetes-map-type": "atomic",
        "properties": {
            "matchLabels": {
                "type": "object",
                "description": "Labels that must be there with these values.",
                "maxProperties": 32,
                "additionalProperties": {"type": "string", "maxLength": 63}
            },
            "matchExpressions": {
                "type": "array",
                "description": "Requirements that must all hold.",
                "maxItems": 32,
                "x-kubernetes-list-type": "atomic",
                "items": {
                    "type": "object",
                    "required": ["key", "operator"],
                    "properties": {
                        "key": {"type": "string", "maxLength": 317, "description": "The label."},
                        "operator": {"type": "string", "enum": ["In", "NotIn", "Exists", "DoesNotExist"], "description": "How the label relates to the values."},
                        "values": {"type": "array", "maxItems": 32, "x-kubernetes-list-type": "atomic", "items": {"type": "string", "maxLength": 63}, "description": "Values for In and NotIn; none for the others."}
                    }
                }
            }
        }
    })
}
