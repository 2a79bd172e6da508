//! The objects at this moment, and what a change of them asks for. Owned by the store task.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use penstock_api::k8s::{EndpointSlice, ObjectMeta, Resource, ResourceExt};
use penstock_model::{Problem, Shared};
use penstock_translate::{Key, Snapshot, Wants};

use super::change::{Change, Id, Kind, Object, Scope, key};

/// The label that says whose endpoints a slice holds.
const SERVICE_NAME: &str = "kubernetes.io/service-name";

/// What changes ask for.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Effect {
    /// Translate, and publish.
    pub(crate) routes: bool,
    /// Services whose endpoints are different.
    pub(crate) endpoints: BTreeSet<Key>,
}

/// Everything that sources said.
#[derive(Default)]
pub(crate) struct Objects {
    /// As the translation sees it.
    pub(crate) snapshot: Snapshot,
    /// Objects that cannot be read.
    broken: BTreeMap<Id, Problem>,
    /// Problems of no object.
    problems: Vec<Problem>,
    /// The Service of each slice.
    slices: BTreeMap<Key, Key>,
    /// Lists that are in.
    lists: BTreeSet<Scope>,
    /// Those of them that cannot be read.
    unreadable: BTreeSet<Scope>,
    /// References that were looked up, also those that lead nowhere.
    pub(super) answered: BTreeSet<Id>,
}

impl Objects {
    /// Applies one change.
    pub(crate) fn apply(&mut self, change: Change, effect: &mut Effect) {
        match change {
            Change::Put(object) => {
                effect.routes |= self.broken.remove(&object.id()).is_some();
                self.put(object, effect);
            }
            Change::Broken(id, problem) => self.set_broken(id, problem, effect),
            Change::Remove(id) => {
                effect.routes |= self.broken.remove(&id).is_some();
                self.remove(&id, effect);
            }
            Change::Replace { scope, objects, broken } => self.replace(scope, objects, broken, effect),
            Change::Absent(scope) => self.absent(scope, effect),
            Change::Answer(id, object) => {
                effect.routes |= self.answered.insert(id.clone());
                match object {
                    Some(object) => self.put(object, effect),
                    None => self.remove(&id, effect),
                }
            }
            Change::Forget(id) => {
                self.answered.remove(&id);
                self.remove(&id, &mut Effect::default());
            }
            Change::Problems(problems) => {
                effect.routes |= self.problems != problems;
                self.problems = problems;
            }
            Change::LocalPorts(ports) => {
                effect.routes |= self.snapshot.local_ports.as_ref() != Some(&ports);
                self.snapshot.local_ports = Some(ports);
            }
        }
    }

    /// Whether a list is in.
    pub(crate) fn has_list(&self, scope: &Scope) -> bool {
        self.lists.contains(scope)
    }

    /// What the sources could not read.
    pub(crate) fn problems(&self) -> Vec<Problem> {
        self.problems.iter().chain(self.broken.values()).cloned().collect()
    }

    /// Whether every reference was looked up.
    pub(crate) fn answers(&self, wants: &Wants) -> bool {
        wanted(wants).all(|id| self.answered.contains(&id))
    }

    fn set_broken(&mut self, id: Id, problem: Problem, effect: &mut Effect) {
        effect.routes |= self.broken.get(&id) != Some(&problem);
        self.broken.insert(id, problem);
    }

    fn replace(&mut self, scope: Scope, objects: Vec<Object>, broken: Vec<(Id, Problem)>, effect: &mut Effect) {
        let mut there: BTreeSet<Id> = objects.iter().map(Object::id).collect();
        let problems = self.broken.len();
        self.broken.retain(|id, _| !scope.holds(id));
        effect.routes |= problems != self.broken.len() || !broken.is_empty();
        for (id, problem) in broken {
            there.insert(id.clone());
            self.broken.insert(id, problem);
        }
        for id in self.ids(scope.kind) {
            if scope.holds(&id) && !there.contains(&id) {
                self.remove(&id, effect);
            }
        }
        if scope.kind == Kind::Grant && self.snapshot.grants.is_none() {
            self.snapshot.grants = Some(Shared::default());
            effect.routes = true;
        }
        for object in objects {
            self.put(object, effect);
        }
        self.unreadable.remove(&scope);
        effect.routes |= self.lists.insert(scope);
    }

    /// A list that cannot be read. Of grants it must be known: where none can be read, the remedy is another one.
    fn absent(&mut self, scope: Scope, effect: &mut Effect) {
        if scope.kind == Kind::Grant {
            for id in self.ids(Kind::Grant).iter().filter(|id| scope.holds(id)) {
                self.remove(id, effect);
            }
            self.unreadable.insert(scope.clone());
            let mut lists = self.lists.iter().filter(|list| list.kind == Kind::Grant);
            if lists.all(|list| self.unreadable.contains(list)) {
                effect.routes |= self.snapshot.grants.take().is_some();
            }
        }
        effect.routes |= self.lists.insert(scope);
    }

    fn ids(&self, kind: Kind) -> Vec<Id> {
        let s = &self.snapshot;
        let keys: Vec<Key> = match kind {
            Kind::Gateway => s.gateways.keys().cloned().collect(),
            Kind::Rule => s.rules.keys().cloned().collect(),
            Kind::Service => s.services.keys().cloned().collect(),
            Kind::EndpointSlice => self.slices.keys().cloned().collect(),
            Kind::Secret => s.secrets.keys().cloned().collect(),
            Kind::ConfigMap => s.config_maps.keys().cloned().collect(),
            Kind::Pod => s.pods.keys().cloned().collect(),
            Kind::Namespace => s.namespaces.keys().map(|name| Key::new("", name.clone())).collect(),
            Kind::Grant => s.grants.iter().flat_map(|grants| grants.keys()).cloned().collect(),
        };
        keys.into_iter().map(|key| Id { kind, key }).collect()
    }

    fn put(&mut self, object: Object, effect: &mut Effect) {
        let s = &mut self.snapshot;
        effect.routes |= match object {
            Object::Gateway(o) => {
                put(&mut s.gateways, key(&*o), o, |a, b| same_meta(a.meta(), b.meta()) && a.spec == b.spec)
            }
            Object::Rule(o) => put(&mut s.rules, key(&*o), o, |a, b| same_meta(a.meta(), b.meta()) && a.spec == b.spec),
            Object::Service(o) => {
                put(&mut s.services, key(&*o), o, |a, b| same_meta(a.meta(), b.meta()) && a.spec == b.spec)
            }
            Object::EndpointSlice(o) => {
                self.put_slice(o, effect);
                false
            }
            Object::Secret(o) => {
                put(&mut s.secrets, key(&*o), o, |a, b| same_meta(a.meta(), b.meta()) && a.data == b.data)
            }
            Object::ConfigMap(o) => put(&mut s.config_maps, key(&*o), o, |a, b| {
                same_meta(a.meta(), b.meta()) && a.data == b.data && a.binary_data == b.binary_data
            }),
            Object::Pod { service, pod } => put(&mut s.pods, service, pod, |a, b| a.spec == b.spec),
            Object::Namespace(o) => {
                put(&mut s.namespaces, o.name_any().into(), o, |a, b| same_meta(a.meta(), b.meta()))
            }
            Object::Grant(o) => put(s.grants.get_or_insert_default(), key(&*o), o, |a, b| a.spec == b.spec),
        };
    }

    fn remove(&mut self, id: &Id, effect: &mut Effect) {
        let s = &mut self.snapshot;
        effect.routes |= match id.kind {
            Kind::Gateway => s.gateways.remove(&id.key).is_some(),
            Kind::Rule => s.rules.remove(&id.key).is_some(),
            Kind::Service => s.services.remove(&id.key).is_some(),
            Kind::EndpointSlice => {
                self.remove_slice(&id.key, effect);
                false
            }
            Kind::Secret => s.secrets.remove(&id.key).is_some(),
            Kind::ConfigMap => s.config_maps.remove(&id.key).is_some(),
            Kind::Pod => s.pods.remove(&id.key).is_some(),
            Kind::Namespace => s.namespaces.remove(&id.key.name).is_some(),
            Kind::Grant => s.grants.as_mut().is_some_and(|grants| grants.remove(&id.key).is_some()),
        };
    }

    fn put_slice(&mut self, slice: Arc<EndpointSlice>, effect: &mut Effect) {
        let key = key(&*slice);
        let Some(service) = slice.labels().get(SERVICE_NAME).map(|name| Key::new(key.namespace.clone(), name.as_str()))
        else {
            return self.remove_slice(&key, effect);
        };
        if self.slices.get(&key).is_some_and(|old| *old != service) {
            self.remove_slice(&key, effect);
        }
        let slices = self.snapshot.endpoint_slices.entry(service.clone()).or_default();
        match slices.binary_search_by(|other| other.name_any().as_str().cmp(&key.name)) {
            Ok(at) if same_endpoints(&slices[at], &slice) => return,
            Ok(at) => slices[at] = slice,
            Err(at) => slices.insert(at, slice),
        }
        self.slices.insert(key, service.clone());
        effect.endpoints.insert(service);
    }

    fn remove_slice(&mut self, key: &Key, effect: &mut Effect) {
        let Some(service) = self.slices.remove(key) else { return };
        if let Some(slices) = self.snapshot.endpoint_slices.get_mut(&service) {
            slices.retain(|slice| slice.name_any() != *key.name);
            if slices.is_empty() {
                self.snapshot.endpoint_slices.remove(&service);
            }
        }
        effect.endpoints.insert(service);
    }
}

/// These objects, and nothing else, as a translation sees them.
pub fn snapshot(objects: impl IntoIterator<Item = Object>) -> Snapshot {
    let mut all = Objects::default();
    all.snapshot.grants = Some(Shared::default());
    for object in objects {
        all.put(object, &mut Effect::default());
    }
    all.snapshot
}

/// The objects of a snapshot with these put in the place of what they replace, as a translation would see them.
pub(crate) fn with(snapshot: Snapshot, objects: impl IntoIterator<Item = Object>) -> Snapshot {
    let mut all = Objects { snapshot, ..Objects::default() };
    let slices = all.snapshot.endpoint_slices.iter();
    let slices = slices.flat_map(|(service, slices)| slices.iter().map(move |slice| (key(&**slice), service.clone())));
    all.slices = slices.collect();
    for object in objects {
        all.put(object, &mut Effect::default());
    }
    all.snapshot
}

/// Puts an object where it differs; the old one keeps its identity where it does not.
fn put<K: Ord + Clone, T>(
    map: &mut Shared<BTreeMap<K, Arc<T>>>,
    key: K,
    object: Arc<T>,
    same: impl Fn(&T, &T) -> bool,
) -> bool {
    match map.get(&key) {
        Some(old) if Arc::ptr_eq(old, &object) || same(old, &object) => false,
        _ => {
            map.insert(key, object);
            true
        }
    }
}

/// Whether nothing that a translation asks for is different: not so for resourceVersion and the like.
fn same_meta(a: &ObjectMeta, b: &ObjectMeta) -> bool {
    (&a.uid, a.generation, &a.labels, &a.annotations, &a.creation_timestamp, &a.deletion_timestamp)
        == (&b.uid, b.generation, &b.labels, &b.annotations, &b.creation_timestamp, &b.deletion_timestamp)
}

fn same_endpoints(a: &EndpointSlice, b: &EndpointSlice) -> bool {
    a.address_type == b.address_type && a.endpoints == b.endpoints && a.ports == b.ports
}

fn wanted(wants: &Wants) -> impl Iterator<Item = Id> {
    let of = |kind| move |key: &Key| Id { kind, key: key.clone() };
    wants
        .config_maps
        .iter()
        .map(of(Kind::ConfigMap))
        .chain(wants.secrets.iter().map(of(Kind::Secret)))
        .chain(wants.pods.iter().map(of(Kind::Pod)))
}
