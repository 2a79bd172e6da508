//! The leader's part: one Service for each gateway, and none for gateways that have gone.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, Preconditions};
use penstock_api::ApplicationGateway;
use penstock_api::k8s::{ConfigMap, OwnerReference, ResourceExt as _, Service};
use penstock_model::GatewayId;
use penstock_translate::Key;
use serde_json::Value;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

use super::desired::{Desired, refused};
use super::names::service_name;
use super::ports::{Quarantine, choose};
use super::table::{Table, gateway_of, local_ports, selector};
use super::{OwnServices, listener_ports};
use crate::source::cluster::{Namespaces, delay};
use crate::store::Gateways;

/// A request that takes longer has failed.
const REQUEST: Duration = Duration::from_secs(10);
/// A Service that somebody changed by hand is put right after this time at the latest.
const RECHECK: Duration = Duration::from_secs(60);

/// What goes wrong with the Service of a gateway.
pub(crate) type Refusals = BTreeMap<Key, String>;

/// The task, before it runs.
pub(crate) struct Keeper {
    pub(crate) client: kube::Client,
    pub(crate) class: String,
    pub(crate) namespace: String,
    pub(crate) namespaces: Namespaces,
    pub(crate) own: OwnServices,
    pub(crate) table: Table,
    pub(crate) gateways: watch::Receiver<Option<Gateways>>,
    pub(crate) leads: watch::Receiver<bool>,
    pub(crate) refusals: watch::Sender<Refusals>,
}

/// What the keeper remembers between two looks.
#[derive(Default)]
struct Memory {
    /// Who had which local port at the last look.
    locals: BTreeMap<u16, GatewayId>,
    quarantine: Quarantine,
    /// What was applied, so that it is not applied again.
    applied: HashMap<Key, (Value, Option<String>)>,
    owner: Option<OwnerReference>,
    /// Whether the Services were listed since this process leads.
    listed: bool,
}

impl Keeper {
    /// Runs until the store is gone. Everyone remembers freed ports; only the leader writes.
    pub(crate) async fn run(mut self) {
        let mut changed = self.table.subscribe();
        let mut memory = Memory::default();
        let mut failures = 0;
        loop {
            memory.note(&self.table);
            let pause = if *self.leads.borrow_and_update() {
                match self.keep(&mut memory).await {
                    Ok(()) => {
                        failures = 0;
                        RECHECK
                    }
                    Err(error) => {
                        tracing::warn!(%error, "the Services of the gateways are not all as they should be; trying again");
                        failures += 1;
                        delay(failures)
                    }
                }
            } else {
                memory.listed = false;
                memory.applied.clear();
                RECHECK
            };
            tokio::select! {
                changed = self.gateways.changed() => if changed.is_err() { return },
                // The election is over once the Lease is given back; nobody leads here then.
                Ok(()) = self.leads.changed() => {}
                _ = changed.changed() => {}
                () = sleep(pause) => memory.applied.clear(),
            }
        }
    }

    async fn keep(&mut self, memory: &mut Memory) -> Result<(), kube::Error> {
        // None before everything was read once: only then is a missing gateway one that has gone.
        let Some(gateways) = self.gateways.borrow_and_update().clone() else { return Ok(()) };
        let api: Api<Service> = Api::namespaced(self.client.clone(), &self.namespace);
        if !memory.listed {
            // The watch may lag behind what the last leader gave away.
            let all = in_time(api.list(&ListParams::default().labels(&selector(&self.class)))).await?;
            self.table.replace(all.items.into_iter().map(Arc::new).collect());
            memory.note(&self.table);
            memory.owner = self.owner().await?;
            memory.listed = true;
        }
        let ours: BTreeMap<&Key, &Arc<ApplicationGateway>> = gateways
            .iter()
            .filter(|(_, gateway)| {
                gateway.spec.class_name == self.class && gateway.metadata.deletion_timestamp.is_none()
            })
            .collect();
        let mut refusals = Refusals::new();
        let mut failed = None;
        for (key, gateway) in &ours {
            if !*self.leads.borrow() {
                return Ok(());
            }
            match self.keep_one(&api, memory, key, gateway).await {
                Ok(None) => {}
                Ok(Some(refusal)) => drop(refusals.insert((*key).clone(), refusal)),
                // One gateway's trouble is not another's.
                Err(kube::Error::Api(status)) if matches!(status.code, 400 | 403 | 409 | 422) => {
                    refusals.insert((*key).clone(), format!("the Service is refused: {}", status.message));
                }
                Err(error) => failed = Some(error),
            }
        }
        self.remove_orphans(&api, memory, &ours).await?;
        self.refusals.send_if_modified(|old| {
            let differ = *old != refusals;
            *old = refusals;
            differ
        });
        failed.map_or(Ok(()), Err)
    }

    async fn keep_one(
        &self,
        api: &Api<Service>,
        memory: &mut Memory,
        key: &Key,
        gateway: &ApplicationGateway,
    ) -> Result<Option<String>, kube::Error> {
        let id = GatewayId::new(key.namespace.clone(), key.name.clone());
        let Some(ports) = self.ports(&id, gateway, &memory.quarantine) else {
            return Ok(Some("every local port from 10000 to 19999 is taken; remove listeners or gateways".to_owned()));
        };
        let name = service_name(&self.class, key);
        let desired = Desired {
            class: &self.class,
            namespace: &self.namespace,
            name: &name,
            own: &self.own,
            owner: memory.owner.as_ref(),
            ports: &ports,
        }
        .service(key, gateway);
        let existing = self.table.named(&name);
        if let Some(refusal) = existing.as_ref().and_then(|existing| refused(&desired, existing)) {
            return Ok(Some(refusal));
        }
        let version = existing.as_ref().and_then(|existing| existing.uid());
        if existing.is_some() && memory.applied.get(key) == Some(&(desired.clone(), version)) {
            return Ok(None);
        }
        let params = PatchParams::apply(penstock_api::FIELD_MANAGER).force();
        let applied = in_time(api.patch(&name, &params, &Patch::Apply(&desired))).await?;
        tracing::info!(gateway = %key, service = name, ports = ?ports, "applied the Service of a gateway");
        memory.applied.insert(key.clone(), (desired, applied.uid()));
        self.table.saw(Arc::new(applied));
        memory.note(&self.table);
        Ok(None)
    }

    /// Local ports of a gateway: those that it has, and new ones; `None`: there are not enough.
    fn ports(&self, id: &GatewayId, gateway: &ApplicationGateway, quarantine: &Quarantine) -> Option<Vec<(u16, u16)>> {
        let has = self.table.local_ports();
        let mut taken: BTreeSet<u16> = self.table.services().iter().flat_map(|s| local_ports(s)).map(|p| p.1).collect();
        let local = |port| {
            if let Some(local) = has.get(&(id.clone(), port)) {
                return Some((port, *local));
            }
            let local = choose(&self.class, id, port, &taken, quarantine, Instant::now())?;
            taken.insert(local);
            Some((port, local))
        };
        listener_ports(&gateway.spec).into_iter().map(local).collect()
    }

    async fn remove_orphans(
        &self,
        api: &Api<Service>,
        memory: &mut Memory,
        ours: &BTreeMap<&Key, &Arc<ApplicationGateway>>,
    ) -> Result<(), kube::Error> {
        for service in self.table.services() {
            let Some(id) = gateway_of(&service) else { continue };
            let key = Key::new(id.namespace.clone(), id.name.clone());
            let watched = self.namespaces.0.is_empty() || self.namespaces.0.contains(&key.namespace);
            let is_the_one = ours.contains_key(&key) && service.name_any() == service_name(&self.class, &key);
            if is_the_one || !watched || !*self.leads.borrow() {
                continue;
            }
            let preconditions = Preconditions { uid: service.uid(), resource_version: None };
            let params = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
            match in_time(api.delete(&service.name_any(), &params)).await {
                Ok(_) => {
                    tracing::info!(gateway = %key, service = service.name_any(), "deleted the Service of a gateway that has gone");
                }
                // Gone already, or another one of the same name.
                Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => {}
                Err(error) => return Err(error),
            }
            memory.applied.remove(&key);
            self.table.gone(&service.name_any());
            memory.note(&self.table);
        }
        Ok(())
    }

    /// The object that the chart made to own the Services.
    async fn owner(&self) -> Result<Option<OwnerReference>, kube::Error> {
        let Some(name) = &self.own.owner else { return Ok(None) };
        let api: Api<ConfigMap> = Api::namespaced(self.client.clone(), &self.namespace);
        let found = in_time(api.get_opt(name)).await?;
        if found.is_none() {
            tracing::warn!(
                config_map = name,
                "not found: the Services of the gateways have no owner, and stay when the release is uninstalled"
            );
        }
        Ok(found.map(|owner| OwnerReference {
            api_version: "v1".to_owned(),
            kind: "ConfigMap".to_owned(),
            name: owner.name_any(),
            uid: owner.uid().unwrap_or_default(),
            ..OwnerReference::default()
        }))
    }
}

impl Memory {
    /// Notes which ports were freed since the last look.
    fn note(&mut self, table: &Table) {
        let now = Instant::now();
        let locals: BTreeMap<u16, GatewayId> =
            table.local_ports().into_iter().map(|((gateway, _), local)| (local, gateway)).collect();
        for (local, gateway) in std::mem::take(&mut self.locals) {
            if locals.get(&local) != Some(&gateway) {
                self.quarantine.free(local, gateway, now);
            }
        }
        self.quarantine.expire(now);
        self.locals = locals;
    }
}

async fn in_time<T>(request: impl Future<Output = Result<T, kube::Error>>) -> Result<T, kube::Error> {
    match timeout(REQUEST, request).await {
        Ok(answer) => answer,
        Err(_) => Err(kube::Error::Service(format!("no answer in {REQUEST:?}").into())),
    }
}
