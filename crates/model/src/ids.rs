//! Names of things. They are what metrics, logs and statuses say, so they are the users' own names.

use std::fmt;
use std::sync::Arc;

/// A short shared string: cloned everywhere, compared often.
pub type Name = Arc<str>;

/// A gateway: `namespace/name`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GatewayId {
    /// Namespace of the gateway.
    pub namespace: Name,
    /// Name of the gateway.
    pub name: Name,
}

/// A listener of a gateway.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ListenerId {
    /// The gateway that declares it.
    pub gateway: GatewayId,
    /// Its name, unique in the gateway.
    pub name: Name,
}

/// The object a route comes from: `namespace/name` of a rule.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RuleId {
    /// Namespace of the rule.
    pub namespace: Name,
    /// Name of the rule.
    pub name: Name,
}

impl GatewayId {
    /// `namespace/name` from its parts.
    pub fn new(namespace: impl Into<Name>, name: impl Into<Name>) -> Self {
        Self { namespace: namespace.into(), name: name.into() }
    }
}

impl RuleId {
    /// `namespace/name` from its parts.
    pub fn new(namespace: impl Into<Name>, name: impl Into<Name>) -> Self {
        Self { namespace: namespace.into(), name: name.into() }
    }
}

impl fmt::Display for GatewayId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

impl fmt::Display for ListenerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.gateway, self.name)
    }
}

impl fmt::Display for RuleId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}
