//! A cluster: endpoints of one kind, reached in one way, probed together.
//!
//! Its identity ([`ClusterId`]) is names alone, so that a change of its settings keeps its connections, its
//! health and its balancing state.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::ids::Name;
use crate::listener::Certificate;
use crate::probe::Probe;

/// What a cluster is called: where its endpoints come from, and under which settings.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClusterId {
    /// `namespace/name:port` of a Service, `namespace/gateway/pool` of addresses, or that and `:host:port` of a name.
    pub backend: Name,
    /// `namespace/gateway/settings`, or `namespace/rule` and the place in it for inline settings.
    pub settings: Name,
}

/// A cluster as configured. [`EndpointSet`]s come on a faster way, too.
#[derive(Clone, Debug, PartialEq)]
pub struct Cluster {
    /// Its identity.
    pub id: ClusterId,
    /// Label `pool` of its metrics.
    pub pool: Name,
    /// Label `settings` of its metrics.
    pub settings: Name,
    /// Where its endpoints come from.
    pub source: EndpointSource,
    /// The endpoints at the time of the snapshot: a cluster is born with them.
    pub endpoints: Arc<EndpointSet>,
    /// How to speak to them.
    pub protocol: Protocol,
    /// With TLS: how to know them.
    pub tls: Option<UpstreamTls>,
    /// How to choose among them.
    pub balancing: Balancing,
    /// Over what time one that is new, or has come back, gets to its share; `None`: at once.
    pub slow_start: Option<Duration>,
    /// With session affinity: the key of its cookies.
    pub affinity: Option<Name>,
    /// How to find out about their health; `None`: never asked, always taken for healthy.
    pub probe: Option<Probe>,
    /// What happens when one leaves.
    pub draining: Draining,
    /// When one is out for a while because its requests fail.
    pub outlier: OutlierDetection,
    /// How much they get at once.
    pub limits: Limits,
}

/// Where endpoints come from.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum EndpointSource {
    /// EndpointSlices of a Service; `port` is the name of the Service port (empty when it has none).
    Service {
        /// Namespace of the Service.
        namespace: Name,
        /// Name of the Service.
        name: Name,
        /// Name of its port.
        port: Name,
        /// The port number where the settings name one in place of the target port.
        override_port: Option<u16>,
    },
    /// Given once and for all.
    Addresses,
    /// The addresses of a DNS name, which is resolved again and again, by TTL. The data plane does that: the configuration
    /// has none of them.
    Name {
        /// Lower case. One that ends with a dot is complete; others go through the search list of the system.
        name: Name,
        /// The port of every address.
        port: u16,
    },
}

/// Endpoints of a cluster, sorted by address, each address once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EndpointSet(Vec<Endpoint>);

/// One place to send requests to.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Endpoint {
    /// Where.
    pub address: SocketAddr,
    /// The name under which it is configured (`pickHostNameFromBackend`).
    pub host: Option<Name>,
    /// Its share among the endpoints of the cluster; normally 1.
    pub weight: u32,
}

impl EndpointSet {
    /// Sorts the endpoints and keeps the first of each address.
    pub fn new(mut endpoints: Vec<Endpoint>) -> Self {
        endpoints.sort();
        endpoints.dedup_by_key(|endpoint| endpoint.address);
        endpoints.shrink_to_fit();
        Self(endpoints)
    }

    /// The endpoints in order.
    pub fn as_slice(&self) -> &[Endpoint] {
        &self.0
    }
}

/// The protocol to the backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// HTTP/1.1; over TLS what the backend picks ([`UpstreamTls::http2`]).
    Http1,
    /// HTTP/2 with prior knowledge.
    Http2,
}

/// TLS to the backend.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct UpstreamTls {
    /// Whether the certificate is verified.
    pub verify: bool,
    /// PEM of the authorities; `None`: those of the system.
    pub authorities: Option<Arc<[u8]>>,
    /// Server name to ask for and verify; `None`: the Host that is sent.
    pub server_name: Option<Name>,
    /// Names of which the certificate must have one, in place of the server name; none: the server name.
    pub subject_alt_names: Vec<SubjectAltName>,
    /// Whether HTTP/2 is offered; the backend picks.
    pub http2: bool,
    /// What is shown to a backend that asks who we are.
    pub identity: Option<Arc<Certificate>>,
}

impl UpstreamTls {
    /// Of a probe that nobody says more about: it asks whether somebody lives, as the kubelet's does.
    pub const UNVERIFIED: Self = Self {
        verify: false,
        authorities: None,
        server_name: None,
        subject_alt_names: Vec::new(),
        http2: true,
        identity: None,
    };
}

/// A name in a certificate (RFC 5280 4.2.1.6).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum SubjectAltName {
    /// A DNS name, which one with a wildcard matches as well.
    Dns(Name),
    /// A URI, character by character.
    Uri(Name),
}

/// How an endpoint is chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Balancing {
    /// One after the other, by weight.
    RoundRobin,
    /// The one with the fewest requests and WebSockets under way.
    LeastConnections,
    /// By the client's address.
    IpHash,
}

/// How a departing endpoint is let go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Draining {
    /// How long it keeps what it has.
    pub timeout: Duration,
    /// The last part of it, over which WebSockets are closed evenly.
    pub spread: Duration,
}

/// When an endpoint is taken out because its requests fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutlierDetection {
    /// Failures in a row; 0: never.
    pub consecutive_failures: u32,
    /// How long it is out the first time; the n-th time in a row n times as long.
    pub ejection_time: Duration,
    /// Percent of the endpoints of the cluster that may be out at once.
    pub max_percent: u32,
}

impl Default for OutlierDetection {
    /// The defaults of the resource.
    fn default() -> Self {
        Self { consecutive_failures: 5, ejection_time: Duration::from_secs(30), max_percent: 50 }
    }
}

/// How much a cluster gets at once, over all workers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections in use: those that carry a request or a WebSocket. Beyond, requests wait.
    pub max_connections: Option<u32>,
    /// Requests that wait for one; beyond: 503.
    pub max_pending: u32,
}

impl Default for Limits {
    /// The defaults of the resource.
    fn default() -> Self {
        Self { max_connections: None, max_pending: 1024 }
    }
}

#[cfg(test)]
mod tests;
