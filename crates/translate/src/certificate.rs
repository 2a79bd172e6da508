//! Secrets of type kubernetes.io/tls: read once per version, and tried with the library that will serve them, so that what
//! cannot be served is in the status and not in a log of the data plane.

use std::collections::BTreeMap;
use std::sync::Arc;

use penstock_api::k8s::Secret;
use penstock_model::Certificate;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use x509_parser::asn1_rs::{Any, FromDer as _, Tag};

use crate::snapshot::{Key, Snapshot};

/// A certificate that ends within this time is said to end soon, in seconds. Of one that lives for less than 150 days it is
/// the last fifth of its life: those are renewed by machines, which begin earlier.
const SOON: i64 = 30 * 24 * 3600;

/// The key of a Secret that holds an OCSP response in DER: the name that Istio and Gloo have for it.
pub(crate) const OCSP: &str = "tls.ocsp-staple";

/// What a Secret holds.
#[derive(Clone, Debug)]
pub(crate) struct Parsed {
    pub(crate) certificate: Arc<Certificate>,
    /// From when on its end is near, in seconds since 1970.
    soon: i64,
    /// There is a staple that is none, and is left out.
    pub(crate) no_response: bool,
}

/// How far the life of a certificate has gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Age {
    Good,
    EndsSoon,
    Expired,
}

/// Secrets as read from the versions that were seen last.
#[derive(Debug, Default)]
pub(crate) struct KnownSecrets(BTreeMap<Key, (Arc<Secret>, Result<Parsed, String>)>);

impl KnownSecrets {
    /// What a Secret holds, or why it is of no use.
    pub(crate) fn read(&mut self, key: &Key, snapshot: &Snapshot) -> Result<Parsed, String> {
        let Some(secret) = snapshot.secrets.get(key) else {
            return Err(format!("Secret {key} does not exist, or is not of type kubernetes.io/tls: create it"));
        };
        if let Some((seen, parsed)) = self.0.get(key).filter(|(seen, _)| Arc::ptr_eq(seen, secret)) {
            debug_assert_eq!(seen.metadata.name, secret.metadata.name);
            return parsed.clone();
        }
        let parsed = parse(key, secret);
        self.0.insert(key.clone(), (Arc::clone(secret), parsed.clone()));
        parsed
    }

    /// Forgets Secrets that are gone.
    pub(crate) fn retain(&mut self, snapshot: &Snapshot) {
        self.0.retain(|key, _| snapshot.secrets.contains_key(key));
    }
}

impl Parsed {
    /// Its age, and the first second of the next one. The second of its end still belongs to its life (RFC 5280 4.1.2.5).
    pub(crate) fn age(&self, now: i64) -> (Age, Option<i64>) {
        let end = self.certificate.not_after;
        match () {
            () if now > end => (Age::Expired, None),
            () if now >= self.soon => (Age::EndsSoon, Some(end.saturating_add(1))),
            () => (Age::Good, Some(self.soon)),
        }
    }

    /// The end of its life, for people.
    pub(crate) fn end(&self) -> String {
        let end = self.certificate.not_after;
        jiff::Timestamp::from_second(end).map_or_else(|_| format!("second {end} of 1970"), |end| end.to_string())
    }
}

fn parse(key: &Key, secret: &Secret) -> Result<Parsed, String> {
    if let Some(kind) = secret.type_.as_deref().filter(|&kind| kind != "kubernetes.io/tls") {
        return Err(format!("Secret {key} is of type {kind:?}: it must be of type kubernetes.io/tls"));
    }
    let required = |name: &str| part(secret, name).ok_or_else(|| format!("Secret {key} has no key {name:?}: add it"));
    let (pem, private) = (required("tls.crt")?, required("tls.key")?);
    let mut chain = Vec::new();
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        chain.push(certificate.map_err(|error| format!("tls.crt of Secret {key} is not PEM: {error}"))?);
    }
    let leaf = chain.first().ok_or_else(|| format!("tls.crt of Secret {key} holds no certificate in PEM"))?;
    let (_, leaf) = x509_parser::parse_x509_certificate(leaf)
        .map_err(|error| format!("tls.crt of Secret {key} holds no X.509 certificate: {error}"))?;
    let (not_before, not_after) = (leaf.validity().not_before.timestamp(), leaf.validity().not_after.timestamp());
    let der = PrivateKeyDer::from_pem_slice(&private)
        .map_err(|error| format!("tls.key of Secret {key} holds no private key in PEM: {error}"))?;
    CertifiedKey::from_der(chain, der, &default_provider()).map_err(|error| unusable(key, &error))?;
    let staple = part(secret, OCSP).map(|staple| if is_good_response(&staple) { Ok(staple) } else { Err(()) });
    let no_response = staple == Some(Err(()));
    let ocsp = staple.and_then(Result::ok);
    let certificate = Certificate { secret: key.to_string().into(), chain: pem, key: private, not_after, ocsp };
    let soon = not_after - SOON.min(not_after.saturating_sub(not_before).max(0) / 5);
    Ok(Parsed { certificate: Arc::new(certificate), soon, no_response })
}

fn part(secret: &Secret, name: &str) -> Option<Arc<[u8]>> {
    let bytes = secret.data.as_ref().and_then(|data| data.get(name)).map(|bytes| bytes.0.as_slice());
    // Files may have text where the API server has bytes.
    let text = || secret.string_data.as_ref().and_then(|data| data.get(name)).map(String::as_bytes);
    bytes.or_else(text).map(Into::into)
}

/// Whether it is an OCSPResponse with the status successful (RFC 6960 4.2.1): a sequence that begins with the enumerated 0.
/// Clients look at the rest.
fn is_good_response(der: &[u8]) -> bool {
    let Ok((rest, sequence)) = Any::from_der(der) else { return false };
    rest.is_empty() && sequence.tag() == Tag::Sequence && sequence.data.starts_with(&[0x0a, 0x01, 0x00])
}

fn unusable(key: &Key, error: &rustls::Error) -> String {
    match error {
        rustls::Error::InconsistentKeys(_) => format!(
            "tls.key of Secret {key} does not belong to the certificate in tls.crt: put the key there that it was made for"
        ),
        rustls::Error::InvalidCertificate(_) => {
            format!("the certificate in tls.crt of Secret {key} cannot be served: {error}")
        }
        _ => format!(
            "tls.key of Secret {key} cannot be used: {error}; use RSA with 2048 to 8192 bits, ECDSA with P-256, P-384 or \
             P-521, or Ed25519"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_is_near_in_the_last_fifth_of_a_life_and_at_most_for_30_days() {
        let day = 24 * 3600;
        let parsed = |days: i64| {
            let end = days * day;
            let (chain, key): (Arc<[u8]>, Arc<[u8]>) = (Arc::new([]), Arc::new([]));
            let certificate = Certificate { secret: "edge/c".into(), chain, key, not_after: end, ocsp: None };
            Parsed { certificate: Arc::new(certificate), soon: end - SOON.min(end / 5), no_response: false }
        };
        let (short, long) = (parsed(90), parsed(365));
        assert_eq!(short.age(72 * day - 1), (Age::Good, Some(72 * day)));
        assert_eq!(short.age(72 * day), (Age::EndsSoon, Some(90 * day + 1)));
        assert_eq!(short.age(90 * day), (Age::EndsSoon, Some(90 * day + 1)));
        assert_eq!(short.age(90 * day + 1), (Age::Expired, None));
        assert_eq!(long.age(335 * day - 1), (Age::Good, Some(335 * day)));
        assert_eq!(long.end(), "1971-01-01T00:00:00Z");
    }
}
