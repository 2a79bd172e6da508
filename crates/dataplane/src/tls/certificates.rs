//! The certificates of one listener, and which of them a client gets: what it can check, for the name it asked for.

use std::sync::Arc;

use penstock_model::Certificate;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use x509_parser::extensions::GeneralName;

use super::config::TlsError;
use super::provider;

/// Certificates of one listener, in their order.
#[derive(Debug)]
pub(super) struct Certificates(Vec<Served>);

#[derive(Debug)]
struct Served {
    key: Arc<CertifiedKey>,
    /// DNS names of the leaf in lower case, wildcards with their asterisk.
    names: Vec<Box<str>>,
}

/// How well a certificate fits a server name; more is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Fit {
    Not,
    Wildcard,
    Exact,
}

impl Certificates {
    pub(super) fn new(certificates: &[Arc<Certificate>]) -> Result<Self, TlsError> {
        certificates.iter().map(|certificate| Served::new(certificate)).collect::<Result<_, _>>().map(Self)
    }

    /// Of those that the client can check, the first with the name itself, else with a wildcard, else the first.
    fn choose(&self, name: Option<&str>, can_check: impl Fn(&CertifiedKey) -> bool) -> Option<&Arc<CertifiedKey>> {
        let mut best: Option<(Fit, &Served)> = None;
        for served in &self.0 {
            let fit = name.map_or(Fit::Not, |name| served.fit(name));
            if best.is_none_or(|(other, _)| fit > other) && can_check(&served.key) {
                best = Some((fit, served));
            }
        }
        best.map(|(_, served)| &served.key)
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let schemes = hello.signature_schemes();
        self.choose(hello.server_name(), |key| key.key.choose_scheme(schemes).is_some()).cloned()
    }
}

impl Served {
    fn new(certificate: &Certificate) -> Result<Self, TlsError> {
        let pem = |what| {
            let secret = Arc::clone(&certificate.secret);
            move |error| TlsError::Pem { secret, what, error }
        };
        let key_error = |error| TlsError::Key { secret: Arc::clone(&certificate.secret), error };
        let chain = CertificateDer::pem_slice_iter(&certificate.chain)
            .collect::<Result<Vec<_>, _>>()
            .map_err(pem("tls.crt"))?;
        let names = chain.first().map(|leaf| dns_names(leaf)).unwrap_or_default();
        let key = PrivateKeyDer::from_pem_slice(&certificate.key).map_err(pem("tls.key"))?;
        let mut key = CertifiedKey::from_der(chain, key, &provider()).map_err(key_error)?;
        key.ocsp = certificate.ocsp.as_deref().map(<[u8]>::to_vec);
        Ok(Self { key: Arc::new(key), names })
    }

    /// `name` as rustls gives it: in lower case.
    fn fit(&self, name: &str) -> Fit {
        let parent = name.split_once('.').map(|(_, parent)| parent);
        // RFC 9525 6.3: the asterisk is the whole first label, and stands for one.
        let fit = |pattern: &str| match pattern.strip_prefix("*.") {
            Some(suffix) if parent == Some(suffix) => Fit::Wildcard,
            None if pattern == name => Fit::Exact,
            _ => Fit::Not,
        };
        self.names.iter().map(|pattern| fit(pattern)).max().unwrap_or(Fit::Not)
    }
}

fn dns_names(leaf: &[u8]) -> Vec<Box<str>> {
    let Ok((_, leaf)) = x509_parser::parse_x509_certificate(leaf) else { return Vec::new() };
    let Ok(Some(names)) = leaf.subject_alternative_name() else { return Vec::new() };
    let dns = names.value.general_names.iter().filter_map(|name| match name {
        GeneralName::DNSName(name) => Some(name.trim_end_matches('.').to_ascii_lowercase().into()),
        _ => None,
    });
    dns.collect()
}
