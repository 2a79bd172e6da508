//! TLS towards backends: what a cluster trusts and which name it asks for, built by the plane before a request needs it.
//!
//! A connection is used again only by requests of the same settings that ask for the same name: it was that name that the
//! certificate was checked against.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use http::uri::Authority;
use penstock_model::UpstreamTls;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::connect::{ConnectError, connect};
use crate::tls::provider;

/// The client's side of TLS for a cluster.
#[derive(Debug)]
pub(crate) struct Connector {
    settings: UpstreamTls,
    /// Or why no handshake can be made: then there is no connection at all.
    config: Result<Arc<ClientConfig>, String>,
}

/// What a connection was made with.
#[derive(Clone, Debug)]
pub(crate) struct Secured {
    pub(crate) connector: Arc<Connector>,
    pub(crate) name: ServerName<'static>,
}

impl Secured {
    /// Whether a connection made with this may carry a request that wants that.
    pub(super) fn serves(&self, wanted: &Self) -> bool {
        Arc::ptr_eq(&self.connector, &wanted.connector) && self.name == wanted.name
    }

    /// Connects and makes the handshake, both within `limit`.
    pub(crate) async fn connect(
        &self,
        address: SocketAddr,
        limit: Option<Duration>,
    ) -> Result<TlsStream<TcpStream>, ConnectError> {
        let failed = |error| ConnectError::Tls(address, error);
        let config = self.connector.config.as_ref().map_err(|why| failed(io::Error::other(why.clone())))?;
        let started = std::time::Instant::now();
        let stream = connect(address, limit).await?;
        let handshake = TlsConnector::from(Arc::clone(config)).connect(self.name.clone(), stream);
        let Some(limit) = limit else { return handshake.await.map_err(failed) };
        let left = limit.saturating_sub(started.elapsed());
        match crate::timer::timeout(left, Box::pin(handshake)).await {
            Ok(result) => result.map_err(failed),
            Err(_elapsed) => Err(failed(io::Error::new(io::ErrorKind::TimedOut, format!("no handshake in {limit:?}")))),
        }
    }
}

impl Connector {
    pub(crate) fn new(settings: &UpstreamTls) -> Self {
        Self { settings: settings.clone(), config: config(settings) }
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
fn server_name(host: &str) -> Option<ServerName<'static>> {
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    match bare.parse::<IpAddr>() {
        Ok(address) => Some(ServerName::IpAddress(address.into())),
        Err(_) => ServerName::try_from(bare.trim_end_matches('.').to_ascii_lowercase()).ok(),
    }
}

fn config(settings: &UpstreamTls) -> Result<Arc<ClientConfig>, String> {
    let builder = ClientConfig::builder_with_provider(provider());
    let builder = builder.with_safe_default_protocol_versions().map_err(|error| error.to_string())?;
    let verifier: Arc<dyn ServerCertVerifier> = if settings.verify {
        let roots = match &settings.authorities {
            Some(pem) => Arc::new(roots_of(pem)),
            None => system_roots(),
        };
        let verifier = WebPkiServerVerifier::builder_with_provider(roots, provider());
        verifier.build().map_err(|error| format!("no authority to trust: {error}"))?
    } else {
        Arc::new(AnyCertificate(provider()))
    };
    let mut config = builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
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
