//! TLS to backends: the objects that settings refer to, looked up from where the settings stand.

use std::collections::HashMap;
use std::sync::Arc;

use penstock_api::gateway::CaKind;
use penstock_api::reasons::ListenerReason;
use penstock_api::rule::RuleBackend;
use penstock_model::{Certificate, EndpointSet, EndpointSource};

use crate::authorities::{self, Authorities};
use crate::certificate::KnownSecrets;
use crate::finding::Finding;
use crate::grant::{Referrer, permitted};
use crate::pool::Backends;
use crate::settings::{ProbeChoice, Settings};
use crate::snapshot::Snapshot;
use crate::tls::secret_key;

/// What was read of the versions of objects that were seen last, and is not read again for every rule.
#[derive(Debug, Default)]
pub(crate) struct Known {
    authorities: Authorities,
    secrets: KnownSecrets,
    /// Of the snapshot that is being translated: thousands of rules may share a Service.
    endpoints: HashMap<EndpointSource, Arc<EndpointSet>>,
}

impl Known {
    /// The endpoints of a source: the same for all who ask during one translation.
    pub(crate) fn endpoints(
        &mut self,
        source: &EndpointSource,
        read: impl FnOnce() -> EndpointSet,
    ) -> Arc<EndpointSet> {
        if let Some(known) = self.endpoints.get(source) {
            return Arc::clone(known);
        }
        let read = Arc::new(read());
        self.endpoints.insert(source.clone(), Arc::clone(&read));
        read
    }

    /// The translation is over: forgets objects that are gone, and what the next snapshot says anew.
    pub(crate) fn retain(&mut self, snapshot: &Snapshot) {
        self.authorities.retain(snapshot);
        self.secrets.retain(snapshot);
        self.endpoints.clear();
    }
}

impl Backends<'_> {
    /// The settings with the authorities and the certificate that they name, and why nobody may be spoken to, if so.
    pub(crate) fn resolve_tls(
        &mut self,
        place: &str,
        backend: &RuleBackend,
        settings: Arc<Settings>,
    ) -> (Arc<Settings>, Option<&'static str>) {
        if settings.authorities.is_empty() && settings.client_certificate.is_none() {
            return (settings, None);
        }
        let (gateway, rule) = (self.gateway, self.rule);
        let (from, field) = match &backend.settings {
            Some(name) => {
                let field = format!("{place}.settings {name:?} of ApplicationGateway {}: tls", gateway.key);
                (Referrer { kind: "ApplicationGateway", namespace: &gateway.key.namespace }, field)
            }
            None => {
                let field = format!("{place}.inlineSettings.tls");
                (Referrer { kind: "RoutingRule", namespace: &rule.namespace }, field)
            }
        };
        let mut settings = Arc::unwrap_or_clone(settings);
        let trusted = self.trust(&mut settings, from, &field);
        let shown = self.identify(&mut settings, from, &field);
        let blocked = (!trusted || !shown).then_some(ListenerReason::InvalidCertificateRef.as_str());
        (Arc::new(settings), blocked)
    }

    /// Whom to trust. Without any authority nobody is known: no connection, rather than one to anybody.
    fn trust(&mut self, settings: &mut Settings, from: Referrer<'_>, field: &str) -> bool {
        if settings.authorities.is_empty() {
            return true;
        }
        for reference in &settings.authorities {
            let key = authorities::key(reference, from.namespace);
            self.dependencies.grants |= *key.namespace != *from.namespace;
            match reference.kind {
                CaKind::ConfigMap => self.dependencies.config_maps.insert(&key),
                CaKind::Secret => self.dependencies.secrets.insert(&key),
            }
        }
        let field = format!("{field}.caCertificateRefs");
        let known = &mut self.known.borrow_mut().authorities;
        let pem = known.resolve(&settings.authorities, from, &field, self.snapshot, &mut self.findings);
        let probe = match &mut settings.probe {
            ProbeChoice::Named(probe, _) => probe.tls.as_mut().filter(|tls| tls.verify),
            _ => None,
        };
        for tls in settings.tls.iter_mut().chain(probe) {
            tls.authorities = Some(Arc::clone(&pem));
        }
        !pem.is_empty()
    }

    /// Who we are. Without the certificate no connection: a backend may take those who show none for somebody else.
    fn identify(&mut self, settings: &mut Settings, from: Referrer<'_>, field: &str) -> bool {
        let Some(reference) = &settings.client_certificate else { return true };
        let key = secret_key(reference, from.namespace);
        self.dependencies.grants |= *key.namespace != *from.namespace;
        self.dependencies.secrets.insert(&key);
        let certificate = match permitted(self.snapshot, from, "Secret", &key) {
            Err(why) => Err((ListenerReason::RefNotPermitted, why)),
            Ok(()) => match self.known.borrow_mut().secrets.read(&key, self.snapshot) {
                Err(why) => Err((ListenerReason::InvalidCertificateRef, why)),
                // A staple is for servers.
                Ok(parsed) => Ok(Arc::new(Certificate { ocsp: None, ..(*parsed.certificate).clone() })),
            },
        };
        let certificate = match certificate {
            Ok(certificate) => certificate,
            Err((reason, why)) => {
                let message = format!("{field}.clientCertificateRef: {why}");
                self.findings.push(Finding::unresolved(reason.as_str(), message));
                return false;
            }
        };
        let probe = match &mut settings.probe {
            ProbeChoice::Named(probe, _) => probe.tls.as_mut(),
            _ => None,
        };
        // A probe over TLS of settings without has nothing to show.
        let probe = probe.filter(|_| settings.tls.is_some());
        for tls in settings.tls.iter_mut().chain(probe) {
            tls.identity = Some(Arc::clone(&certificate));
        }
        true
    }
}
