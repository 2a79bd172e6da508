//! The Kubernetes types that Penstock reads, from one place: the version of `k8s-openapi` is decided here and nowhere else.

use std::borrow::Cow;

pub use k8s_openapi::ByteString;
pub use k8s_openapi::api::coordination::v1::Lease;
pub use k8s_openapi::api::core::v1::{
    ConfigMap, Container, ContainerPort, GRPCAction, HTTPGetAction, LoadBalancerIngress, Namespace, Pod, Probe, Secret,
    Service, ServicePort, ServiceSpec, ServiceStatus,
};
pub use k8s_openapi::api::discovery::v1::{Endpoint, EndpointConditions, EndpointPort, EndpointSlice};
pub use k8s_openapi::api::events::v1::Event;
pub use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
pub use k8s_openapi::apimachinery::pkg::apis::meta::v1::{
    Condition, LabelSelector, LabelSelectorRequirement, MicroTime, ObjectMeta, OwnerReference, Time,
};
pub use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
pub use kube_core::{CustomResourceExt, Resource, ResourceExt};

use kube_core::ApiResource;
use serde::{Deserialize, Serialize};

/// A grant by the owner of a namespace that objects of other namespaces may refer to objects of this one (Gateway API, v1 and v1beta1).
///
/// Its version is chosen at run time, because clusters serve either: `Api::all_with(client, &ReferenceGrant::api_resource("v1"))`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ReferenceGrant {
    /// Group and version as read.
    pub api_version: String,
    /// `ReferenceGrant`.
    pub kind: String,
    /// Name and namespace: the namespace is the one that is opened.
    pub metadata: ObjectMeta,
    /// Who may refer to what.
    pub spec: ReferenceGrantSpec,
}

/// Who may refer to what; every `from` may refer to every `to`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ReferenceGrantSpec {
    /// The objects that may refer.
    pub from: Vec<ReferenceGrantFrom>,
    /// The objects that may be referred to, all of the grant's namespace.
    pub to: Vec<ReferenceGrantTo>,
}

/// Objects of one kind in one namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ReferenceGrantFrom {
    /// API group; empty for the core group.
    pub group: String,
    /// Kind, such as `RoutingRule`.
    pub kind: String,
    /// Namespace of the referring objects.
    pub namespace: String,
}

/// Objects of one kind, or one of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ReferenceGrantTo {
    /// API group; empty for the core group.
    pub group: String,
    /// Kind, such as `Service`.
    pub kind: String,
    /// One object; none means every object of the kind.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

impl ReferenceGrant {
    /// The API group.
    pub const GROUP: &'static str = "gateway.networking.k8s.io";
    /// The kind.
    pub const KIND: &'static str = "ReferenceGrant";
    /// The versions that are read, preferred first.
    pub const VERSIONS: [&'static str; 2] = ["v1", "v1beta1"];

    /// The resource in one of [`ReferenceGrant::VERSIONS`].
    pub fn api_resource(version: &str) -> ApiResource {
        ApiResource {
            group: Self::GROUP.to_owned(),
            version: version.to_owned(),
            api_version: format!("{}/{version}", Self::GROUP),
            kind: Self::KIND.to_owned(),
            plural: "referencegrants".to_owned(),
        }
    }

    /// Whether the grant lets objects of `from` refer to the object `name` of the kind `to`, both as (group, kind).
    pub fn permits(&self, from: (&str, &str), from_namespace: &str, to: (&str, &str), name: &str) -> bool {
        self.spec.from.iter().any(|f| (f.group.as_str(), f.kind.as_str()) == from && f.namespace == from_namespace)
            && self
                .spec
                .to
                .iter()
                .any(|t| (t.group.as_str(), t.kind.as_str()) == to && t.name.as_deref().is_none_or(|n| n == name))
    }
}

impl Resource for ReferenceGrant {
    type DynamicType = ApiResource;
    type Scope = kube_core::NamespaceResourceScope;

    fn kind(dt: &ApiResource) -> Cow<'_, str> {
        dt.kind.as_str().into()
    }

    fn group(dt: &ApiResource) -> Cow<'_, str> {
        dt.group.as_str().into()
    }

    fn version(dt: &ApiResource) -> Cow<'_, str> {
        dt.version.as_str().into()
    }

    fn api_version(dt: &ApiResource) -> Cow<'_, str> {
        dt.api_version.as_str().into()
    }

    fn plural(dt: &ApiResource) -> Cow<'_, str> {
        dt.plural.as_str().into()
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grant_permits_what_it_names_and_nothing_else() {
        let grant: ReferenceGrant = serde_json::from_value(serde_json::json!({
            "apiVersion": "gateway.networking.k8s.io/v1beta1", "kind": "ReferenceGrant",
            "metadata": {"name": "g", "namespace": "apps"},
            "spec": {
                "from": [{"group": "penstock.dev", "kind": "RoutingRule", "namespace": "edge"}],
                "to": [{"group": "", "kind": "Service", "name": "web"}, {"group": "", "kind": "Secret"}]
            }
        }))
        .expect("a grant as the API server sends it");
        let rule = ("penstock.dev", "RoutingRule");
        assert!(grant.permits(rule, "edge", ("", "Service"), "web"));
        assert!(grant.permits(rule, "edge", ("", "Secret"), "any"));
        assert!(!grant.permits(rule, "edge", ("", "Service"), "other"));
        assert!(!grant.permits(rule, "elsewhere", ("", "Service"), "web"));
        assert!(!grant.permits(("penstock.dev", "ApplicationGateway"), "edge", ("", "Service"), "web"));
    }
}
