//! Certificate authorities from ConfigMaps and Secrets: the key `ca.crt`, read once per version of the object.

use std::collections::BTreeMap;
use std::sync::Arc;

use penstock_api::gateway::{CaKind, CaRef};
use penstock_api::k8s::{ConfigMap, Secret};
use penstock_api::reasons::ListenerReason;
use rustls::RootCertStore;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

use crate::finding::Finding;
use crate::grant::{Referrer, permitted};
use crate::snapshot::{Key, Snapshot};

/// Where the authorities are.
const FIELD: &str = "ca.crt";

/// Authorities as read from the versions of objects that were seen last.
#[derive(Debug, Default)]
pub(crate) struct Authorities {
    config_maps: BTreeMap<Key, (Arc<ConfigMap>, Read)>,
    secrets: BTreeMap<Key, (Arc<Secret>, Read)>,
}

/// PEM, or why there is none.
type Read = Result<Arc<[u8]>, String>;

impl Authorities {
    /// The authorities of all references, as PEM. What cannot be used is left out and said.
    pub(crate) fn resolve(
        &mut self,
        references: &[CaRef],
        from: Referrer<'_>,
        field: &str,
        snapshot: &Snapshot,
        findings: &mut Vec<Finding>,
    ) -> Arc<[u8]> {
        let mut all: Arc<[u8]> = Arc::default();
        for reference in references {
            let (kind, key) = (kind(reference), key(reference, from.namespace));
            if let Err(why) = permitted(snapshot, from, kind, &key) {
                findings.push(Finding::unresolved(ListenerReason::RefNotPermitted.as_str(), format!("{field}: {why}")));
                continue;
            }
            match self.read(reference.kind, &key, snapshot) {
                // Shared by all that name just this one.
                Ok(pem) if all.is_empty() => all = pem,
                Ok(pem) => all = [&*all, b"\n", &*pem].concat().into(),
                Err(why) => {
                    let reason = ListenerReason::InvalidCertificateRef.as_str();
                    findings.push(Finding::unresolved(reason, format!("{field}: {kind} {key} {why}")));
                }
            }
        }
        all
    }

    /// Forgets objects that are gone.
    pub(crate) fn retain(&mut self, snapshot: &Snapshot) {
        self.config_maps.retain(|key, _| snapshot.config_maps.contains_key(key));
        self.secrets.retain(|key, _| snapshot.secrets.contains_key(key));
    }

    fn read(&mut self, kind: CaKind, key: &Key, snapshot: &Snapshot) -> Read {
        let missing = || Err("does not exist: create it, or correct the reference".to_owned());
        match kind {
            CaKind::ConfigMap => {
                let Some(object) = snapshot.config_maps.get(key) else { return missing() };
                remembered(&mut self.config_maps, key, object, |object| {
                    let text = object.data.as_ref().and_then(|data| data.get(FIELD)).map(String::as_bytes);
                    text.or_else(|| object.binary_data.as_ref()?.get(FIELD).map(|bytes| bytes.0.as_slice()))
                })
            }
            CaKind::Secret => {
                let Some(object) = snapshot.secrets.get(key) else { return missing() };
                remembered(&mut self.secrets, key, object, |object| {
                    let bytes = object.data.as_ref().and_then(|data| data.get(FIELD)).map(|bytes| bytes.0.as_slice());
                    bytes.or_else(|| object.string_data.as_ref()?.get(FIELD).map(String::as_bytes))
                })
            }
        }
    }
}

/// The kind that a reference names.
pub(crate) fn kind(reference: &CaRef) -> &'static str {
    match reference.kind {
        CaKind::ConfigMap => "ConfigMap",
        CaKind::Secret => "Secret",
    }
}

/// The object that a reference names.
pub(crate) fn key(reference: &CaRef, namespace: &str) -> Key {
    Key::new(reference.namespace.as_deref().unwrap_or(namespace), reference.name.as_str())
}

fn remembered<T>(
    known: &mut BTreeMap<Key, (Arc<T>, Read)>,
    key: &Key,
    object: &Arc<T>,
    part: impl for<'o> Fn(&'o T) -> Option<&'o [u8]>,
) -> Read {
    if let Some((_, read)) = known.get(key).filter(|(seen, _)| Arc::ptr_eq(seen, object)) {
        return read.clone();
    }
    let read = part(object).ok_or_else(|| format!("has no key {FIELD:?}: add it")).and_then(parse);
    known.insert(key.clone(), (Arc::clone(object), read.clone()));
    read
}

fn parse(pem: &[u8]) -> Read {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let certificate = certificate.map_err(|error| format!("has a {FIELD} that is not PEM: {error}"))?;
        roots
            .add(certificate)
            .map_err(|error| format!("has a {FIELD} with a certificate that cannot be used: {error}"))?;
    }
    if roots.is_empty() {
        return Err(format!("has no certificate in PEM in its {FIELD}: put the authorities there"));
    }
    Ok(pem.into())
}
