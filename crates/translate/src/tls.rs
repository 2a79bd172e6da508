//! Certificates from Secrets of type kubernetes.io/tls: read once per version of the Secret.

use std::collections::BTreeMap;
use std::sync::Arc;

use penstock_api::k8s::Secret;
use penstock_api::reasons::ListenerReason;
use penstock_model::{Certificate, ListenerTls};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use crate::finding::Finding;
use crate::gateway::Gateway;
use crate::grant::{Referrer, permitted};
use crate::listener::Listener;
use crate::snapshot::{Key, Snapshot};

/// Certificates as read from the versions of Secrets that were seen last.
#[derive(Debug, Default)]
pub(crate) struct Certificates(BTreeMap<Key, (Arc<Secret>, Result<Parsed, String>)>);

#[derive(Clone, Debug)]
struct Parsed {
    certificate: Arc<Certificate>,
    /// The end of its life, in seconds since 1970.
    not_after: i64,
}

impl Certificates {
    /// TLS of a listener. What is missing or broken is left out and said; with no certificate left there is no TLS. An expired
    /// certificate is served all the same: clients may take it, and refusing it would help nobody.
    pub(crate) fn resolve(
        &mut self,
        gateway: &Gateway,
        listener: &Listener,
        snapshot: &Snapshot,
        findings: &mut Vec<Finding>,
    ) -> Option<ListenerTls> {
        let tls = listener.tls.as_ref()?;
        let field = format!("listeners[{}].tls.certificateRefs", listener.name);
        let from = Referrer { kind: "ApplicationGateway", namespace: &gateway.key.namespace };
        let mut certificates = Vec::new();
        for reference in &tls.certificates {
            let key = secret_key(gateway, reference);
            if let Err(why) = permitted(snapshot, from, "Secret", &key) {
                findings.push(Finding::unresolved(ListenerReason::RefNotPermitted.as_str(), format!("{field}: {why}")));
                continue;
            }
            match self.read(&key, snapshot) {
                Ok(parsed) => {
                    if parsed.not_after < snapshot.now {
                        let message = format!(
                            "{field}: the certificate in Secret {key} has expired; it is served all the same, renew it"
                        );
                        findings.push(Finding::note(ListenerReason::CertificateExpired.as_str(), message));
                    }
                    certificates.push(parsed.certificate);
                }
                Err(why) => findings.push(Finding::unresolved(
                    ListenerReason::InvalidCertificateRef.as_str(),
                    format!("{field}: {why}"),
                )),
            }
        }
        (!certificates.is_empty()).then_some(ListenerTls {
            certificates,
            min_version: tls.min_version,
            cipher_suites: Vec::new(),
            client_auth: None,
        })
    }

    /// Forgets Secrets that are gone.
    pub(crate) fn retain(&mut self, snapshot: &Snapshot) {
        self.0.retain(|key, _| snapshot.secrets.contains_key(key));
    }

    fn read(&mut self, key: &Key, snapshot: &Snapshot) -> Result<Parsed, String> {
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
}

/// The Secret that a listener's certificate reference names.
pub(crate) fn secret_key(gateway: &Gateway, reference: &penstock_api::gateway::SecretRef) -> Key {
    let namespace = reference.namespace.as_deref().unwrap_or(&gateway.key.namespace);
    Key::new(namespace, reference.name.as_str())
}

fn parse(key: &Key, secret: &Secret) -> Result<Parsed, String> {
    if let Some(kind) = secret.type_.as_deref().filter(|&kind| kind != "kubernetes.io/tls") {
        return Err(format!("Secret {key} is of type {kind:?}: it must be of type kubernetes.io/tls"));
    }
    let part = |name: &str| -> Result<Arc<[u8]>, String> {
        let bytes = secret.data.as_ref().and_then(|data| data.get(name)).map(|bytes| bytes.0.as_slice());
        // Files may have text where the API server has bytes.
        let text = || secret.string_data.as_ref().and_then(|data| data.get(name)).map(String::as_bytes);
        bytes.or_else(text).map(Into::into).ok_or_else(|| format!("Secret {key} has no key {name:?}: add it"))
    };
    let (chain, private) = (part("tls.crt")?, part("tls.key")?);
    let mut certificates = Vec::new();
    for certificate in CertificateDer::pem_slice_iter(&chain) {
        certificates.push(certificate.map_err(|error| format!("tls.crt of Secret {key} is not PEM: {error}"))?);
    }
    let leaf = certificates.first().ok_or_else(|| format!("tls.crt of Secret {key} holds no certificate in PEM"))?;
    let (_, leaf) = x509_parser::parse_x509_certificate(leaf)
        .map_err(|error| format!("tls.crt of Secret {key} holds no X.509 certificate: {error}"))?;
    PrivateKeyDer::from_pem_slice(&private)
        .map_err(|error| format!("tls.key of Secret {key} holds no private key in PEM: {error}"))?;
    let not_after = leaf.validity().not_after.timestamp();
    let certificate = Certificate { secret: key.to_string().into(), chain, key: private };
    Ok(Parsed { certificate: Arc::new(certificate), not_after })
}
