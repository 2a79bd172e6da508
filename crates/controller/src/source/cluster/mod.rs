//! An API server as a source: one watch for each kind and namespace, and a look-up for each reference.
//!
//! An object that does not have the shape of its kind is a problem of that object and never stops a watch. While the
//! API server is away everything that was read stays in force.

mod follow;
mod grants;
mod live;
mod namespaces;
mod references;

use std::sync::Arc;

use kube::api::{Api, PartialObjectMeta};
use kube::core::{DeserializeGuard, NamespaceResourceScope, Resource};
use kube::runtime::watcher::{self, watcher};
use penstock_api::k8s::{ConfigMap, EndpointSlice, Namespace, Secret, Service};
use penstock_api::{ApplicationGateway, RoutingRule};
use penstock_translate::Wants;
use serde::de::DeserializeOwned;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use crate::store::{Change, Id, Kind, Object, Scope};
pub(crate) use follow::{Absence, Followed, delay, follow, slim};
pub(crate) use follow::{Missing, read};
pub(crate) use live::{Live, LiveStatuses};
use references::References;

/// Where the batches of a source go.
pub(crate) type Sender = mpsc::UnboundedSender<Vec<Change>>;

/// The namespaces that are watched; none: all of them.
#[derive(Clone, Debug)]
pub(crate) struct Namespaces(pub(crate) Vec<Arc<str>>);

/// Kinds whose lists must be in before anything is published.
const LISTS: [Kind; 6] = [Kind::Gateway, Kind::Rule, Kind::Service, Kind::EndpointSlice, Kind::Namespace, Kind::Grant];

impl Namespaces {
    /// The lists that a kind comes in.
    pub(crate) fn scopes(&self, kind: Kind) -> Vec<Scope> {
        // Namespaces are objects of the cluster, and come as one list however they are read.
        if self.0.is_empty() || kind == Kind::Namespace {
            return vec![Scope { kind, namespace: None }];
        }
        self.0.iter().map(|namespace| Scope { kind, namespace: Some(namespace.clone()) }).collect()
    }

    /// All lists.
    pub(crate) fn lists(&self) -> Vec<Scope> {
        LISTS.into_iter().flat_map(|kind| self.scopes(kind)).collect()
    }
}

/// Starts every watch.
pub(crate) fn start(
    tasks: &mut JoinSet<()>,
    client: &kube::Client,
    namespaces: &Namespaces,
    changes: &Sender,
    wants: watch::Receiver<Wants>,
    live: &LiveStatuses,
) {
    let (to_references, references) = mpsc::unbounded_channel();
    for scope in namespaces.scopes(Kind::Gateway) {
        let live = live.clone();
        let convert = move |mut o: ApplicationGateway| {
            let status = o.status.take().and_then(|status| serde_json::to_string(&status).ok());
            live.watched(Kind::Gateway, &o.metadata, status.map(Into::into));
            Object::Gateway(Arc::new(slim(o)))
        };
        tasks.spawn(watch_kind(api_of(client, &scope), scope, vec![changes.clone()], convert));
    }
    for scope in namespaces.scopes(Kind::Rule) {
        let live = live.clone();
        let convert = move |mut o: RoutingRule| {
            let status = o.status.take().and_then(|status| serde_json::to_string(&status).ok());
            live.watched(Kind::Rule, &o.metadata, status.map(Into::into));
            Object::Rule(Arc::new(slim(o)))
        };
        tasks.spawn(watch_kind(api_of(client, &scope), scope, vec![changes.clone()], convert));
    }
    for scope in namespaces.scopes(Kind::Service) {
        let convert = |o: Service| Object::Service(Arc::new(slim(o)));
        tasks.spawn(watch_kind(api_of(client, &scope), scope, vec![changes.clone()], convert));
    }
    for scope in namespaces.scopes(Kind::EndpointSlice) {
        let convert = |o: EndpointSlice| Object::EndpointSlice(Arc::new(slim(o)));
        // The store first: endpoints are what is in a hurry.
        let to = vec![changes.clone(), to_references.clone()];
        tasks.spawn(watch_kind(api_of(client, &scope), scope, to, convert));
    }
    for scope in namespaces.scopes(Kind::Secret) {
        let api: Api<PartialObjectMeta<Secret>> = in_scope(client, &scope);
        let config = watcher::Config::default().fields("type=kubernetes.io/tls");
        tasks.spawn(watch_metadata(api, config, scope, to_references.clone()));
    }
    for scope in namespaces.scopes(Kind::ConfigMap) {
        let api: Api<PartialObjectMeta<ConfigMap>> = in_scope(client, &scope);
        tasks.spawn(watch_metadata(api, watcher::Config::default(), scope, to_references.clone()));
    }
    if namespaces.0.is_empty() {
        tasks.spawn(watch_namespaces(client.clone(), changes.clone()));
    } else {
        tasks.spawn(namespaces::read(client.clone(), namespaces.clone(), changes.clone()));
    }
    for scope in namespaces.scopes(Kind::Grant) {
        tasks.spawn(grants::watch(client.clone(), scope, changes.clone()));
    }
    let lists =
        [Kind::Secret, Kind::ConfigMap, Kind::EndpointSlice].into_iter().flat_map(|kind| namespaces.scopes(kind));
    let references = References::new(client.clone(), lists.collect(), wants, references, changes.clone());
    tasks.spawn(references.run());
}

/// The objects of a list, where each may be broken by itself.
fn api_of<K>(client: &kube::Client, scope: &Scope) -> Api<DeserializeGuard<K>>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
{
    in_scope(client, scope)
}

fn in_scope<K>(client: &kube::Client, scope: &Scope) -> Api<K>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
{
    match &scope.namespace {
        Some(namespace) => Api::namespaced(client.clone(), namespace),
        None => Api::all(client.clone()),
    }
}

async fn watch_kind<K>(
    api: Api<DeserializeGuard<K>>,
    scope: Scope,
    to: Vec<Sender>,
    convert: impl Fn(K) -> Object + Send + Sync + 'static,
) where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + std::fmt::Debug + Send + Sync + 'static,
{
    let kind = scope.kind;
    let convert = move |guard: DeserializeGuard<K>| read(kind, guard, &convert);
    follow(api, watcher::Config::default(), scope, Missing::Wait, convert, to, &mut Absence::default()).await;
}

/// Watches what changes and when, not the contents.
async fn watch_metadata<K>(api: Api<PartialObjectMeta<K>>, config: watcher::Config, scope: Scope, to: Sender)
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + std::fmt::Debug + Send + Sync + 'static,
{
    let kind = scope.kind;
    let stream = watcher(api, config);
    let convert = move |o: PartialObjectMeta<K>| {
        let metadata = penstock_api::k8s::ObjectMeta {
            namespace: o.metadata.namespace,
            name: o.metadata.name,
            resource_version: o.metadata.resource_version,
            ..Default::default()
        };
        Ok(match kind {
            Kind::Secret => Object::Secret(Arc::new(Secret { metadata, ..Secret::default() })),
            _ => Object::ConfigMap(Arc::new(ConfigMap { metadata, ..ConfigMap::default() })),
        })
    };
    follow::follow_stream(stream, scope, Missing::Empty, convert, vec![to], &mut Absence::default()).await;
}

async fn watch_namespaces(client: kube::Client, changes: Sender) {
    let scope = Scope { kind: Kind::Namespace, namespace: None };
    let stream = watcher(Api::<PartialObjectMeta<Namespace>>::all(client), watcher::Config::default());
    let convert = |o: PartialObjectMeta<Namespace>| {
        Ok(Object::Namespace(Arc::new(slim(Namespace { metadata: o.metadata, ..Namespace::default() }))))
    };
    follow::follow_stream(stream, scope, Missing::Empty, convert, vec![changes], &mut Absence::default()).await;
}

/// The identity of an object of a kind.
fn id_of(kind: Kind, metadata: &penstock_api::k8s::ObjectMeta) -> Id {
    Id::new(kind, metadata.namespace.clone().unwrap_or_default(), metadata.name.clone().unwrap_or_default())
}

/// Whether an object is there in a version.
fn version(object: &impl penstock_api::k8s::ResourceExt) -> String {
    object.resource_version().unwrap_or_default()
}
