//! Certificates of clients: asked for in the handshake, judged after it.
//!
//! A handshake takes any certificate whose key the client has, and none: what a listener thinks of it decides about its
//! requests, which get an answer that says why. A resumed session brings its certificate along in the ticket and is judged
//! anew, so that what has expired, or whose authority is gone, does not live on in tickets.

use std::sync::Arc;

use penstock_model::ClientAuth;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, Error, RootCertStore, SignatureScheme};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, UnixTime};

use super::client_certificate::ClientCertificate;
use super::provider;

/// What a listener asks of its clients.
#[derive(Debug)]
pub(crate) struct ClientAuthority {
    /// As configured.
    configured: ClientAuth,
    /// `None`: no authority, so nobody is known.
    verifier: Option<Arc<dyn ClientCertVerifier>>,
}

impl ClientAuthority {
    pub(super) fn new(configured: &ClientAuth) -> Self {
        let mut roots = RootCertStore::empty();
        // The front end has looked at each of them.
        roots.add_parsable_certificates(CertificateDer::pem_slice_iter(&configured.authorities).filter_map(Result::ok));
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider()).build().ok();
        Self { configured: configured.clone(), verifier }
    }

    /// What the handshake needs: the names of the authorities, so that clients find the right certificate.
    pub(super) fn asks(&self) -> Arc<dyn ClientCertVerifier> {
        let hints = self.verifier.as_ref().map(|verifier| verifier.root_hint_subjects().to_vec());
        Arc::new(TakesAny {
            algorithms: provider().signature_verification_algorithms,
            hints: hints.unwrap_or_default(),
        })
    }

    /// Judges what a client showed, leaf first.
    pub(super) fn judge(&self, chain: Option<&[CertificateDer<'_>]>) -> ClientCertificate {
        let Some((leaf, intermediates)) = chain.and_then(<[_]>::split_first) else {
            return ClientCertificate::none(self.configured.clone());
        };
        let result = match &self.verifier {
            Some(verifier) => verifier.verify_client_cert(leaf, intermediates, UnixTime::now()).map(|_| ()),
            None => Err(Error::InvalidCertificate(CertificateError::UnknownIssuer)),
        };
        ClientCertificate::new(self.configured.clone(), leaf, result.map_err(|error| reason(&error)).err())
    }
}

/// Why a certificate is not taken, from a closed list, in the words of OpenSSL where it has some: backends may know them.
fn reason(error: &Error) -> &'static str {
    match error {
        Error::InvalidCertificate(error) => match error {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => "certificate has expired",
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                "certificate is not yet valid"
            }
            CertificateError::UnknownIssuer => "unable to get local issuer certificate",
            CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
                "unsupported certificate purpose"
            }
            CertificateError::BadSignature => "certificate signature failure",
            _ => "certificate rejected",
        },
        _ => "certificate rejected",
    }
}

/// Asks for a certificate and takes any, but for one that is not the client's own.
#[derive(Debug)]
struct TakesAny {
    algorithms: WebPkiSupportedAlgorithms,
    hints: Vec<DistinguishedName>,
}

impl ClientCertVerifier for TakesAny {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.hints
    }

    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signed, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
