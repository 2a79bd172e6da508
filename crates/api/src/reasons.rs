//! The closed vocabulary of status: condition types, and one enum of reasons per kind of object. Each reason has one meaning.

use std::fmt;

/// A type of condition, with Gateway API's meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ConditionType {
    /// The object is valid and taken.
    Accepted,
    /// Everything that the object refers to was found and may be used.
    ResolvedRefs,
    /// The object is in the traffic.
    Programmed,
}

impl ConditionType {
    /// The value of a condition's `type`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "Accepted",
            Self::ResolvedRefs => "ResolvedRefs",
            Self::Programmed => "Programmed",
        }
    }
}

/// Defines a closed set of reasons whose texts are the names of the variants.
macro_rules! reasons {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name { $($(#[$variant_doc])* $variant,)* }

        impl $name {
            /// Every reason, in the order of the documentation.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The value of a condition's `reason`.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => stringify!($variant),)* }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

reasons! {
    /// Reasons in the conditions of an `ApplicationGateway`.
    GatewayReason {
        /// Accepted: the gateway is valid.
        Accepted,
        /// Accepted, but at least one listener is not: see the listeners' conditions.
        ListenersNotValid,
        /// Not accepted, or a part of it not in force: a value cannot be read or carried out.
        InvalidValue,
        /// Accepted, but a field, or one of its values, has no effect yet.
        UnsupportedField,
        /// Programmed: the ports are bound and an address is there.
        Programmed,
        /// Not programmed yet.
        Pending,
        /// Not programmed: the Service in front has no address.
        AddressNotAssigned,
        /// Not programmed: no port, memory or file descriptor was left.
        NoResources,
        /// References: all of the gateway's own pools and settings are resolved.
        ResolvedRefs,
        /// A certificate authority of backend settings is missing or unusable.
        InvalidCertificateRef,
        /// A reference into another namespace without a ReferenceGrant there.
        RefNotPermitted,
        /// A Service of a pool does not exist.
        ServiceNotFound,
        /// A Service of a pool has no such port.
        PortNotFound,
        /// A Service of a pool has no endpoints.
        NoEndpoints,
    }
}

reasons! {
    /// Reasons in the conditions of a listener.
    ListenerReason {
        /// Accepted: the listener is valid.
        Accepted,
        /// Not accepted: an older listener has the same port and host, or speaks another protocol on the port.
        Conflicted,
        /// Not accepted: the port could not be bound.
        PortUnavailable,
        /// Not accepted: a value is not supported, such as an unknown TLS policy.
        UnsupportedValue,
        /// References: all were found.
        ResolvedRefs,
        /// A certificate is missing or broken.
        InvalidCertificateRef,
        /// A custom error page is not there; the built-in answer is sent.
        ErrorPageNotFound,
        /// A certificate has expired; it is served all the same.
        CertificateExpired,
        /// A certificate ends soon: within 30 days, or in the last fifth of a life of less than 150 days.
        CertificateExpiresSoon,
        /// A reference into another namespace without a ReferenceGrant there.
        RefNotPermitted,
        /// Programmed: the port is bound.
        Programmed,
        /// Not programmed yet.
        Pending,
    }
}

reasons! {
    /// Reasons in the conditions of a `RoutingRule`.
    RuleReason {
        /// Accepted: the rule is in force.
        Accepted,
        /// Not accepted: the gateway does not exist.
        GatewayNotFound,
        /// Not accepted: the gateway has no listener of this name.
        ListenerNotFound,
        /// Not accepted: the gateway's allowedRules do not let this rule in, or not with a priority.
        NotAllowedByGateway,
        /// Not accepted: no listener answers for one of the rule's hosts.
        HostNotCovered,
        /// Not accepted: the host belongs to the namespace of an older rule.
        HostTaken,
        /// Not accepted: a value cannot be carried out.
        InvalidValue,
        /// References: all were found.
        ResolvedRefs,
        /// The gateway has no backend pool of this name.
        PoolNotFound,
        /// The gateway has no backend settings of this name.
        SettingsNotFound,
        /// The gateway has no probe of this name.
        ProbeNotFound,
        /// A Service does not exist.
        ServiceNotFound,
        /// A Service has no such port.
        PortNotFound,
        /// A Service has no endpoints.
        NoEndpoints,
        /// A reference into another namespace without a ReferenceGrant there.
        RefNotPermitted,
        /// The gateway has no rewrite rule set of this name.
        RewriteSetNotFound,
        /// Most WebSockets of the rule are closed because nothing moves in them for as long as they may be idle.
        WebSocketsIdle,
    }
}

impl ListenerReason {
    /// Whether it only warns: nothing is refused.
    pub const fn warns(self) -> bool {
        matches!(self, Self::CertificateExpired | Self::CertificateExpiresSoon)
    }

    /// The reason of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|reason| reason.as_str() == name)
    }
}

impl RuleReason {
    /// Whether it only warns: nothing is refused.
    pub const fn warns(self) -> bool {
        matches!(self, Self::WebSocketsIdle)
    }

    /// The reason of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|reason| reason.as_str() == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_is_one_that_the_schema_of_conditions_takes() {
        let pattern = regex::Regex::new("^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$").expect("a regular expression");
        let all = GatewayReason::ALL
            .iter()
            .map(|r| r.as_str())
            .chain(ListenerReason::ALL.iter().map(|r| r.as_str()))
            .chain(RuleReason::ALL.iter().map(|r| r.as_str()));
        for reason in all {
            assert!(pattern.is_match(reason), "{reason}");
        }
    }

    #[test]
    fn names_are_unique_within_a_kind() {
        let mut names: Vec<_> = RuleReason::ALL.iter().map(|r| r.as_str()).collect();
        names.dedup();
        assert_eq!(names.len(), RuleReason::ALL.len());
        assert_eq!(RuleReason::HostTaken.to_string(), "HostTaken");
    }
}
