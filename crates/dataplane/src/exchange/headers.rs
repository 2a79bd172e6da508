//! Headers on their way to the backend and back: hop-by-hop ones go (RFC 9110 7.6.1), ours come.

use std::io::Write;

use http::header::{
    CONNECTION, EXPECT, HOST, HeaderName, HeaderValue, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE, TRAILER,
    TRANSFER_ENCODING, UPGRADE,
};
use http::{HeaderMap, request};

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
    /// Address of the peer, as text.
    pub(crate) peer: &'a str,
    /// `http` or `https`.
    pub(crate) scheme: &'static str,
    /// The listener's public port.
    pub(crate) port: u16,
    /// Whether the peer is a trusted proxy.
    pub(crate) trusted: bool,
    /// What the peer showed of itself, where it was asked.
    pub(crate) client: Option<&'a ClientCertificate>,
}

/// Headers that we add, written into one buffer: name and where its value stands.
#[derive(Debug, Default)]
pub(crate) struct Added {
    values: Vec<u8>,
    entries: Vec<(&'static str, std::ops::Range<usize>)>,
}

impl Added {
    /// Puts together what this request carries, next to its own headers.
    pub(crate) fn new(
        parts: &request::Parts,
        origin: &Origin<'_>,
        kept: &Kept,
        authority: &[u8],
        request_id: &str,
    ) -> Self {
        let mut added = Self { values: Vec::with_capacity(256), entries: Vec::with_capacity(OURS.len()) };
        let headers = &parts.headers;
        // What Connection lists was for us alone: it counts as not said.
        let absent = |name: &str| !(origin.trusted && headers.contains_key(name) && !kept.drops(name));
        if !absent("x-forwarded-for") {
            added.forwarded_for(headers, origin.peer);
        } else {
            added.put("x-forwarded-for", origin.peer.as_bytes());
        }
        if absent("x-forwarded-proto") {
            added.put("x-forwarded-proto", origin.scheme.as_bytes());
        }
        if absent("x-forwarded-port") {
            let start = added.values.len();
            let _ = write!(added.values, "{}", origin.port);
            added.entries.push(("x-forwarded-port", start..added.values.len()));
        }
        for name in ["x-forwarded-host", "x-original-host"] {
            if !authority.is_empty() && absent(name) {
                added.put(name, authority);
            }
        }
        if absent("x-original-url") {
            let target = parts.uri.path_and_query().map_or("/", |target| target.as_str());
            added.put("x-original-url", target.as_bytes());
        }
        if absent("x-request-id") {
            added.put("x-request-id", request_id.as_bytes());
        }
        for (name, value) in origin.client.iter().flat_map(|client| &client.headers) {
            added.put(name, value);
        }
        added
    }

    /// Name and value of each.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&'static str, &[u8])> {
        self.entries.iter().map(|(name, range)| (*name, &self.values[range.clone()]))
    }

    fn put(&mut self, name: &'static str, value: &[u8]) {
        let start = self.values.len();
        self.values.extend_from_slice(value);
        self.entries.push((name, start..self.values.len()));
    }

    /// A trusted proxy's list, and the proxy itself behind it.
    fn forwarded_for(&mut self, headers: &HeaderMap, peer: &str) {
        let start = self.values.len();
        for line in headers.get_all("x-forwarded-for") {
            self.values.extend_from_slice(line.as_bytes());
            self.values.extend_from_slice(b", ");
        }
        self.values.extend_from_slice(peer.as_bytes());
        self.entries.push(("x-forwarded-for", start..self.values.len()));
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
        let certificates = origin.trusted && origin.client.is_none();
        Self { trusted: origin.trusted, certificates, listed: listed(headers) }
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
pub(crate) fn outgoing(headers: &HeaderMap, kept: &Kept, added: &Added) -> HeaderMap {
    let own = headers.iter().filter(|(name, _)| kept.keeps(name) && **name != HOST);
    let mut all: HeaderMap = own.map(|(name, value)| (name.clone(), value.clone())).collect();
    for (name, value) in added.iter() {
        if let Ok(value) = HeaderValue::from_bytes(value) {
            all.append(HeaderName::from_static(name), value);
        }
    }
    all
}

/// Names listed in Connection, but for those that are hop-by-hop anyway and the two that nobody may remove.
fn listed(headers: &HeaderMap) -> Vec<HeaderName> {
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

/// Takes the hop-by-hop headers out of an answer.
pub(crate) fn strip_response(headers: &mut HeaderMap) {
    if headers.contains_key(CONNECTION) {
        for name in listed(headers) {
            headers.remove(name);
        }
        headers.remove(CONNECTION);
    }
    for name in [&UPGRADE, &TRANSFER_ENCODING, &KEEP_ALIVE, &PROXY_CONNECTION] {
        headers.remove(name);
    }
}

/// The protocol a request asks to switch to: the first in Upgrade, when Connection says so too (RFC 9110 7.8).
pub(crate) fn upgrade(parts: &request::Parts) -> Option<HeaderValue> {
    let protocol = parts.headers.get(UPGRADE)?;
    // No header of an HTTP/2 client's: h2 refuses it. Ours, in the handshake that its extended CONNECT became.
    if parts.method != http::Method::GET || parts.version < http::Version::HTTP_11 {
        return None;
    }
    let lines = parts.headers.get_all(CONNECTION).iter().filter_map(|line| line.to_str().ok());
    let asked = lines.flat_map(|line| line.split(',')).any(|token| token.trim().eq_ignore_ascii_case("upgrade"));
    // HTTP/2 by upgrade is gone from the standard (RFC 9113 3.1).
    let wanted = asked && !protocol.as_bytes().to_ascii_lowercase().starts_with(b"h2c");
    wanted.then(|| protocol.clone())
}
