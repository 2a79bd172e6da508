//! What a source tells the store: objects that came, changed or went.
//!
//! A source sends batches of [`Change`]s; a batch is applied as a whole, so that a file with a rule and its backend
//! is never seen half.

use std::collections::BTreeMap;
use std::sync::Arc;

use penstock_api::k8s::{
    ConfigMap, EndpointSlice, Namespace, ObjectMeta, Pod, ReferenceGrant, Resource, ResourceExt, Secret, Service,
};
use penstock_api::{ApplicationGateway, RoutingRule};
use penstock_model::{GatewayId, ObjectRef, Problem};
use penstock_translate::Key;
use serde::{Deserialize, Serialize};

/// The kinds that are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Kind {
    /// `ApplicationGateway`.
    Gateway,
    /// `RoutingRule`.
    Rule,
    /// `Service`.
    Service,
    /// `EndpointSlice`.
    EndpointSlice,
    /// `Secret`.
    Secret,
    /// `ConfigMap`.
    ConfigMap,
    /// `Pod`; its key is that of the Service that it stands for.
    Pod,
    /// `Namespace`.
    Namespace,
    /// `ReferenceGrant`.
    Grant,
}

/// One object by kind and key.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Id {
    /// Its kind.
    pub kind: Kind,
    /// Its namespace and name.
    pub key: Key,
}

/// An object of one of the kinds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Object {
    /// A gateway.
    Gateway(Arc<ApplicationGateway>),
    /// A rule.
    Rule(Arc<RoutingRule>),
    /// A Service.
    Service(Arc<Service>),
    /// A slice of a Service's endpoints.
    EndpointSlice(Arc<EndpointSlice>),
    /// A Secret of type kubernetes.io/tls.
    Secret(Arc<Secret>),
    /// A ConfigMap.
    ConfigMap(Arc<ConfigMap>),
    /// A ready Pod that stands for a Service.
    Pod {
        /// The Service.
        service: Key,
        /// One of its Pods.
        pod: Arc<Pod>,
    },
    /// A Namespace.
    Namespace(Arc<Namespace>),
    /// A ReferenceGrant.
    Grant(Arc<ReferenceGrant>),
}

/// A list that a source keeps up to date: one kind, in one namespace or in all.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Scope {
    /// The kind.
    pub kind: Kind,
    /// The namespace; `None`: all.
    pub namespace: Option<Arc<str>>,
}

/// Something that changed.
#[derive(Clone, Debug)]
pub enum Change {
    /// An object is there, or is different.
    Put(Object),
    /// An object is there but cannot be read. What was last read of it stays in force.
    Broken(Id, Problem),
    /// An object has gone.
    Remove(Id),
    /// The whole list; what it does not have has gone. Broken ones count as there.
    Replace {
        /// Which list.
        scope: Scope,
        /// Objects that could be read.
        objects: Vec<Object>,
        /// Objects that could not.
        broken: Vec<(Id, Problem)>,
    },
    /// The API is not installed or not allowed: the list counts as there, and as nothing.
    Absent(Scope),
    /// What became of a reference: the object, or that there is none.
    Answer(Id, Option<Object>),
    /// Nothing refers to it any more: its contents are dropped, and asked for again when that changes.
    Forget(Id),
    /// Problems that belong to no object, such as those of files; replaces the last such.
    Problems(Vec<Problem>),
    /// Local ports of the gateways' own Services.
    LocalPorts(BTreeMap<(GatewayId, u16), u16>),
}

impl Kind {
    /// The name of the kind.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Gateway => "ApplicationGateway",
            Self::Rule => "RoutingRule",
            Self::Service => "Service",
            Self::EndpointSlice => "EndpointSlice",
            Self::Secret => "Secret",
            Self::ConfigMap => "ConfigMap",
            Self::Pod => "Pod",
            Self::Namespace => "Namespace",
            Self::Grant => "ReferenceGrant",
        }
    }
}

impl Id {
    /// An object by kind, namespace and name.
    pub fn new(kind: Kind, namespace: impl Into<Arc<str>>, name: impl Into<Arc<str>>) -> Self {
        Self { kind, key: Key::new(namespace, name) }
    }

    /// As problems name it.
    pub fn object_ref(&self) -> ObjectRef {
        ObjectRef { kind: self.kind.as_str(), namespace: self.key.namespace.clone(), name: self.key.name.clone() }
    }
}

impl std::fmt::Display for Id {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.kind.as_str(), self.key)
    }
}

impl Object {
    /// Its kind and key.
    pub fn id(&self) -> Id {
        match self {
            Self::Gateway(o) => Id { kind: Kind::Gateway, key: key(o.as_ref()) },
            Self::Rule(o) => Id { kind: Kind::Rule, key: key(o.as_ref()) },
            Self::Service(o) => Id { kind: Kind::Service, key: key(o.as_ref()) },
            Self::EndpointSlice(o) => Id { kind: Kind::EndpointSlice, key: key(o.as_ref()) },
            Self::Secret(o) => Id { kind: Kind::Secret, key: key(o.as_ref()) },
            Self::ConfigMap(o) => Id { kind: Kind::ConfigMap, key: key(o.as_ref()) },
            Self::Pod { service, .. } => Id { kind: Kind::Pod, key: service.clone() },
            Self::Namespace(o) => Id { kind: Kind::Namespace, key: key(o.as_ref()) },
            Self::Grant(o) => Id { kind: Kind::Grant, key: key(o.as_ref()) },
        }
    }
}

impl Object {
    /// What its [`Id`] says, without making one.
    pub fn names(&self) -> (Kind, &str, &str) {
        fn of<K: Resource>(kind: Kind, object: &K) -> (Kind, &str, &str) {
            let ObjectMeta { namespace, name, .. } = object.meta();
            (kind, namespace.as_deref().unwrap_or_default(), name.as_deref().unwrap_or_default())
        }
        match self {
            Self::Gateway(o) => of(Kind::Gateway, &**o),
            Self::Rule(o) => of(Kind::Rule, &**o),
            Self::Service(o) => of(Kind::Service, &**o),
            Self::EndpointSlice(o) => of(Kind::EndpointSlice, &**o),
            Self::Secret(o) => of(Kind::Secret, &**o),
            Self::ConfigMap(o) => of(Kind::ConfigMap, &**o),
            Self::Pod { service, .. } => (Kind::Pod, &service.namespace, &service.name),
            Self::Namespace(o) => of(Kind::Namespace, &**o),
            Self::Grant(o) => of(Kind::Grant, &**o),
        }
    }
}

impl Scope {
    /// Whether an object belongs to this list.
    pub fn holds(&self, id: &Id) -> bool {
        self.kind == id.kind && self.namespace.as_ref().is_none_or(|namespace| *namespace == id.key.namespace)
    }
}

/// Namespace and name of any object.
pub fn key(object: &impl ResourceExt) -> Key {
    Key::new(object.namespace().unwrap_or_default(), object.name_any())
}
