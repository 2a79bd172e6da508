//! A cluster that lives: the current configuration of it and its endpoints, one swapped pointer each.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Instant;

use arc_swap::{ArcSwap, ArcSwapOption};
use penstock_model::{Balancing, Cluster, ClusterId, Draining, EndpointSet, EndpointSource, Name, Protocol};

use super::choice::{Asked, ByClient, COMPARED, least_loaded};
use super::endpoint::{Health, LiveEndpoint};
use super::gate::Gate;
use super::sessions::{Sessions, Token};
use super::shares::Shares;
use super::slow_start::SlowStart;
use crate::upstream::Connector;

/// A cluster. Only the plane task changes it; workers read.
#[derive(Debug)]
pub struct LiveCluster {
    config: ArcSwap<Cluster>,
    members: ArcSwap<Members>,
    turn: AtomicU64,
    /// Of the configuration: how many failures in a row take an endpoint out.
    failures: AtomicU32,
    http2: AtomicBool,
    tls: ArcSwapOption<Connector>,
    /// How much of it is in use.
    pub(crate) gate: Arc<Gate>,
}

/// The endpoints of a cluster at one moment.
#[derive(Debug)]
pub(crate) struct Members {
    /// All that are configured.
    pub(crate) all: Vec<Arc<LiveEndpoint>>,
    /// Those that take traffic.
    available: Vec<Arc<LiveEndpoint>>,
    shares: Shares,
    /// The least loaded one is chosen.
    least_loaded: bool,
    /// Those that grow into their share, where that is asked for.
    slow_start: Option<SlowStart>,
    /// Clients' places, where their addresses decide.
    by_client: Option<Arc<ByClient>>,
    /// Endpoints by the tokens of cookies, where those decide.
    sessions: Option<Sessions>,
}

/// What a change of endpoints means for connections.
#[derive(Debug, Default)]
pub(crate) struct Moved {
    /// Gone from the set; they keep what they have for their drain.
    pub(crate) departed: Vec<Arc<LiveEndpoint>>,
    /// New in the set.
    pub(crate) joined: Vec<Arc<LiveEndpoint>>,
}

impl Members {
    fn new(all: Vec<Arc<LiveEndpoint>>, config: &Cluster, before: Option<&Self>) -> Self {
        let always_healthy = min_servers(config);
        // A weight of 0 takes no traffic, whatever becomes of the others.
        let weighted = || all.iter().filter(|endpoint| endpoint.endpoint.weight > 0);
        let mut available: Vec<_> = weighted().filter(|endpoint| endpoint.is_available()).cloned().collect();
        if available.is_empty() {
            // One whose requests failed is better than none.
            available.extend(weighted().filter(|endpoint| endpoint.health() != Health::Down).cloned());
        }
        if available.len() < always_healthy.min(all.len()) {
            // `minServers`: so many take traffic whatever the probes say.
            let missing = always_healthy.min(all.len()) - available.len();
            let others = weighted().filter(|endpoint| !available.iter().any(|one| Arc::ptr_eq(one, endpoint)));
            let others: Vec<_> = others.take(missing).cloned().collect();
            available.extend(others);
        }
        let shares = Shares::new(available.iter().map(|endpoint| endpoint.endpoint.weight));
        let same = |before: &&Self| before.all.iter().map(|e| e.number).eq(all.iter().map(|e| e.number));
        let by_client = (config.balancing == Balancing::IpHash).then(|| {
            let made = before.filter(same).and_then(|before| before.by_client.clone());
            made.unwrap_or_else(|| Arc::new(ByClient::new(&all)))
        });
        let sessions = config.affinity.as_deref().map(|key| {
            let Draining { timeout, spread } = config.draining;
            // What comes later could not be closed with the rest.
            let keep = timeout.saturating_sub(spread);
            Sessions::new(key, &all, before.and_then(|before| before.sessions.as_ref()), keep)
        });
        let least_loaded = config.balancing == Balancing::LeastConnections;
        let slow_start = config.slow_start.and_then(|window| SlowStart::new(window, &available, Instant::now()));
        Self { all, available, shares, least_loaded, slow_start, by_client, sessions }
    }
}

impl LiveCluster {
    /// A cluster with the endpoints of its configuration.
    pub(crate) fn new(config: Arc<Cluster>) -> Self {
        let source = source(&config);
        let new = |endpoint: &penstock_model::Endpoint| Arc::new(LiveEndpoint::new(endpoint.clone(), &source));
        let all = config.endpoints.as_slice().iter().map(new);
        let members = Members::new(all.collect(), &config, None);
        let failures = AtomicU32::new(config.outlier.consecutive_failures);
        let http2 = AtomicBool::new(config.protocol == Protocol::Http2);
        let tls = config.tls.as_ref().map(|tls| Arc::new(Connector::new(tls)));
        let gate = Gate::new(config.limits);
        Self {
            members: ArcSwap::from_pointee(members),
            config: ArcSwap::new(config),
            turn: AtomicU64::new(0),
            failures,
            http2,
            tls: ArcSwapOption::new(tls),
            gate,
        }
    }

    /// Its identity.
    pub fn id(&self) -> ClusterId {
        self.config.load().id.clone()
    }

    /// Its configuration.
    pub fn config(&self) -> Arc<Cluster> {
        self.config.load_full()
    }

    /// Whether its endpoints are spoken to in HTTP/2.
    pub(crate) fn speaks_http2(&self) -> bool {
        self.http2.load(Ordering::Relaxed)
    }

    /// TLS to its endpoints; `None`: they are spoken to without.
    pub(crate) fn connector(&self) -> Option<Arc<Connector>> {
        self.tls.load_full()
    }

    /// Its endpoints.
    pub fn endpoints(&self) -> Vec<Arc<LiveEndpoint>> {
        self.members.load().all.clone()
    }

    /// The endpoint of an address: the list is in their order.
    pub(crate) fn endpoint(&self, address: SocketAddr) -> Option<Arc<LiveEndpoint>> {
        let members = self.members.load();
        let place = members.all.binary_search_by(|endpoint| endpoint.endpoint.address.cmp(&address)).ok()?;
        members.all.get(place).cloned()
    }

    /// Its endpoints, each with whether it takes traffic.
    pub(crate) fn members(&self) -> Vec<(Arc<LiveEndpoint>, bool)> {
        let members = self.members.load();
        let taking: HashSet<u64> = members.available.iter().map(|endpoint| endpoint.number).collect();
        members.all.iter().map(|endpoint| (Arc::clone(endpoint), taking.contains(&endpoint.number))).collect()
    }

    /// Whether requests or WebSockets are under way at its endpoints.
    pub(crate) fn is_busy(&self) -> bool {
        self.members.load().all.iter().any(|endpoint| endpoint.active() != (0, 0))
    }

    /// The endpoint for a request, where possible none of those that were tried already.
    pub(crate) fn pick(&self, asked: &Asked<'_>) -> Option<Arc<LiveEndpoint>> {
        let members = self.members.load();
        let fresh = |endpoint: &&Arc<LiveEndpoint>| !asked.tried.contains(&endpoint.number);
        if let (Some(places), Some(client)) = (&members.by_client, asked.client) {
            let candidates = places.candidates(client).filter_map(|at| members.all.get(at));
            let mut usable = candidates.filter(|endpoint| endpoint.is_available() && endpoint.endpoint.weight > 0);
            if let Some(endpoint) = usable.find(fresh) {
                return Some(Arc::clone(endpoint));
            }
        }
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let mut first = members.shares.turn(turn)?;
        let ramp = members.slow_start.as_ref().and_then(|slow| slow.ramp(turn, Instant::now()));
        if let Some(ramp) = ramp.filter(|_| !members.least_loaded) {
            first = ramp.choose(first, &members.available, &members.shares);
        }
        let others = || members.available[first..].iter().chain(&members.available[..first]);
        if members.least_loaded {
            let some = others().filter(fresh).take(COMPARED);
            let willing = |endpoint: &&Arc<LiveEndpoint>| ramp.is_none_or(|ramp| ramp.accepts(endpoint, 0));
            if let Some(endpoint) = least_loaded(some.filter(willing)) {
                return Some(Arc::clone(endpoint));
            }
        }
        let some = asked.tried.len() + 1;
        others().take(some).find(fresh).or_else(|| others().find(fresh)).or_else(|| others().next()).cloned()
    }

    /// The endpoint that a cookie's token stands for, as long as it may get requests.
    pub(crate) fn session(&self, token: Token) -> Option<Arc<LiveEndpoint>> {
        self.members.load().sessions.as_ref()?.endpoint(token).cloned()
    }

    /// What stands for an endpoint in a cookie.
    pub(crate) fn token(&self, endpoint: &LiveEndpoint) -> Option<Token> {
        self.members.load().sessions.as_ref().map(|sessions| sessions.token(endpoint))
    }

    /// Whether a failure of an endpoint is one too many in a row.
    pub(crate) fn failed(&self, endpoint: &LiveEndpoint) -> bool {
        endpoint.failed(self.failures.load(Ordering::Relaxed))
    }

    /// New settings for the same endpoints.
    pub(crate) fn configure(&self, config: Arc<Cluster>) {
        self.failures.store(config.outlier.consecutive_failures, Ordering::Relaxed);
        self.gate.configure(config.limits);
        self.http2.store(config.protocol == Protocol::Http2, Ordering::Relaxed);
        let same = match (&*self.tls.load(), &config.tls) {
            (Some(connector), Some(tls)) => connector.is_of(tls),
            (None, None) => true,
            _ => false,
        };
        if !same {
            self.tls.store(config.tls.as_ref().map(|tls| Arc::new(Connector::new(tls))));
        }
        self.config.store(config);
        self.refresh();
    }

    /// New endpoints. Those whose address stays keep their identity; `returning` gives back one that is still draining.
    pub(crate) fn replace(
        &self,
        set: &EndpointSet,
        mut returning: impl FnMut(&penstock_model::Endpoint) -> Option<Arc<LiveEndpoint>>,
    ) -> Moved {
        let before = self.members.load_full();
        let source = source(&self.config.load());
        let mut moved = Moved::default();
        let all: Vec<_> = set
            .as_slice()
            .iter()
            .map(|endpoint| {
                let kept = before
                    .all
                    .binary_search_by(|old| old.endpoint.cmp(endpoint))
                    .ok()
                    .map(|at| Arc::clone(&before.all[at]));
                kept.unwrap_or_else(|| {
                    let new =
                        returning(endpoint).unwrap_or_else(|| Arc::new(LiveEndpoint::new(endpoint.clone(), &source)));
                    moved.joined.push(Arc::clone(&new));
                    new
                })
            })
            .collect();
        let gone = |old: &&Arc<LiveEndpoint>| set.as_slice().binary_search(&old.endpoint).is_err();
        moved.departed = before.all.iter().filter(gone).cloned().collect();
        self.members.store(Arc::new(Members::new(all, &self.config.load(), Some(&before))));
        moved
    }

    /// Looks at the health of its endpoints again.
    pub(crate) fn refresh(&self) {
        let before = self.members.load_full();
        self.members.store(Arc::new(Members::new(before.all.clone(), &self.config.load(), Some(&before))));
    }
}

/// Where a cluster has its endpoints from: what somebody looks at who misses one.
fn source(config: &Cluster) -> Name {
    match &config.source {
        EndpointSource::Service { namespace, name, .. } => format!("Service {namespace}/{name}").into(),
        EndpointSource::Addresses => format!("the addresses of {}", config.id.backend).into(),
        EndpointSource::Name { name, .. } => format!("the DNS name {name}").into(),
    }
}

fn min_servers(config: &Cluster) -> usize {
    config.probe.as_ref().map_or(0, |probe| usize::try_from(probe.min_servers).unwrap_or(usize::MAX))
}
