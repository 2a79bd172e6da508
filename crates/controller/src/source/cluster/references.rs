//! Looks up what objects refer to: Secrets and ConfigMaps by name, and one ready Pod of a Service.
//!
//! Of Secrets and ConfigMaps only metadata is watched; contents are fetched when something refers to them, and again
//! when their version changes. A Pod is fetched again when it is no longer an endpoint of its Service: so it is after
//! a change of the Service, and in the course of every rollout.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use kube::api::Api;
use penstock_api::k8s::{ConfigMap, Pod, Secret};
use penstock_translate::{Key, Wants};
use serde::de::DeserializeOwned;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use super::{Sender, slim, version};
use crate::store::{Change, Id, Kind, Object, Scope, Slices};

/// Look-ups under way at once.
const AT_ONCE: usize = 16;

/// The end of a look-up.
struct Fetched {
    id: Id,
    /// The version that was there when it started, or the Pod that was asked for.
    asked: String,
    answer: Result<Option<Object>, kube::Error>,
}

/// The task, before it runs.
pub(super) struct References {
    client: kube::Client,
    /// Lists that must be in before "not there" is an answer.
    lists: BTreeSet<Scope>,
    wants: watch::Receiver<Wants>,
    events: mpsc::UnboundedReceiver<Vec<Change>>,
    changes: Sender,
    /// Versions of everything that is there.
    there: HashMap<Id, String>,
    slices: Slices,
    /// What the store was told of: the version, or the name of the Pod; `None`: that there is none.
    told: BTreeMap<Id, Option<String>>,
    /// What must be looked at.
    open: BTreeSet<Id>,
    under_way: BTreeSet<Id>,
    fetches: JoinSet<Fetched>,
    failures: u32,
}

impl References {
    pub(super) fn new(
        client: kube::Client,
        lists: BTreeSet<Scope>,
        wants: watch::Receiver<Wants>,
        events: mpsc::UnboundedReceiver<Vec<Change>>,
        changes: Sender,
    ) -> Self {
        Self {
            client,
            lists,
            wants,
            events,
            changes,
            there: HashMap::new(),
            slices: Slices::default(),
            told: BTreeMap::new(),
            open: BTreeSet::new(),
            under_way: BTreeSet::new(),
            fetches: JoinSet::new(),
            failures: 0,
        }
    }

    /// Runs until the store or the watches are gone.
    pub(super) async fn run(mut self) {
        loop {
            tokio::select! {
                changed = self.wants.changed() => match changed {
                    Ok(()) => self.want(),
                    Err(_) => return,
                },
                batch = self.events.recv() => match batch {
                    Some(batch) => batch.into_iter().for_each(|change| self.see(change)),
                    None => return,
                },
                Some(done) = self.fetches.join_next() => {
                    if let Ok(fetched) = done {
                        self.answer(fetched);
                    }
                }
            }
            self.look();
        }
    }

    fn want(&mut self) {
        let wanted = ids(&self.wants.borrow_and_update());
        for id in self.told.keys().filter(|id| !wanted.contains(id)).cloned().collect::<Vec<_>>() {
            self.told.remove(&id);
            drop(self.changes.send(vec![Change::Forget(id)]));
        }
        self.open.retain(|id| wanted.contains(id));
        self.open.extend(wanted.into_iter().filter(|id| !self.told.contains_key(id)));
    }

    fn is_wanted(&self, id: &Id) -> bool {
        let wants = self.wants.borrow();
        match id.kind {
            Kind::Secret => wants.secrets.contains(&id.key),
            Kind::ConfigMap => wants.config_maps.contains(&id.key),
            _ => wants.pods.contains(&id.key),
        }
    }

    fn see(&mut self, change: Change) {
        match change {
            Change::Replace { scope, objects, .. } if scope.kind != Kind::EndpointSlice => {
                let gone: Vec<Id> = self.there.keys().filter(|id| scope.holds(id)).cloned().collect();
                for id in gone {
                    self.there.remove(&id);
                    self.reopen(id);
                }
                objects.into_iter().for_each(|object| self.put(&object));
                self.lists.remove(&scope);
            }
            Change::Absent(scope) => {
                self.lists.remove(&scope);
            }
            Change::Put(object) if object.id().kind != Kind::EndpointSlice => self.put(&object),
            Change::Remove(id) if id.kind != Kind::EndpointSlice => {
                self.there.remove(&id);
                self.reopen(id);
            }
            slices => {
                if let Change::Replace { scope, .. } = &slices {
                    self.lists.remove(scope);
                }
                let touched: Vec<Key> = self.slices.apply(slices).collect();
                for key in touched {
                    self.reopen(Id { kind: Kind::Pod, key });
                }
            }
        }
    }

    fn put(&mut self, object: &Object) {
        let version = match object {
            Object::Secret(o) => version(&**o),
            Object::ConfigMap(o) => version(&**o),
            _ => return,
        };
        self.there.insert(object.id(), version);
        self.reopen(object.id());
    }

    fn reopen(&mut self, id: Id) {
        if self.is_wanted(&id) {
            self.open.insert(id);
        }
    }

    /// Looks at everything that is open.
    fn look(&mut self) {
        let ready = |id: &&Id| {
            let kind = if id.kind == Kind::Pod { Kind::EndpointSlice } else { id.kind };
            let list = Id { kind, key: id.key.clone() };
            !self.under_way.contains(*id) && !self.lists.iter().any(|scope| scope.holds(&list))
        };
        for id in self.open.iter().filter(ready).cloned().collect::<Vec<_>>() {
            if self.under_way.len() >= AT_ONCE {
                return;
            }
            self.open.remove(&id);
            if id.kind == Kind::Pod { self.look_for_pod(id) } else { self.look_for(id) }
        }
    }

    fn look_for(&mut self, id: Id) {
        let there = self.there.get(&id);
        if self.told.get(&id).is_some_and(|told| told.as_ref() == there) {
            return;
        }
        match (there.cloned(), id.kind) {
            (None, _) => self.tell(id, None, None),
            (Some(asked), Kind::Secret) => {
                let name = id.key.clone();
                self.fetch::<Secret>(id, asked, name, |o| Object::Secret(Arc::new(slim(o))));
            }
            (Some(asked), _) => {
                let name = id.key.clone();
                self.fetch::<ConfigMap>(id, asked, name, |o| Object::ConfigMap(Arc::new(slim(o))));
            }
        }
    }

    fn look_for_pod(&mut self, id: Id) {
        let pods = self.slices.ready_pods(&id.key);
        match (pods.first(), self.told.get(&id)) {
            (_, Some(Some(told))) if pods.contains(told) => {}
            (Some(pod), _) => {
                let service = id.key.clone();
                let name = Key::new(service.namespace.clone(), pod.as_str());
                let convert = move |pod| Object::Pod { service: service.clone(), pod: Arc::new(slim(pod)) };
                self.fetch::<Pod>(id, pod.clone(), name, convert);
            }
            // A Service without Pods for a while keeps its probe.
            (None, Some(_)) => {}
            (None, None) => self.tell(id, None, None),
        }
    }

    fn fetch<K>(&mut self, id: Id, asked: String, name: Key, convert: impl Fn(K) -> Object + Send + 'static)
    where
        K: kube::Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>,
        K: Clone + DeserializeOwned + std::fmt::Debug + Send + 'static,
    {
        let api: Api<K> = Api::namespaced(self.client.clone(), &name.namespace);
        let pause = if self.failures == 0 { Duration::ZERO } else { super::delay(self.failures) };
        self.under_way.insert(id.clone());
        self.fetches.spawn(async move {
            tokio::time::sleep(pause).await;
            let answer = api.get_opt(&name.name).await.map(|object| object.map(convert));
            Fetched { id, asked, answer }
        });
    }

    fn answer(&mut self, Fetched { id, asked, answer }: Fetched) {
        self.under_way.remove(&id);
        if !self.is_wanted(&id) {
            self.failures = 0;
            return;
        }
        let object = match answer {
            Ok(object) => object,
            Err(kube::Error::Api(status)) if status.code == 403 => {
                tracing::warn!(object = %id, "cannot be read: {}; see that the ServiceAccount may get it", status.message);
                None
            }
            Err(error) => {
                tracing::debug!(object = %id, %error, "looking it up again");
                self.failures += 1;
                self.open.insert(id);
                return;
            }
        };
        self.failures = 0;
        if object.is_none() && id.kind == Kind::Pod && self.told.contains_key(&id) {
            // Gone since it was listed; what the last one said holds until there is another.
            self.told.insert(id, Some(asked));
            return;
        }
        // Another version may have come meanwhile; the next look compares.
        self.open.insert(id.clone());
        self.tell(id, Some(asked), object);
    }

    fn tell(&mut self, id: Id, told: Option<String>, object: Option<Object>) {
        self.told.insert(id.clone(), told);
        drop(self.changes.send(vec![Change::Answer(id, object)]));
    }
}

fn ids(wants: &Wants) -> BTreeSet<Id> {
    let of = |kind, keys: &BTreeSet<Key>| keys.iter().map(|key| Id { kind, key: key.clone() }).collect::<Vec<_>>();
    let mut all = of(Kind::Secret, &wants.secrets);
    all.extend(of(Kind::ConfigMap, &wants.config_maps));
    all.extend(of(Kind::Pod, &wants.pods));
    all.into_iter().collect()
}
