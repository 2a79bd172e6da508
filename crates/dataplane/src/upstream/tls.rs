//! TLS towards backends: what a cluster trusts, which name it asks for and what it shows of itself, built by the plane before a
//! request needs it.
//!
//! A connection is used again only by requests of the same settings that ask for the same name: it was that name that the
//! certificate was checked against. What is spoken on it is the backend's choice (ALPN, RFC 7301).

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use http::uri::Authority;
use penstock_model::UpstreamTls;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::connect::{ConnectError, connect};
use super::names::OneOf;
use crate::tls::provider;

/// Identifiers of the protocols (RFC 7301 6, RFC 9113 3.1).
const HTTP1: &[u8] = b"http/1.1";
const HTTP2: &[u8] = b"h2";

/// The client's side of TLS for a cluster.
#[derive(Debug)]
pub(crate) struct Connector {
    settings: UpstreamTls,
    /// Or why no handshake can be made: then there is no connection at all.
    config: Result<Configs, String>,
    /// What the last handshake of any worker makes one expect of the next.
    expects_http2: AtomicBool,
}

/// The same but for the protocols that are offered.
#[derive(Debug)]
struct Configs {
    any: Arc<ClientConfig>,
    http1: Arc<ClientConfig>,
}

/// Which protocols a handshake offers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Offer {
    /// HTTP/2, unless the settings are against it, and HTTP/1.1.
    Any,
    /// HTTP/1.1 alone: a WebSocket needs it.
    Http1,
}

/// What a connection was made with.
#[derive(Clone, Debug)]
pub(crate) struct Secured {
    pub(crate) connector: Arc<Connector>,
    pub(crate) name: ServerName<'static>,
}

/// Whether a connection made with one may carry a request that wants the other: with the same TLS, or none.
pub(super) fn serves(made: Option<&Secured>, wanted: Option<&Secured>) -> bool {
    match (made, wanted) {
        (None, None) => true,
        (Some(made), Some(wanted)) => Arc::ptr_eq(&made.connector, &wanted.connector) && made.name == wanted.name,
        _ => false,
    }
}

impl Secured {
    /// Connects and makes the handshake, both within `limit`. Says whether the backend picked HTTP/2.
    pub(crate) async fn connect(
        &self,
        address: SocketAddr,
        offer: Offer,
        limit: Option<Duration>,
    ) -> Result<(TlsStream<TcpStream>, bool), ConnectError> {
        let failed = |error| ConnectError::Tls(address, error);
        let configs = self.connector.config.as_ref().map_err(|why| failed(io::Error::other(why.clone())))?;
        let config = if offer == Offer::Any { &configs.any } else { &configs.http1 };
        let started = std::time::Instant::now();
        let stream = connect(address, limit).await?;
        let handshake = TlsConnector::from(Arc::clone(config)).connect(self.name.clone(), stream);
        let stream = match limit {
            None => handshake.await.map_err(failed)?,
            Some(limit) => {
                let left = limit.saturating_sub(started.elapsed());
                let late = |_elapsed| io::Error::new(io::ErrorKind::TimedOut, format!("no handshake in {limit:?}"));
                crate::timer::timeout(left, Box::pin(handshake)).await.map_err(late).flatten().map_err(failed)?
            }
        };
        let http2 = stream.get_ref().1.alpn_protocol() == Some(HTTP2);
        if offer == Offer::Any && self.connector.expects_http2() != http2 {
            self.connector.expects_http2.store(http2, Ordering::Relaxed);
        }
        Ok((stream, http2))
    }
}

impl Connector {
    pub(crate) fn new(settings: &UpstreamTls) -> Self {
        let expects_http2 = AtomicBool::new(settings.http2);
        Self { settings: settings.clone(), config: configs(settings), expects_http2 }
    }

    /// Whether backends may pick HTTP/2.
    pub(crate) fn offers_http2(&self) -> bool {
        self.settings.http2
    }

    /// Whether the next handshake will end in HTTP/2: as the last one did, and before the first as is offered. It
    /// decides who waits for whom, and nothing else: endpoints may differ, and change.
    pub(crate) fn expects_http2(&self) -> bool {
        self.expects_http2.load(Ordering::Relaxed)
    }

    /// Whether it was built from these settings.
    pub(crate) fn is_of(&self, settings: &UpstreamTls) -> bool {
        self.settings == *settings
    }

    /// With the name to ask for: the one of the settings, else the Host that is sent to `address`.
    pub(crate) fn to(self: Arc<Self>, host: &[u8], address: SocketAddr) -> Result<Secured, ConnectError> {
        let host = std::str::from_utf8(host).unwrap_or_default();
        let name = match &self.settings.server_name {
            Some(name) => server_name(name),
            None => host.parse::<Authority>().ok().and_then(|authority| server_name(authority.host())),
        };
        match name {
            Some(name) => Ok(Secured { connector: self, name }),
            None => {
                let name = self.settings.server_name.as_deref().unwrap_or(host);
                let why = format!("{name:?} is no name that a certificate can have");
                Err(ConnectError::Tls(address, io::Error::new(io::ErrorKind::InvalidInput, why)))
            }
        }
    }
}

/// A name or an address; one of IPv6 may stand in brackets, as in a Host.
pub(super) fn server_name(host: &str) -> Option<ServerName<'static>> {
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    match bare.parse::<IpAddr>() {
        Ok(address) => Some(ServerName::IpAddress(address.into())),
        Err(_) => ServerName::try_from(bare.trim_end_matches('.').to_ascii_lowercase()).ok(),
    }
}

fn configs(settings: &UpstreamTls) -> Result<Configs, String> {
    let builder = ClientConfig::builder_with_provider(provider());
    let builder = builder.with_safe_default_protocol_versions().map_err(|error| error.to_string())?;
    let verifier: Arc<dyn ServerCertVerifier> = if settings.verify {
        let roots = match &settings.authorities {
            Some(pem) => Arc::new(roots_of(pem)),
            None => system_roots(),
        };
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::clone(&roots), provider());
        let verifier = verifier.build().map_err(|error| format!("no authority to trust: {error}"))?;
        match settings.subject_alt_names.as_slice() {
            [] => verifier,
            names => Arc::new(OneOf::new(names, roots, verifier)),
        }
    } else {
        Arc::new(AnyCertificate(provider()))
    };
    let builder = builder.dangerous().with_custom_certificate_verifier(verifier);
    let mut config = match &settings.identity {
        None => builder.with_no_client_auth(),
        Some(certificate) => {
            // The translation has read it with the same library.
            let unusable = |error: String| format!("the certificate of Secret {}: {error}", certificate.secret);
            let chain = CertificateDer::pem_slice_iter(&certificate.chain).flatten().collect();
            let key = PrivateKeyDer::from_pem_slice(&certificate.key).map_err(|error| unusable(error.to_string()))?;
            builder.with_client_auth_cert(chain, key).map_err(|error| unusable(error.to_string()))?
        }
    };
    config.alpn_protocols = vec![HTTP1.to_vec()];
    let http1 = Arc::new(config.clone());
    if settings.http2 {
        config.alpn_protocols.insert(0, HTTP2.to_vec());
    }
    // They share the sessions that can be resumed: a resumed handshake agrees on a protocol anew (RFC 7301 3.1).
    Ok(Configs { any: Arc::new(config), http1 })
}

fn roots_of(pem: &[u8]) -> RootCertStore {
    let mut roots = RootCertStore::empty();
    // The translation has read them all with the same library.
    roots.add_parsable_certificates(CertificateDer::pem_slice_iter(pem).flatten());
    roots
}

/// The authorities of the system (in the image `/etc/ssl/certs/ca-certificates.crt`), read once, by the plane.
fn system_roots() -> Arc<RootCertStore> {
    static ROOTS: OnceLock<Arc<RootCertStore>> = OnceLock::new();
    let read = || {
        let mut roots = RootCertStore::empty();
        let found = rustls_native_certs::load_native_certs();
        for error in &found.errors {
            tracing::warn!(%error, "cannot read authorities of the system");
        }
        let (taken, _) = roots.add_parsable_certificates(found.certs);
        if taken == 0 {
            tracing::warn!(
                "the system has no certificate authorities: backends with protocol HTTPS need tls.caCertificateRefs"
            );
        }
        Arc::new(roots)
    };
    Arc::clone(ROOTS.get_or_init(read))
}

/// `verify: false`: whoever answers is the backend. What it signs must still be signed with the key that it shows.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
