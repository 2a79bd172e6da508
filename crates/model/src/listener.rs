//! A listener: a port, a protocol, hosts, and the routes behind it.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

use crate::host::HostPattern;
use crate::ids::ListenerId;
use crate::route::Route;
use crate::shared::same;

/// What is accepted on a port, and what becomes of it.
#[derive(Clone, Debug)]
pub struct Listener {
    /// Whose it is.
    pub id: ListenerId,
    /// The port that clients know: what X-Forwarded-Port and redirects say.
    pub port: u16,
    /// The port that the process binds; the same in standalone mode.
    pub bind_port: u16,
    /// TLS; `None`: plain HTTP.
    pub tls: Option<ListenerTls>,
    /// Hosts it takes; none: any.
    pub hosts: Vec<HostPattern>,
    /// Its routes, sorted by [`Rank`](crate::Rank).
    pub routes: Vec<Arc<Route>>,
    /// Whom to believe about the client's address.
    pub client_address: ClientAddress,
    /// Sent in place of the gateway's own answers with these status codes.
    pub error_pages: BTreeMap<u16, ErrorPage>,
}

/// A page that its owner wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErrorPage {
    /// What it is.
    pub content_type: &'static str,
    /// As it is sent.
    pub body: Arc<[u8]>,
}

/// Routes that did not change are shared: their pointers are compared first.
impl PartialEq for Listener {
    fn eq(&self, other: &Self) -> bool {
        self.same_head(other)
            && self.routes.len() == other.routes.len()
            && self.routes.iter().zip(&other.routes).all(|(a, b)| same(a, b))
    }
}

impl Listener {
    /// Whether everything but the routes is equal.
    pub fn same_head(&self, other: &Self) -> bool {
        let Self { id, port, bind_port, tls, hosts, routes: _, client_address, error_pages } = self;
        (id, port, bind_port, tls, hosts) == (&other.id, &other.port, &other.bind_port, &other.tls, &other.hosts)
            && (client_address, error_pages) == (&other.client_address, &other.error_pages)
    }
}

/// TLS of a listener.
#[derive(Clone, Debug, PartialEq)]
pub struct ListenerTls {
    /// Certificates, chosen by server name and key type; none: there is no handshake.
    pub certificates: Vec<Arc<Certificate>>,
    /// The lowest version.
    pub min_version: TlsVersion,
    /// IANA names of cipher suites; none: the library's default.
    pub cipher_suites: Vec<Arc<str>>,
    /// Client certificates.
    pub client_auth: Option<ClientAuth>,
}

/// A certificate chain and its key, as PEM. Debug never shows the key.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Certificate {
    /// `namespace/name` of the Secret.
    pub secret: Arc<str>,
    /// PEM of the chain, leaf first.
    pub chain: Arc<[u8]>,
    /// PEM of the private key.
    pub key: Arc<[u8]>,
    /// The last second of its life, since 1970.
    pub not_after: i64,
    /// An OCSP response in DER, for clients that ask for it (RFC 6066 8).
    pub ocsp: Option<Arc<[u8]>>,
}

impl std::fmt::Debug for Certificate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Certificate").field("secret", &self.secret).finish_non_exhaustive()
    }
}

/// Versions of TLS that we speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TlsVersion {
    /// RFC 5246.
    V1_2,
    /// RFC 8446.
    V1_3,
}

/// Client certificates of a listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientAuth {
    /// Refuse requests without a good one (400); otherwise pass on what there is.
    pub strict: bool,
    /// PEM of the authorities.
    pub authorities: Arc<[u8]>,
}

/// Whom to believe about the client's address.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientAddress {
    /// Proxies whose forwarding headers and PROXY headers are believed.
    pub trusted_proxies: Vec<IpNet>,
    /// PROXY protocol from trusted proxies.
    pub proxy_protocol: ProxyProtocol,
}

/// PROXY protocol v1 and v2.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ProxyProtocol {
    /// Not read.
    #[default]
    Off,
    /// Read where it is there.
    Optional,
    /// A connection without it is closed.
    Required,
}

impl ClientAddress {
    /// Whether a peer is a trusted proxy.
    pub fn trusts(&self, peer: IpAddr) -> bool {
        let peer = peer.to_canonical();
        self.trusted_proxies.iter().any(|net| net.contains(&peer))
    }
}

#[cfg(test)]
mod tests;
