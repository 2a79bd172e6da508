//! Publishing: a configuration only when it differs, endpoints past it, and the state for people.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use penstock_model::shared::same;
use penstock_model::{Cluster, Config, EndpointSet, EndpointSource, EndpointUpdate, Problem};
use penstock_translate::{Key, Outcome, Snapshot};
use tokio::sync::{mpsc, watch};

use crate::frontend::Endpoints;
use crate::outputs::{CurrentObjects, Outputs, State};

/// The writing ends of [`Outputs`], and what was written last.
pub(crate) struct Publisher {
    config: watch::Sender<Option<Arc<Config>>>,
    endpoints: mpsc::UnboundedSender<EndpointUpdate>,
    state: Arc<watch::Sender<Arc<State>>>,
    /// What the data plane knows of each source that a configuration names, or has named and that still has endpoints:
    /// connections may be open there, and end with the departure of their endpoint.
    known: HashMap<EndpointSource, Known>,
    /// The sources of each Service.
    sources: BTreeMap<Key, Vec<EndpointSource>>,
    /// Services whose endpoints changed, and when, in order of [`Publisher::moment`]; as long as a translation may be under
    /// way that has not seen it.
    moved: BTreeMap<Key, u64>,
    moment: u64,
    rules: Box<dyn Endpoints>,
}

/// A source.
struct Known {
    endpoints: Arc<EndpointSet>,
    /// How many clusters of the configuration have it.
    clusters: usize,
}

impl Publisher {
    pub(crate) fn new(rules: Box<dyn Endpoints>) -> (Self, Outputs) {
        let (config, config_out) = watch::channel(None);
        let (endpoints, endpoints_out) = mpsc::unbounded_channel();
        let (state, state_out) = watch::channel(Arc::new(State::default()));
        let publisher = Self {
            config,
            endpoints,
            state: Arc::new(state),
            known: HashMap::new(),
            sources: BTreeMap::new(),
            moved: BTreeMap::new(),
            moment: 0,
            rules,
        };
        (
            publisher,
            Outputs {
                config: config_out,
                endpoints: endpoints_out,
                tickets: watch::channel(None).1,
                objects: CurrentObjects(mpsc::unbounded_channel().0),
                state: state_out,
            },
        )
    }

    /// For the one other writer of the state: the leader election, which says whether this process leads.
    pub(crate) fn state(&self) -> Arc<watch::Sender<Arc<State>>> {
        self.state.clone()
    }

    /// Now, as changes of endpoints count time. A snapshot has all changes up to its moment.
    pub(crate) fn moment(&self) -> u64 {
        self.moment
    }

    /// Sends what is new about the endpoints of these Services.
    pub(crate) fn endpoints<'k>(&mut self, services: impl IntoIterator<Item = &'k Key>, snapshot: &Snapshot) {
        self.moment += 1;
        for key in services {
            self.moved.insert(key.clone(), self.moment);
            let Some(sources) = self.sources.get_mut(key) else { continue };
            sources.retain(|source| {
                let Some(known) = self.known.get_mut(source) else { return false };
                let endpoints = Arc::new(self.rules.of(source, snapshot));
                if known.endpoints != endpoints {
                    known.endpoints = Arc::clone(&endpoints);
                    // Nobody listens any more: the process ends.
                    let _ = self.endpoints.send(EndpointUpdate { source: source.clone(), endpoints });
                }
                let over = known.is_over();
                if over {
                    self.known.remove(source);
                }
                !over
            });
            if sources.is_empty() {
                self.sources.remove(key);
            }
        }
    }

    /// Publishes a translation of what was there at `moment`. `snapshot` is the newest one.
    pub(crate) fn publish(&mut self, outcome: Outcome, moment: u64, snapshot: &Snapshot, unread: Vec<Problem>) {
        let config = self.with_newest_endpoints(&outcome.config, moment, snapshot);
        self.moved.retain(|_, moved| *moved > moment);
        let before = self.config.borrow().clone();
        let changed = !before.as_ref().is_some_and(|old| same_but_endpoints(old, &config));
        self.follow(&before.unwrap_or_default(), &config);
        if changed {
            self.config.send_replace(Some(config));
        } else {
            // Readers are not woken, but one that has yet to look gets the newest endpoints.
            self.config.send_if_modified(|old| {
                *old = Some(config);
                false
            });
        }
        self.state.send_if_modified(|old| {
            let new = State {
                outcome: Arc::new(outcome),
                unread,
                generation: old.generation + u64::from(changed),
                synced: true,
                leader: old.leader,
            };
            let differs = **old != new;
            if differs {
                *old = Arc::new(new);
            }
            differs
        });
    }

    /// Endpoints may have changed while the translation ran; a new cluster must not be born with old ones.
    fn with_newest_endpoints(&self, config: &Arc<Config>, moment: u64, snapshot: &Snapshot) -> Arc<Config> {
        let since = || self.moved.iter().filter(|(_, moved)| **moved > moment);
        let mut newer = Vec::new();
        if since().next().is_some() {
            let services: HashSet<(&str, &str)> = since().map(|(key, _)| (&*key.namespace, &*key.name)).collect();
            for (id, cluster) in &config.clusters {
                let of_service = service(&cluster.source).is_some_and(|names| services.contains(&names));
                let endpoints = of_service.then(|| self.rules.of(&cluster.source, snapshot));
                if let Some(endpoints) = endpoints.filter(|endpoints| *endpoints != *cluster.endpoints) {
                    newer.push((id.clone(), Cluster { endpoints: Arc::new(endpoints), ..(**cluster).clone() }));
                }
            }
        }
        if newer.is_empty() {
            return config.clone();
        }
        let mut config = (**config).clone();
        config.clusters.extend(newer.into_iter().map(|(id, cluster)| (id, Arc::new(cluster))));
        Arc::new(config)
    }

    /// From now on the sources of this configuration are followed, too.
    fn follow(&mut self, before: &Config, now: &Config) {
        let changes = now.cluster_changes(before);
        for cluster in changes.iter().filter_map(|change| change.now) {
            let Some((namespace, name)) = service(&cluster.source) else { continue };
            if let Some(known) = self.known.get_mut(&cluster.source) {
                known.clusters += 1;
                known.endpoints = Arc::clone(&cluster.endpoints);
                continue;
            }
            self.known.insert(cluster.source.clone(), Known { endpoints: Arc::clone(&cluster.endpoints), clusters: 1 });
            self.sources.entry(Key::new(namespace, name)).or_default().push(cluster.source.clone());
        }
        for cluster in changes.iter().filter_map(|change| change.before) {
            let Some((namespace, name)) = service(&cluster.source) else { continue };
            let Some(known) = self.known.get_mut(&cluster.source) else { continue };
            known.clusters -= 1;
            if known.is_over() {
                self.known.remove(&cluster.source);
                let key = Key::new(namespace, name);
                if let Some(sources) = self.sources.get_mut(&key) {
                    sources.retain(|source| *source != cluster.source);
                    if sources.is_empty() {
                        self.sources.remove(&key);
                    }
                }
            }
        }
    }
}

impl Known {
    /// Whether nothing can come of it any more.
    fn is_over(&self) -> bool {
        self.clusters == 0 && self.endpoints.as_slice().is_empty()
    }
}

/// Namespace and name of the Service that endpoints come from.
fn service(source: &EndpointSource) -> Option<(&str, &str)> {
    match source {
        EndpointSource::Service { namespace, name, .. } => Some((namespace, name)),
        _ => None,
    }
}

/// Whether two configurations differ in nothing but what goes the fast way.
fn same_but_endpoints(a: &Config, b: &Config) -> bool {
    a.listeners.len() == b.listeners.len()
        && a.listeners.iter().zip(&b.listeners).all(|(a, b)| same(a, b))
        && b.cluster_changes(a).iter().all(|change| match (change.before, change.now) {
            (Some(a), Some(b)) => same_cluster(a, b),
            _ => false,
        })
}

fn same_cluster(a: &Cluster, b: &Cluster) -> bool {
    if !matches!((&a.source, &b.source), (EndpointSource::Service { .. }, EndpointSource::Service { .. })) {
        return a == b;
    }
    *a == Cluster { endpoints: a.endpoints.clone(), ..b.clone() }
}
