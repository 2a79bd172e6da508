//! Headers on their way to the backend and back: hop-by-hop ones go (RFC 9110 7.6.1), ours come.

use std::net::IpAddr;

use http::header::{
    CONNECTION, EXPECT, HOST, HeaderName, HeaderValue, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE, TRAILER,
    TRANSFER_ENCODING, UPGRADE,
};
use http::{HeaderMap, request};
use penstock_model::ClientAddress;

use super::client;
use crate::access_log::Client;
use crate::tls::{CLIENT_CERTIFICATE, ClientCertificate};

/// Headers that say where a request came from. From anyone but a trusted proxy they are replaced.
const OURS: [&str; 8] = [
    "x-forwarded-for",
    "x-forwarded-proto",
    "x-forwarded-port",
    "x-forwarded-host",
    "x-original-host",
    "x-original-url",
    "x-request-id",
    "forwarded",
];

/// Hop-by-hop headers of old that no RFC defines any more.
static KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
static PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");

/// Facts about a connection that its requests carry to the backend.
#[derive(Debug)]
pub(crate) struct Origin<'a> {
    /// Address of the peer.
    pub(crate) address: IpAddr,
    /// The same as text.
    pub(crate) peer: &'a str,
    /// `http` or `https`.
    pub(crate) scheme: &'static str,
    /// The listener's public port.
    pub(crate) port: u16,
    /// Who is trusted, where the peer is a trusted proxy.
    pub(crate) proxies: Option<&'a ClientAddress>,
    /// What the peer showed of itself, where it was asked.
    pub(crate) client: Option<&'a ClientCertificate>,
}

/// Headers that this request carries to the backend, next to its own. Put together when they are written.
#[derive(Debug)]
pub(crate) struct Added<'a> {
    pub(crate) parts: &'a request::Parts,
    pub(crate) origin: &'a Origin<'a>,
    pub(crate) kept: &'a Kept,
    /// Host as received.
    pub(crate) authority: &'a [u8],
    pub(crate) request_id: &'a [u8],
}

impl Added<'_> {
    /// Calls back with name and value of each.
    pub(crate) fn each(&self, put: &mut dyn FnMut(&str, &[u8])) {
        let Self { parts, origin, authority, request_id, .. } = self;
        self.forwarded_for(put);
        if self.absent("x-forwarded-proto") {
            put("x-forwarded-proto", origin.scheme.as_bytes());
        }
        if self.absent("x-forwarded-port") {
            let mut digits = [0; 5];
            put("x-forwarded-port", decimal(origin.port, &mut digits));
        }
        for name in ["x-forwarded-host", "x-original-host"] {
            if !authority.is_empty() && self.absent(name) {
                put(name, authority);
            }
        }
        if self.absent("x-original-url") {
            let target = parts.uri.path_and_query().map_or("/", |target| target.as_str());
            put("x-original-url", target.as_bytes());
        }
        if self.absent("x-request-id") {
            put("x-request-id", request_id);
        }
        for (name, value) in origin.client.iter().flat_map(|client| &client.headers) {
            put(name, value);
        }
    }

    /// Whose request it is: the peer's, or behind a trusted proxy that of the client it names.
    pub(crate) fn client(&self) -> IpAddr {
        match self.origin.proxies {
            Some(proxies) if !self.absent("x-forwarded-for") => {
                client::behind(proxies, &self.parts.headers, self.origin.address)
            }
            _ => self.origin.address,
        }
    }

    /// Behind a trusted proxy the log names the client that it names, and gives the request the id that the backend sees.
    pub(crate) fn identify(&self, log: &mut Client) {
        let client = self.client();
        if client != self.origin.address {
            log.peer = Some(std::mem::replace(&mut log.address, client.to_string()));
        }
        let id = self.parts.headers.get("x-request-id").filter(|_| !self.absent("x-request-id"));
        if let Some(id) = id {
            log.request_id = String::from_utf8_lossy(id.as_bytes()).into_owned();
        }
    }

    /// Whether no trusted proxy said it. What Connection lists was for us alone: it counts as not said.
    fn absent(&self, name: &str) -> bool {
        !(self.origin.proxies.is_some() && self.parts.headers.contains_key(name) && !self.kept.drops(name))
    }

    /// A trusted proxy's list, and the proxy itself behind it.
    fn forwarded_for(&self, put: &mut dyn FnMut(&str, &[u8])) {
        let name = "x-forwarded-for";
        if self.absent(name) {
            return put(name, self.origin.peer.as_bytes());
        }
        let mut list = Vec::new();
        for line in self.parts.headers.get_all(name) {
            list.extend_from_slice(line.as_bytes());
            list.extend_from_slice(b", ");
        }
        list.extend_from_slice(self.origin.peer.as_bytes());
        put(name, &list);
    }
}

/// The digits of a number, without the cost of the formatting machinery.
fn decimal(mut number: u16, digits: &mut [u8; 5]) -> &[u8] {
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            return &digits[at..];
        }
    }
}

/// Decides which of a request's own headers go on.
#[derive(Debug)]
pub(crate) struct Kept {
    trusted: bool,
    /// Whether what is said of a client's certificate is believed.
    certificates: bool,
    /// Names that the Connection header lists, where there are any beyond the usual ones.
    listed: Vec<HeaderName>,
}

impl Kept {
    pub(crate) fn of(headers: &HeaderMap, origin: &Origin<'_>) -> Self {
        // Where we ask for certificates ourselves, ours is the one that counts.
        let trusted = origin.proxies.is_some();
        let certificates = trusted && origin.client.is_none();
        Self { trusted, certificates, listed: listed(headers) }
    }

    /// Whether the Connection header lists this name.
    fn drops(&self, name: &str) -> bool {
        self.listed.iter().any(|listed| listed.as_str() == name)
    }

    /// Whether a header goes on to the backend. Host, Content-Length and Transfer-Encoding are the codec's own.
    pub(crate) fn keeps(&self, name: &HeaderName) -> bool {
        if is_hop_by_hop(name) || *name == EXPECT || *name == TE || *name == TRAILER {
            return false;
        }
        if !self.listed.is_empty() && self.listed.contains(name) {
            return false;
        }
        if !self.certificates && is_client_certificate(name.as_str()) {
            return false;
        }
        if self.trusted { name.as_str() != "x-forwarded-for" } else { !is_ours(name.as_str()) }
    }
}

/// Everything that goes on to the backend, in one map: where rewrites look at it.
pub(crate) fn outgoing(headers: &HeaderMap, kept: &Kept, added: &Added<'_>) -> HeaderMap {
    let own = headers.iter().filter(|(name, _)| kept.keeps(name) && **name != HOST);
    let mut all: HeaderMap = own.map(|(name, value)| (name.clone(), value.clone())).collect();
    added.each(&mut |name, value| {
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_bytes(value)) {
            all.append(name, value);
        }
    });
    all
}

/// Names listed in Connection, but for those that are hop-by-hop anyway and the two that nobody may remove.
fn listed(headers: &HeaderMap) -> Vec<HeaderName> {
    if !has(headers, &CONNECTION) {
        return Vec::new();
    }
    let lines = headers.get_all(CONNECTION).iter().filter_map(|line| line.to_str().ok());
    lines
        .flat_map(|line| line.split(','))
        .map(str::trim)
        .filter(|token| !["close", "keep-alive", "upgrade"].iter().any(|usual| token.eq_ignore_ascii_case(usual)))
        .filter_map(|token| HeaderName::from_bytes(token.as_bytes()).ok())
        .filter(|name| !matches!(name.as_str(), "host" | "content-length"))
        .collect()
}

fn is_hop_by_hop(name: &HeaderName) -> bool {
    *name == CONNECTION
        || *name == UPGRADE
        || *name == TRANSFER_ENCODING
        || *name == PROXY_AUTHENTICATE
        || *name == PROXY_AUTHORIZATION
        || *name == KEEP_ALIVE
        || *name == PROXY_CONNECTION
}

/// Whether it is one of [`OURS`], also when written with underscores: many backends take both for the same.
fn is_ours(name: &str) -> bool {
    let same = |ours: &str| {
        ours.len() == name.len() && ours.bytes().zip(name.bytes()).all(|(a, b)| a == b || (a == b'-' && b == b'_'))
    };
    matches!(name.as_bytes().first(), Some(b'x' | b'f')) && OURS.into_iter().any(same)
}

/// Whether it says something of a client's certificate, also when written with underscores.
fn is_client_certificate(name: &str) -> bool {
    let begins =
        |name: &[u8]| name.iter().zip(CLIENT_CERTIFICATE.bytes()).all(|(a, b)| *a == b || (b == b'-' && *a == b'_'));
    name.starts_with('x') && name.as_bytes().get(..CLIENT_CERTIFICATE.len()).is_some_and(begins)
}

/// Whether a header is there. Most heads are short: going over the names is much cheaper than a hash.
fn has(headers: &HeaderMap, name: &HeaderName) -> bool {
    headers.keys().any(|other| other == name)
}

/// Takes the hop-by-hop headers out of an answer.
pub(crate) fn strip_response(headers: &mut HeaderMap) {
    let hop_by_hop = [&CONNECTION, &UPGRADE, &TRANSFER_ENCODING, &KEEP_ALIVE, &PROXY_CONNECTION];
    if !headers.keys().any(|name| hop_by_hop.contains(&name)) {
        return;
    }
    for name in listed(headers) {
        headers.remove(name);
    }
    for name in hop_by_hop {
        headers.remove(name);
    }
}

/// The protocol a request asks to switch to: the first in Upgrade, when Connection says so too (RFC 9110 7.8).
pub(crate) fn upgrade(parts: &request::Parts) -> Option<HeaderValue> {
    // No header of an HTTP/2 client's: h2 refuses it. Ours, in the handshake that its extended CONNECT became.
    if parts.method != http::Method::GET || parts.version < http::Version::HTTP_11 || !has(&parts.headers, &UPGRADE) {
        return None;
    }
    let protocol = parts.headers.get(UPGRADE)?;
    let lines = parts.headers.get_all(CONNECTION).iter().filter_map(|line| line.to_str().ok());
    let asked = lines.flat_map(|line| line.split(',')).any(|token| token.trim().eq_ignore_ascii_case("upgrade"));
    // HTTP/2 by upgrade is gone from the standard (RFC 9113 3.1).
    let wanted = asked && !protocol.as_bytes().to_ascii_lowercase().starts_with(b"h2c");
    wanted.then(|| protocol.clone())
}
