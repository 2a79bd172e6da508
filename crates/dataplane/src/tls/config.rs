//! From the TLS part of a listener to rustls.

use std::sync::Arc;

use penstock_model::{Certificate, ListenerTls, TlsVersion};
use rustls::ServerConfig;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use super::provider;

/// Why a listener has no TLS.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TlsError {
    /// PEM that holds no chain or no key.
    #[error("Secret {secret}: {what} is no valid PEM: {error}")]
    Pem {
        /// `namespace/name` of the Secret.
        secret: Arc<str>,
        /// `tls.crt` or `tls.key`.
        what: &'static str,
        /// What the parser says.
        error: rustls_pki_types::pem::Error,
    },
    /// Key and certificate do not fit, or the library refuses them.
    #[error("Secret {secret}: {error}")]
    Key {
        /// `namespace/name` of the Secret.
        secret: Arc<str>,
        /// What the library says.
        error: rustls::Error,
    },
    /// The versions and suites leave nothing.
    #[error("TLS versions and cipher suites: {0}")]
    Policy(rustls::Error),
}

/// Certificates of one listener, in their order.
#[derive(Debug)]
struct Certificates(Vec<Arc<CertifiedKey>>);

impl ResolvesServerCert for Certificates {
    /// The first whose key can sign what the client offers, and whose names cover the server name; else the first that can sign.
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let signs = |key: &&Arc<CertifiedKey>| key.key.choose_scheme(hello.signature_schemes()).is_some();
        let covers = |key: &&Arc<CertifiedKey>| match (hello.server_name(), key.end_entity_cert()) {
            (Some(name), Ok(certificate)) => {
                let name = rustls_pki_types::ServerName::try_from(name).ok();
                let certificate = rustls::server::ParsedCertificate::try_from(certificate).ok();
                name.zip(certificate)
                    .is_some_and(|(name, certificate)| rustls::client::verify_server_name(&certificate, &name).is_ok())
            }
            _ => false,
        };
        let usable = || self.0.iter().filter(signs);
        let chosen = if self.0.len() > 1 { usable().find(covers) } else { None };
        chosen.or_else(|| usable().next()).cloned()
    }
}

/// Builds the server side of a listener.
pub(crate) fn server_config(tls: &ListenerTls) -> Result<Arc<ServerConfig>, TlsError> {
    let certificates = tls.certificates.iter().map(|certificate| certified(certificate)).collect::<Result<_, _>>()?;
    let mut provider = (*provider()).clone();
    if !tls.cipher_suites.is_empty() {
        let named = |suite: &rustls::SupportedCipherSuite| {
            tls.cipher_suites.iter().any(|name| suite.suite().as_str().is_some_and(|known| known == &**name))
        };
        provider.cipher_suites.retain(named);
    }
    let versions: &[&rustls::SupportedProtocolVersion] = match tls.min_version {
        TlsVersion::V1_2 => &[&rustls::version::TLS13, &rustls::version::TLS12],
        TlsVersion::V1_3 => &[&rustls::version::TLS13],
    };
    let mut config = ServerConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(versions)
        .map_err(TlsError::Policy)?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(Certificates(certificates)));
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

fn certified(certificate: &Certificate) -> Result<Arc<CertifiedKey>, TlsError> {
    let pem = |what| {
        let secret = Arc::clone(&certificate.secret);
        move |error| TlsError::Pem { secret, what, error }
    };
    let key_error = |error| TlsError::Key { secret: Arc::clone(&certificate.secret), error };
    let chain =
        CertificateDer::pem_slice_iter(&certificate.chain).collect::<Result<Vec<_>, _>>().map_err(pem("tls.crt"))?;
    let key = PrivateKeyDer::from_pem_slice(&certificate.key).map_err(pem("tls.key"))?;
    let key = CertifiedKey::from_der(chain, key, &provider()).map_err(key_error)?;
    key.keys_match().map_err(key_error)?;
    Ok(Arc::new(key))
}
