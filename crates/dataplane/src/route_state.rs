//! What the data plane keeps with each route and listener: clusters found once, names for metrics.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use ahash::RandomState;
use hashbrown::HashMap;
use penstock_model::{
    Action, BackendTarget, ClientAddress, ClusterId, Forward, Listener, ListenerId, Name, Route, WeightedBackend,
};
use penstock_routing::RouteTable;
use prometheus::{IntCounter, IntGauge};
use tokio::sync::mpsc::UnboundedSender;

use crate::cluster::{Asked, LiveCluster, LiveEndpoint, Shares, Token};
use crate::plane::Noticed;
use crate::tls::ServerTls;

/// Everything a worker reads, behind one swapped pointer.
#[derive(Debug, Default)]
pub(crate) struct Live {
    /// Where requests go.
    pub(crate) routes: RouteTable<Arc<RouteState>>,
    /// Listeners by identity.
    pub(crate) listeners: HashMap<ListenerId, Arc<ListenerState>, RandomState>,
    /// Local ports and what is known of them before a byte is read.
    pub(crate) ports: HashMap<u16, PortFacts, RandomState>,
}

/// What is known of a connection by its local port alone.
#[derive(Debug)]
pub(crate) struct PortFacts {
    /// Connections begin with TLS.
    pub(crate) tls: bool,
    /// Number and TLS of its listener where it has only one: it takes clients of any server name.
    pub(crate) only_tls: Option<(u64, Arc<ServerTls>)>,
    /// The name of its first listener, and whom that believes about clients.
    pub(crate) listener: Name,
    /// It has others, too.
    pub(crate) shared: bool,
    pub(crate) client_address: ClientAddress,
    /// `penstock_connections_open` and `_total`, under the first listener of the port.
    pub(crate) open: IntGauge,
    pub(crate) accepted: IntCounter,
}

impl Live {
    /// The listener of a port, if it has only one.
    pub(crate) fn sole(&self, port: u16) -> Option<&Name> {
        self.ports.get(&port).filter(|facts| !facts.shared).map(|facts| &facts.listener)
    }

    /// The listener of a port for clients that send no server name, or one that nobody has: only where there is no choice.
    pub(crate) fn default_tls(&self, port: u16) -> Option<&Arc<ListenerState>> {
        let mut on_port =
            self.listeners.values().filter(|state| state.listener.bind_port == port && state.tls.is_some());
        let first = on_port.next()?;
        on_port.next().is_none().then_some(first)
    }
}

/// A listener at work.
#[derive(Debug)]
pub(crate) struct ListenerState {
    /// Unique in the process; stays with the listener's name.
    pub(crate) number: u64,
    /// As configured.
    pub(crate) listener: Arc<Listener>,
    /// `namespace/name` of the gateway, for labels and logs.
    pub(crate) gateway: Arc<str>,
    /// TLS with its certificates; `None` for plain HTTP.
    pub(crate) tls: Option<Arc<ServerTls>>,
}

/// A route at work.
#[derive(Debug)]
pub(crate) struct RouteState {
    /// Unique in the process.
    pub(crate) number: u64,
    /// As configured.
    pub(crate) route: Arc<Route>,
    /// `namespace/name` of the rule, for labels and logs.
    pub(crate) rule: Arc<str>,
    backends: Box<[Backend]>,
    shares: Shares,
    turn: AtomicU64,
    /// Told when it goes.
    notices: UnboundedSender<Noticed>,
}

#[derive(Debug)]
enum Backend {
    Cluster(Arc<LiveCluster>),
    /// Of weight 0: takes nothing but requests of its sessions.
    Resting(Arc<LiveCluster>),
    /// Keeps its share, and fails with this reason.
    Unavailable(Arc<str>),
}

/// Why there is no endpoint for a request.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum NoEndpoint {
    /// The reference could not be resolved: its status reason.
    Unavailable(Arc<str>),
    /// No endpoint takes traffic.
    NoneHealthy,
}

/// The next number for a route or listener.
pub(crate) fn next_number() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// It is in no table any more, and the last request that it took is over: what workers count it in can go, too.
impl Drop for RouteState {
    fn drop(&mut self) {
        // After the plane nobody asks.
        let _ = self.notices.send(Noticed::RouteGone(self.number));
    }
}

impl RouteState {
    /// Looks up the clusters of a route.
    pub(crate) fn new(
        route: &Arc<Route>,
        cluster: impl Fn(&ClusterId) -> Option<Arc<LiveCluster>>,
        notices: UnboundedSender<Noticed>,
    ) -> Self {
        let weighted: &[WeightedBackend] = match &*route.action {
            Action::Forward(forward) => &forward.backends,
            Action::Redirect(_) | Action::Respond(_) => &[],
        };
        let backends = weighted.iter().map(|backend| match &backend.target {
            BackendTarget::Cluster(id) => {
                let at_work = if backend.weight == 0 { Backend::Resting } else { Backend::Cluster };
                cluster(id).map_or_else(|| Backend::Unavailable("NoEndpoints".into()), at_work)
            }
            BackendTarget::Unavailable(why) => Backend::Unavailable(Arc::clone(&why.reason)),
        });
        Self {
            number: next_number(),
            rule: route.rule.to_string().into(),
            backends: backends.collect(),
            shares: Shares::new(weighted.iter().map(|backend| backend.weight)),
            turn: AtomicU64::new(0),
            notices,
            route: Arc::clone(route),
        }
    }

    /// What it does with a request, where that is to forward it.
    pub(crate) fn forward(&self) -> Option<&Forward> {
        match &*self.route.action {
            Action::Forward(forward) => Some(forward),
            Action::Redirect(_) | Action::Respond(_) => None,
        }
    }

    /// The endpoint for a request, and its cluster: that of its session, else the one whose turn it is. A cluster without a
    /// healthy endpoint leaves its turn to the next one that has a weight; a reference that could not be resolved keeps its turn and fails.
    pub(crate) fn pick(&self, asked: &Asked<'_>) -> Result<(&Arc<LiveCluster>, Arc<LiveEndpoint>), NoEndpoint> {
        if let Some(found) = asked.session.and_then(|token| self.session(token, asked.tried)) {
            return Ok(found);
        }
        let turn = asked.client.unwrap_or_else(|| self.turn.fetch_add(1, Ordering::Relaxed));
        let first = self.shares.turn(turn).ok_or(NoEndpoint::NoneHealthy)?;
        if let Backend::Unavailable(reason) = &self.backends[first] {
            return Err(NoEndpoint::Unavailable(Arc::clone(reason)));
        }
        let in_turn = self.backends[first..].iter().chain(&self.backends[..first]);
        let clusters = in_turn.filter_map(|backend| match backend {
            Backend::Cluster(cluster) => Some(cluster),
            Backend::Resting(_) | Backend::Unavailable(_) => None,
        });
        let mut again = None;
        for cluster in clusters {
            match cluster.pick(asked) {
                Some(endpoint) if asked.tried.contains(&endpoint.number) => {
                    again.get_or_insert((cluster, endpoint));
                }
                Some(endpoint) => return Ok((cluster, endpoint)),
                None => {}
            }
        }
        again.ok_or(NoEndpoint::NoneHealthy)
    }

    fn session(&self, token: Token, tried: &[u64]) -> Option<(&Arc<LiveCluster>, Arc<LiveEndpoint>)> {
        let found = self.backends.iter().find_map(|backend| match backend {
            Backend::Cluster(cluster) | Backend::Resting(cluster) => {
                cluster.session(token).map(|endpoint| (cluster, endpoint))
            }
            Backend::Unavailable(_) => None,
        });
        found.filter(|(_, endpoint)| !tried.contains(&endpoint.number))
    }
}
