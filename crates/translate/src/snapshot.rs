//! What the translation sees: every object at one moment, immutable, sorted by key.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use penstock_api::k8s::{ConfigMap, EndpointSlice, Namespace, Pod, ReferenceGrant, Secret, Service};
use penstock_api::{ApplicationGateway, RoutingRule};
use penstock_model::{ClientAddress, GatewayId, Shared};
use serde::{Deserialize, Serialize};

/// Namespace and name of an object.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Key {
    /// Its namespace; empty for objects of the cluster.
    pub namespace: Arc<str>,
    /// Its name.
    pub name: Arc<str>,
}

impl Key {
    /// `namespace/name` from its parts.
    pub fn new(namespace: impl Into<Arc<str>>, name: impl Into<Arc<str>>) -> Self {
        Self { namespace: namespace.into(), name: name.into() }
    }
}

impl std::fmt::Display for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// Every object at one moment. Cloning clones a pointer for each kind.
#[derive(Clone, Default)]
pub struct Snapshot {
    /// Gateways of any class; those of others are skipped.
    pub gateways: Shared<BTreeMap<Key, Arc<ApplicationGateway>>>,
    /// Rules, also those of gateways that are not ours.
    pub rules: Shared<BTreeMap<Key, Arc<RoutingRule>>>,
    /// Services.
    pub services: Shared<BTreeMap<Key, Arc<Service>>>,
    /// EndpointSlices by the Service they belong to (label `kubernetes.io/service-name`).
    pub endpoint_slices: Shared<BTreeMap<Key, Vec<Arc<EndpointSlice>>>>,
    /// Secrets of type kubernetes.io/tls.
    pub secrets: Shared<BTreeMap<Key, Arc<Secret>>>,
    /// ConfigMaps that something refers to.
    pub config_maps: Shared<BTreeMap<Key, Arc<ConfigMap>>>,
    /// One ready Pod of each Service whose readinessProbe is wanted, by the key of the Service.
    pub pods: Shared<BTreeMap<Key, Arc<Pod>>>,
    /// Namespaces, for their labels.
    pub namespaces: Shared<BTreeMap<Arc<str>, Arc<Namespace>>>,
    /// ReferenceGrants; `None` where that API is not installed or not allowed.
    pub grants: Option<Shared<BTreeMap<Key, Arc<ReferenceGrant>>>>,
    /// Seconds since 1970, to tell certificates that have expired; 0: not asked.
    pub now: i64,
    /// The local port of each gateway's listener port, where gateways have Services of their own.
    /// A port that is missing there is not bound yet.
    pub local_ports: Option<BTreeMap<(GatewayId, u16), u16>>,
}

/// What the process was told on its command line.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Options {
    /// The class of gateways that are ours.
    pub class: String,
    /// Listener ports that are bound elsewhere (`--map-port`).
    pub map_ports: BTreeMap<u16, u16>,
    /// What a gateway without `clientAddress` has.
    pub client_address: ClientAddress,
    /// ExternalName Services are allowed as backends.
    pub allow_external_name: bool,
    /// Standalone mode: loopback addresses are allowed as backends, Namespaces need not be listed.
    pub standalone: bool,
    /// Addresses that are never backends: our own Pod's, and the API server's as we reach it.
    pub forbidden_addresses: Vec<IpAddr>,
    /// Where the API server itself is; see [`Options::with_api_server`].
    pub api_server: Vec<SocketAddr>,
}
