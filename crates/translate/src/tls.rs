//! TLS of a listener: its certificates, policy and authorities.

use penstock_api::gateway::{ClientAuthMode, SecretRef};
use penstock_api::reasons::ListenerReason;
use penstock_model::{self as model, ListenerTls, TlsVersion};

use crate::authorities::Authorities;
use crate::certificate::{Age, KnownSecrets, OCSP, Parsed};
use crate::finding::Finding;
use crate::gateway::Gateway;
use crate::grant::{Referrer, permitted};
use crate::listener::Listener;
use crate::policy::Policy;
use crate::snapshot::{Key, Snapshot};

/// Certificates as read from the versions of Secrets that were seen last.
#[derive(Debug, Default)]
pub(crate) struct Certificates {
    secrets: KnownSecrets,
    authorities: Authorities,
    /// When the first certificate in use will be of another age, in seconds since 1970.
    next_age: Option<i64>,
}

impl Certificates {
    /// TLS of a listener. What is missing or broken is left out and said. With no certificate left the listener keeps its
    /// hosts and every handshake for them fails: nobody may come in by another listener of the port instead. An expired
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
            let key = secret_key(reference, from.namespace);
            if let Err(why) = permitted(snapshot, from, "Secret", &key) {
                findings.push(Finding::unresolved(ListenerReason::RefNotPermitted.as_str(), format!("{field}: {why}")));
                continue;
            }
            match self.secrets.read(&key, snapshot) {
                Ok(parsed) => {
                    let what = || format!("{field}: the certificate in Secret {key}");
                    findings.extend(self.age(&parsed, snapshot.now, what));
                    if parsed.no_response {
                        let message = format!(
                            "{field}: {OCSP} of Secret {key} is no successful OCSP response in DER, and is not stapled; \
                             correct or remove it"
                        );
                        findings.push(Finding::partial(ListenerReason::UnsupportedValue.as_str(), message));
                    }
                    certificates.push(parsed.certificate);
                }
                Err(why) => findings.push(Finding::unresolved(
                    ListenerReason::InvalidCertificateRef.as_str(),
                    format!("{field}: {why}"),
                )),
            }
        }
        if listener.closed {
            certificates.clear();
        }
        let none = || Policy { min_version: TlsVersion::V1_2, cipher_suites: Vec::new() };
        let Policy { min_version, cipher_suites } = tls.policy.clone().unwrap_or_else(none);
        let client_auth = tls.client_auth.as_ref().map(|auth| {
            let field = format!("listeners[{}].tls.clientAuth.caCertificateRefs", listener.name);
            let authorities = self.authorities.resolve(&auth.ca_certificate_refs, from, &field, snapshot, findings);
            // Without any authority nobody is known: in mode Strict every request is refused, rather than none.
            model::ClientAuth { strict: auth.mode == ClientAuthMode::Strict, authorities }
        });
        Some(ListenerTls { certificates, min_version, cipher_suites, client_auth })
    }

    /// Forgets Secrets that are gone.
    pub(crate) fn retain(&mut self, snapshot: &Snapshot) {
        self.secrets.retain(snapshot);
        self.authorities.retain(snapshot);
        self.next_age = None;
    }

    /// When something else has to be said about the age of a certificate that was resolved since [`Self::retain`].
    pub(crate) fn next_age(&self) -> Option<i64> {
        self.next_age
    }

    fn age(&mut self, parsed: &Parsed, now: i64, what: impl FnOnce() -> String) -> Option<Finding> {
        // A caller without a clock does not ask.
        if now == 0 {
            return None;
        }
        let (age, until) = parsed.age(now);
        self.next_age = [self.next_age, until].into_iter().flatten().min();
        let end = || parsed.end();
        let (reason, how) = match age {
            Age::Good => return None,
            Age::EndsSoon => (ListenerReason::CertificateExpiresSoon, format!("ends at {}: renew it", end())),
            Age::Expired => {
                let how = format!("has expired at {}; it is served all the same, renew it", end());
                (ListenerReason::CertificateExpired, how)
            }
        };
        Some(Finding::warning(reason.as_str(), format!("{} {how}", what())))
    }
}

/// The Secret that a reference names.
pub(crate) fn secret_key(reference: &SecretRef, namespace: &str) -> Key {
    Key::new(reference.namespace.as_deref().unwrap_or(namespace), reference.name.as_str())
}
