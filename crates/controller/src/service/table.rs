//! The Services of gateways as the API server has them: read by every replica.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use kube::api::Api;
use kube::core::DeserializeGuard;
use kube::runtime::watcher;
use penstock_api::k8s::{IntOrString, ResourceExt as _, Service};
use penstock_model::GatewayId;
use penstock_translate::Key;
use tokio::sync::{mpsc, watch as channel};

use super::names::{CLASS, GATEWAY_NAME, GATEWAY_NAMESPACE, MANAGED_BY};
use super::ports::RANGE;
use crate::source::cluster::{Sender, slim};
use crate::store::{Change, Object};

/// The Services by name.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    services: Arc<Mutex<BTreeMap<Arc<str>, Arc<Service>>>>,
    /// Counts changes, and wakes who waits for them.
    changed: Arc<channel::Sender<u64>>,
}

impl Table {
    pub(crate) fn new() -> Self {
        Self { services: Arc::default(), changed: Arc::new(channel::channel(0).0) }
    }

    /// Wakes on every change.
    pub(crate) fn subscribe(&self) -> channel::Receiver<u64> {
        self.changed.subscribe()
    }

    /// All of them, the oldest first: in this order they keep what two of them have.
    pub(crate) fn services(&self) -> Vec<Arc<Service>> {
        let mut all: Vec<_> = self.services.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect();
        all.sort_by_key(|service| (service.creation_timestamp().map(|time| time.0), service.name_any()));
        all
    }

    /// A Service by its name.
    pub(crate) fn named(&self, name: &str) -> Option<Arc<Service>> {
        self.services.lock().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    /// The Service of a gateway.
    pub(crate) fn of(&self, gateway: &Key) -> Option<Arc<Service>> {
        let is = |service: &Arc<Service>| {
            gateway_of(service).is_some_and(|id| id.namespace == gateway.namespace && id.name == gateway.name)
        };
        self.services().into_iter().find(is)
    }

    /// A Service was seen in a version, which may be older than what is known.
    pub(crate) fn saw(&self, service: Arc<Service>) {
        let mut services = self.services.lock().unwrap_or_else(PoisonError::into_inner);
        let old = services.get(service.name_any().as_str());
        if old.is_none_or(|old| old.uid() != service.uid() || version(old) <= version(&service)) {
            services.insert(service.name_any().into(), service);
            drop(services);
            self.changed.send_modify(|count| *count += 1);
        }
    }

    pub(crate) fn gone(&self, name: &str) {
        self.services.lock().unwrap_or_else(PoisonError::into_inner).remove(name);
        self.changed.send_modify(|count| *count += 1);
    }

    /// These are all.
    pub(crate) fn replace(&self, all: Vec<Arc<Service>>) {
        let all = all.into_iter().map(|service| (Arc::from(service.name_any()), service)).collect();
        *self.services.lock().unwrap_or_else(PoisonError::into_inner) = all;
        self.changed.send_modify(|count| *count += 1);
    }

    /// The local port of each listener port. Of two Services with one local port the older keeps it.
    pub(crate) fn local_ports(&self) -> BTreeMap<(GatewayId, u16), u16> {
        let (mut ports, mut taken) = (BTreeMap::new(), BTreeMap::new());
        for service in self.services() {
            let Some(gateway) = gateway_of(&service) else { continue };
            for (port, local) in local_ports(&service) {
                if *taken.entry(local).or_insert_with(|| gateway.clone()) == gateway {
                    ports.entry((gateway.clone(), port)).or_insert(local);
                }
            }
        }
        ports
    }
}

/// Versions count up (KEP-5504).
fn version(service: &Service) -> u64 {
    service.resource_version().and_then(|version| version.parse().ok()).unwrap_or_default()
}

/// The gateway that a Service stands in front of.
pub(super) fn gateway_of(service: &Service) -> Option<GatewayId> {
    let annotation = |name| service.annotations().get(name).map(String::as_str);
    Some(GatewayId::new(annotation(GATEWAY_NAMESPACE)?, annotation(GATEWAY_NAME)?))
}

/// Listener ports and local ports of a Service, as far as they are ours.
pub(super) fn local_ports(service: &Service) -> Vec<(u16, u16)> {
    let ports = service.spec.iter().flat_map(|spec| spec.ports.iter().flatten());
    let pair = |port: &penstock_api::k8s::ServicePort| match &port.target_port {
        Some(IntOrString::Int(local)) => {
            let local = u16::try_from(*local).ok().filter(|local| RANGE.contains(local))?;
            Some((u16::try_from(port.port).ok()?, local))
        }
        _ => None,
    };
    ports.filter_map(pair).collect()
}

/// The selector of the Services of one class.
pub(super) fn selector(class: &str) -> String {
    format!("{MANAGED_BY}=penstock,{CLASS}={class}")
}

/// Watches the Services, and tells the store their local ports.
pub(crate) async fn watch(api: Api<DeserializeGuard<Service>>, class: String, table: Table, changes: Sender) {
    let (sender, mut batches) = mpsc::unbounded_channel();
    let scope = crate::store::Scope { kind: crate::store::Kind::Service, namespace: None };
    let config = watcher::Config::default().labels(&selector(&class));
    let convert = |guard: DeserializeGuard<Service>| {
        crate::source::cluster::read(crate::store::Kind::Service, guard, &|o| Object::Service(Arc::new(slim(o))))
    };
    let mut absence = crate::source::cluster::Absence::default();
    let follow = crate::source::cluster::follow(
        api,
        config,
        scope,
        crate::source::cluster::Missing::Wait,
        convert,
        vec![sender],
        &mut absence,
    );
    let mut follow = std::pin::pin!(follow);
    let mut changed = table.subscribe();
    let mut synced = false;
    loop {
        tokio::select! {
            () = &mut follow => return,
            batch = batches.recv() => {
                for change in batch.unwrap_or_default() {
                    match change {
                        Change::Replace { objects, .. } => {
                            let service = |object| if let Object::Service(service) = object { Some(service) } else { None };
                            table.replace(objects.into_iter().filter_map(service).collect());
                            synced = true;
                        }
                        Change::Put(Object::Service(service)) => table.saw(service),
                        Change::Remove(id) => table.gone(&id.key.name),
                        _ => {}
                    }
                }
            }
            Ok(()) = changed.changed() => {}
        }
        if synced && changes.send(vec![Change::LocalPorts(table.local_ports())]).is_err() {
            return;
        }
    }
}
