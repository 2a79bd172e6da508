//! TLS for the test client: which CA it believes, what it offers, who it is.

use std::sync::{Arc, Mutex};

use anyhow::{Context, Result};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme, SupportedProtocolVersion};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::certs::{Ca, Identity};

/// A TLS client; cheap to clone. A clone shares the session cache.
#[derive(Debug, Clone)]
pub struct TlsClient {
    config: Arc<ClientConfig>,
    roots: Arc<RootCertStore>,
}

impl TlsClient {
    /// Believes this CA; offers TLS 1.2 and 1.3 and no ALPN.
    #[must_use]
    pub fn new(ca: &Ca) -> Self {
        Self::build(ca, None, rustls::ALL_VERSIONS)
    }

    /// The same with a client certificate.
    #[must_use]
    pub fn with_identity(ca: &Ca, identity: &Identity) -> Self {
        Self::build(ca, Some(identity), rustls::ALL_VERSIONS)
    }

    /// The same with TLS 1.2 only.
    #[must_use]
    pub fn tls12(ca: &Ca) -> Self {
        Self::build(ca, None, &[&rustls::version::TLS12])
    }

    /// Offers these protocols by ALPN.
    #[must_use]
    pub fn alpn(&self, protocols: &[&str]) -> Self {
        let mut config = ClientConfig::clone(&self.config);
        config.alpn_protocols = protocols.iter().map(|p| p.as_bytes().to_vec()).collect();
        Self { config: Arc::new(config), roots: Arc::clone(&self.roots) }
    }

    /// Makes a handshake and gives back the OCSP response that came with the certificate; empty: none.
    ///
    /// # Errors
    /// As [`connect`](Self::connect).
    pub async fn staple(&self, stream: TcpStream, server_name: &str) -> Result<Vec<u8>> {
        let mut config = ClientConfig::clone(&self.config);
        let verifier =
            WebPkiServerVerifier::builder_with_provider(Arc::clone(&self.roots), Arc::new(default_provider()));
        let verifier = verifier.build().expect("a CA");
        let seen = Arc::new(Mutex::default());
        let schemes = verifier.supported_verify_schemes();
        config.dangerous().set_certificate_verifier(Arc::new(Only(verifier, schemes, Arc::clone(&seen))));
        let client = Self { config: Arc::new(config), roots: Arc::clone(&self.roots) };
        client.connect(stream, server_name).await?;
        Ok(std::mem::take(&mut *seen.lock().expect("no panic while held")))
    }

    /// Can check signatures of these kinds only.
    ///
    /// # Panics
    /// When the library has none of them.
    #[must_use]
    pub fn offering(&self, schemes: &[SignatureScheme]) -> Self {
        let mut config = ClientConfig::clone(&self.config);
        let roots = Arc::clone(&self.roots);
        let verifier = WebPkiServerVerifier::builder_with_provider(roots, Arc::new(default_provider()));
        let verifier = verifier.build().expect("a CA");
        config.dangerous().set_certificate_verifier(Arc::new(Only(verifier, schemes.to_vec(), Arc::default())));
        Self { config: Arc::new(config), roots: Arc::clone(&self.roots) }
    }

    /// The configuration, for clients of other libraries.
    #[must_use]
    pub fn config(&self) -> Arc<ClientConfig> {
        Arc::clone(&self.config)
    }

    /// The handshake on a connection, with this server name.
    ///
    /// # Errors
    /// The name is none, or one side refused the other.
    pub async fn connect<S>(&self, stream: S, server_name: &str) -> Result<TlsStream<S>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let name =
            ServerName::try_from(server_name.to_owned()).with_context(|| format!("server name {server_name}"))?;
        let connector = TlsConnector::from(Arc::clone(&self.config));
        connector.connect(name, stream).await.with_context(|| format!("TLS handshake with {server_name}"))
    }

    fn build(ca: &Ca, identity: Option<&Identity>, versions: &[&'static SupportedProtocolVersion]) -> Self {
        let mut roots = RootCertStore::empty();
        roots
            .add(CertificateDer::from_pem_slice(ca.pem().as_bytes()).expect("a CA's PEM"))
            .expect("a CA's certificate");
        let roots = Arc::new(roots);
        let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()));
        let builder = builder
            .with_protocol_versions(versions)
            .expect("the provider has these versions")
            .with_root_certificates(Arc::clone(&roots));
        let config = match identity {
            Some(identity) => {
                builder.with_client_auth_cert(identity.chain(), identity.key()).expect("certificate and key fit")
            }
            None => builder.with_no_client_auth(),
        };
        Self { config: Arc::new(config), roots }
    }
}

/// A verifier that says of itself that it can check less, and keeps the OCSP response that it was shown.
#[derive(Debug)]
struct Only(Arc<WebPkiServerVerifier>, Vec<SignatureScheme>, Arc<Mutex<Vec<u8>>>);

impl ServerCertVerifier for Only {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        *self.2.lock().expect("no panic while held") = ocsp.to_vec();
        self.0.verify_server_cert(end_entity, intermediates, name, ocsp, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.1.clone()
    }
}
