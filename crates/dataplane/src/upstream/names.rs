//! Backends that are known by other names than the one that is asked for (`subjectAltNames`).

use std::fmt;
use std::sync::Arc;

use penstock_model::SubjectAltName;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, OtherError, RootCertStore, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use x509_parser::extensions::GeneralName;

use super::tls::server_name;
use crate::tls::provider;

/// A certificate of one of these authorities that has one of these names. What was asked for does not matter
/// (BackendTLSPolicy of Gateway API, `validation.subjectAltNames`).
#[derive(Debug)]
pub(super) struct OneOf {
    names: Vec<Wanted>,
    roots: Arc<RootCertStore>,
    /// For signatures.
    verifier: Arc<WebPkiServerVerifier>,
}

#[derive(Debug)]
enum Wanted {
    Dns(ServerName<'static>),
    Uri(Arc<str>),
}

impl OneOf {
    pub(super) fn new(
        names: &[SubjectAltName],
        roots: Arc<RootCertStore>,
        verifier: Arc<WebPkiServerVerifier>,
    ) -> Self {
        let wanted = |name: &SubjectAltName| match name {
            // What no certificate can have matches none.
            SubjectAltName::Dns(name) => server_name(name).map(Wanted::Dns),
            SubjectAltName::Uri(uri) => Some(Wanted::Uri(Arc::clone(uri))),
        };
        Self { names: names.iter().filter_map(wanted).collect(), roots, verifier }
    }
}

/// None of these is in the certificate.
#[derive(Debug)]
struct NoneOf(Vec<String>);

impl fmt::Display for NoneOf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the certificate has none of the names {}", self.0.join(", "))
    }
}

impl std::error::Error for NoneOf {}

/// Whether a certificate was refused because it has none of the names.
pub(crate) fn is_none_of(error: &OtherError) -> bool {
    error.0.is::<NoneOf>()
}

impl ServerCertVerifier for OneOf {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let certificate = ParsedCertificate::try_from(end_entity)?;
        let algorithms = provider().signature_verification_algorithms.all;
        verify_server_cert_signed_by_trust_anchor(&certificate, &self.roots, intermediates, now, algorithms)?;
        let has = |wanted: &Wanted| match wanted {
            Wanted::Dns(name) => verify_server_name(&certificate, name).is_ok(),
            Wanted::Uri(uri) => has_uri(end_entity, uri),
        };
        if self.names.iter().any(has) {
            return Ok(ServerCertVerified::assertion());
        }
        let wanted = |wanted: &Wanted| match wanted {
            Wanted::Dns(name) => name.to_str().into_owned(),
            Wanted::Uri(uri) => uri.to_string(),
        };
        let none = NoneOf(self.names.iter().map(wanted).collect());
        Err(CertificateError::Other(OtherError(Arc::new(none))).into())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verifier.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verifier.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.verifier.supported_verify_schemes()
    }
}

fn has_uri(certificate: &CertificateDer<'_>, wanted: &str) -> bool {
    let Ok((_, certificate)) = x509_parser::parse_x509_certificate(certificate) else { return false };
    let Ok(Some(names)) = certificate.subject_alternative_name() else { return false };
    names.value.general_names.iter().any(|name| matches!(name, GeneralName::URI(uri) if *uri == wanted))
}
