//! Publishing: a configuration only when it differs, endpoints past it, and the state for people.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use penstock_model::{Cluster, Config, EndpointSet, EndpointSource, EndpointUpdate, Problem};
use penstock_translate::{Key, Outcome, Snapshot};
use tokio::sync::{mpsc, watch};

use crate::frontend::Endpoints;
use crate::outputs::{Outputs, State};

/// The writing ends of [`Outputs`], and what was written last.
pub(crate) struct Publisher {
    config: watch::Sender<Option<Arc<Config>>>,
    endpoints: mpsc::UnboundedSender<EndpointUpdate>,
    state: Arc<watch::Sender<Arc<State>>>,
    /// What the data plane knows of each source of the configuration.
    known: HashMap<EndpointSource, Arc<EndpointSet>>,
    /// The sources of each Service.
    sources: BTreeMap<Key, Vec<EndpointSource>>,
    rules: Box<dyn Endpoints>,
}

impl Publisher {
    pub(crate) fn new(rules: Box<dyn Endpoints>) -> (Self, Outputs) {
        let (config, config_out) = watch::channel(None);
        let (endpoints, endpoints_out) = mpsc::unbounded_channel();
        let (state, state_out) = watch::channel(Arc::new(State::default()));
        let publisher =
            Self { config, endpoints, state: Arc::new(state), known: HashMap::new(), sources: BTreeMap::new(), rules };
        (publisher, Outputs { config: config_out, endpoints: endpoints_out, state: state_out })
    }

    /// For the one other writer of the state: the leader election, which says whether this process leads.
    pub(crate) fn state(&self) -> Arc<watch::Sender<Arc<State>>> {
        self.state.clone()
    }

    /// Sends what is new about the endpoints of these Services.
    pub(crate) fn endpoints<'k>(&mut self, services: impl IntoIterator<Item = &'k Key>, snapshot: &Snapshot) {
        for source in services.into_iter().filter_map(|key| self.sources.get(key)).flatten() {
            let endpoints = Arc::new(self.rules.of(source, snapshot));
            if self.known.get(source) != Some(&endpoints) {
                self.known.insert(source.clone(), endpoints.clone());
                // Nobody listens any more: the process ends.
                let _ = self.endpoints.send(EndpointUpdate { source: source.clone(), endpoints });
            }
        }
    }

    /// Publishes a translation. `snapshot` is the newest one, which may be newer than what was translated.
    pub(crate) fn publish(&mut self, outcome: Outcome, snapshot: &Snapshot, unread: Vec<Problem>) {
        let config = self.with_newest_endpoints(&outcome.config, snapshot);
        let changed = !self.config.borrow().as_ref().is_some_and(|old| same_but_endpoints(old, &config));
        if changed {
            self.sources = sources(&config);
            self.known = known(&config);
            self.config.send_replace(Some(config));
        } else {
            // Readers are not woken, but one that has yet to look gets the newest endpoints.
            self.config.send_if_modified(|old| {
                *old = Some(config);
                false
            });
            let services: Vec<Key> = self.sources.keys().cloned().collect();
            self.endpoints(&services, snapshot);
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
    fn with_newest_endpoints(&self, config: &Arc<Config>, snapshot: &Snapshot) -> Arc<Config> {
        let mut newer = Vec::new();
        for (id, cluster) in &config.clusters {
            if matches!(cluster.source, EndpointSource::Service { .. }) {
                let endpoints = self.rules.of(&cluster.source, snapshot);
                if endpoints != *cluster.endpoints {
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
}

/// Whether two configurations differ in nothing but what goes the fast way.
fn same_but_endpoints(a: &Config, b: &Config) -> bool {
    a.listeners == b.listeners
        && a.clusters.len() == b.clusters.len()
        && a.clusters.values().zip(b.clusters.values()).all(|(a, b)| Arc::ptr_eq(a, b) || same_cluster(a, b))
}

fn same_cluster(a: &Cluster, b: &Cluster) -> bool {
    if !matches!((&a.source, &b.source), (EndpointSource::Service { .. }, EndpointSource::Service { .. })) {
        return a == b;
    }
    *a == Cluster { endpoints: a.endpoints.clone(), ..b.clone() }
}

fn sources(config: &Config) -> BTreeMap<Key, Vec<EndpointSource>> {
    let mut sources: BTreeMap<Key, Vec<EndpointSource>> = BTreeMap::new();
    for source in config.clusters.values().map(|cluster| &cluster.source) {
        if let EndpointSource::Service { namespace, name, .. } = source {
            let of_service = sources.entry(Key::new(namespace.clone(), name.clone())).or_default();
            if !of_service.contains(source) {
                of_service.push(source.clone());
            }
        }
    }
    sources
}

fn known(config: &Config) -> HashMap<EndpointSource, Arc<EndpointSet>> {
    let services = config.clusters.values().filter(|c| matches!(c.source, EndpointSource::Service { .. }));
    services.map(|cluster| (cluster.source.clone(), cluster.endpoints.clone())).collect()
}
