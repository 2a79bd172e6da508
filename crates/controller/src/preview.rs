//! What the objects would be with those of a text: nothing is applied.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use jiff::Timestamp;
use penstock_api::k8s::{ObjectMeta, Time};
use penstock_api::schema::CheckerError;
use penstock_model::{GatewayId, Problem};
use penstock_translate::{Key, Snapshot};

use crate::source::folder;
use crate::store::{Object, with};

/// The objects as they would be.
pub struct Preview {
    /// For a translation.
    pub snapshot: Snapshot,
    /// What is refused in the text; the rest of it counts.
    pub refused: Vec<Problem>,
    /// Objects of the text.
    pub objects: usize,
}

impl std::fmt::Debug for Preview {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Preview")
            .field("objects", &self.objects)
            .field("refused", &self.refused)
            .finish_non_exhaustive()
    }
}

impl Preview {
    /// Puts the objects of some YAML into the place of those with their names. They keep what an API server keeps of the old
    /// ones: identity and age. In a cluster, what is new is the newest.
    ///
    /// # Errors
    /// Our own schemas are broken.
    pub fn of(now: Snapshot, yaml: &str, standalone: bool) -> Result<Self, CheckerError> {
        let loaded = folder::load_text(Path::new("<input>"), yaml)?;
        let count = loaded.objects.len();
        let objects: Vec<Object> = loaded.objects.into_iter().map(|object| aged(object, &now, standalone)).collect();
        let mut snapshot = with(now, objects);
        bind(&mut snapshot);
        let refused = loaded.problems.into_iter().map(folder::FileProblem::into_problem).collect();
        Ok(Self { snapshot, refused, objects: count })
    }
}

/// An object of ours with the identity and the age that it would have.
fn aged(object: Object, now: &Snapshot, standalone: bool) -> Object {
    let age = |meta: &mut ObjectMeta, old: Option<&ObjectMeta>| match old {
        Some(old) => {
            meta.uid.clone_from(&old.uid);
            meta.creation_timestamp.clone_from(&old.creation_timestamp);
        }
        None if standalone => {}
        None => meta.creation_timestamp = Some(Time(Timestamp::now())),
    };
    let key = |meta: &ObjectMeta| {
        Key::new(meta.namespace.as_deref().unwrap_or_default(), meta.name.as_deref().unwrap_or_default())
    };
    match object {
        Object::Gateway(mut gateway) => {
            let meta = &mut Arc::make_mut(&mut gateway).metadata;
            age(meta, now.gateways.get(&key(meta)).map(|old| &old.metadata));
            Object::Gateway(gateway)
        }
        Object::Rule(mut rule) => {
            let meta = &mut Arc::make_mut(&mut rule).metadata;
            age(meta, now.rules.get(&key(meta)).map(|old| &old.metadata));
            Object::Rule(rule)
        }
        other => other,
    }
}

/// Where gateways have Services of their own, a port that is new has no local one yet. Any does that nobody has.
fn bind(snapshot: &mut Snapshot) {
    let Some(ports) = &mut snapshot.local_ports else { return };
    let used: BTreeSet<u16> = ports.values().copied().collect();
    let mut free = (1..=u16::MAX).filter(|port| !used.contains(port));
    for (key, gateway) in &*snapshot.gateways {
        let id = GatewayId::new(key.namespace.clone(), key.name.clone());
        for listener in &gateway.spec.listeners {
            if !ports.contains_key(&(id.clone(), listener.port))
                && let Some(port) = free.next()
            {
                ports.insert((id.clone(), listener.port), port);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    const NOW: &str = "
apiVersion: penstock.dev/v1alpha1
kind: ApplicationGateway
metadata: {name: shop, namespace: edge}
spec: {listeners: [{name: http, port: 80, protocol: HTTP}]}
---
apiVersion: penstock.dev/v1alpha1
kind: RoutingRule
metadata: {name: old, namespace: edge}
spec: {gatewayRef: {name: shop}, backend: {services: [{name: web, port: 80}]}}
";

    /// As a cluster has them: with identities, ages and local ports.
    fn cluster() -> Snapshot {
        let mut snapshot = Preview::of(Snapshot::default(), NOW, true).unwrap().snapshot;
        for gateway in snapshot.gateways.values_mut() {
            let meta = &mut Arc::make_mut(gateway).metadata;
            (meta.uid, meta.creation_timestamp) = (Some("real".to_owned()), Some(Time(Timestamp::UNIX_EPOCH)));
        }
        snapshot.local_ports = Some(BTreeMap::from([((GatewayId::new("edge", "shop"), 80), 10_000)]));
        snapshot
    }

    #[test]
    fn what_is_replaced_keeps_its_identity_and_what_is_new_is_the_newest() {
        let yaml = NOW.replace("name: http, port: 80", "name: http, port: 81").replace("name: old", "name: new");
        let preview = Preview::of(cluster(), &yaml, false).unwrap();
        assert_eq!((preview.objects, preview.refused), (2, vec![]));
        let gateway = preview.snapshot.gateways.values().next().unwrap();
        assert_eq!(gateway.metadata.uid.as_deref(), Some("real"));
        assert_eq!(gateway.metadata.creation_timestamp, Some(Time(Timestamp::UNIX_EPOCH)));
        assert_eq!(gateway.spec.listeners[0].port, 81);
        assert_eq!(preview.snapshot.rules.len(), 2, "none is removed");
        let new = &preview.snapshot.rules[&Key::new("edge", "new")];
        assert!(new.metadata.creation_timestamp.as_ref().is_some_and(|time| time.0 > Timestamp::UNIX_EPOCH));
        // The new port has a local one, another than those that are taken.
        let ports = preview.snapshot.local_ports.unwrap();
        let port = ports[&(GatewayId::new("edge", "shop"), 81)];
        assert!(port != 10_000 && ports.len() == 2);
    }

    #[test]
    fn what_is_refused_is_said_and_the_rest_counts() {
        let broken = NOW.replace("{name: http, port: 80, protocol: HTTP}", "{name: http, port: 80, protocol: SMTP}");
        let preview = Preview::of(cluster(), &broken, false).unwrap();
        assert_eq!((preview.objects, preview.refused.len()), (1, 1));
        assert!(preview.refused[0].message.starts_with("<input>:2: "), "{}", preview.refused[0]);
        assert_eq!(preview.snapshot.gateways.values().next().unwrap().metadata.uid.as_deref(), Some("real"));
    }
}
