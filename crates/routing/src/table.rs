//! The table itself: ports, listeners, hosts, routes.

use std::collections::BTreeMap;
use std::sync::Arc;

use ahash::RandomState;
use hashbrown::HashMap;
use penstock_model::{Config, HostPattern, Listener, ListenerId, Route, RuleId};

use crate::hosts::{HostMap, lower};
use crate::paths::PathTree;
use crate::request::RouteRequest;

/// A compiled configuration. `T` is what the caller wants to find with a route; it is made once per route and kept
/// for as long as the route does not change, also when others of its host do: then it is cloned, so it should be an `Arc`.
#[derive(Debug)]
pub struct RouteTable<T> {
    ports: HashMap<u16, HostMap<Arc<ListenerTable<T>>>, RandomState>,
    listeners: BTreeMap<ListenerId, Arc<ListenerTable<T>>>,
}

/// One listener and its routes.
#[derive(Debug)]
pub struct ListenerTable<T> {
    /// The listener as configured.
    pub listener: Arc<Listener>,
    hosts: HostMap<Arc<HostTable<T>>>,
}

/// Routes of one host pattern, in the order of their ranks.
#[derive(Debug)]
struct HostTable<T> {
    routes: Vec<(Arc<Route>, T)>,
    paths: PathTree,
}

/// A route that takes a request.
#[derive(Debug)]
pub struct Found<'t, T> {
    /// Its listener.
    pub listener: &'t ListenerTable<T>,
    /// The route.
    pub route: &'t Arc<Route>,
    /// What was made for it.
    pub value: &'t T,
}

/// Why nothing takes a request.
#[derive(Debug)]
pub enum Miss<'t, T> {
    /// No listener of the port has a host that fits.
    NoListener,
    /// The listener takes the host, but none of its routes the request.
    NoRoute(&'t ListenerTable<T>),
}

impl<T> Default for RouteTable<T> {
    fn default() -> Self {
        Self { ports: HashMap::default(), listeners: BTreeMap::new() }
    }
}

impl<T> RouteTable<T> {
    /// Compiles a configuration. `value` is asked for routes that `previous` does not have under the same listener
    /// and host.
    pub fn compile(config: &Config, previous: &Self, mut value: impl FnMut(&ListenerId, &Arc<Route>) -> T) -> Self
    where
        T: Clone,
    {
        let mut table = Self::default();
        for listener in &config.listeners {
            let before = previous.listeners.get(&listener.id);
            let compiled = Arc::new(ListenerTable::compile(listener, before, &mut value));
            let hosts = table.ports.entry(listener.bind_port).or_default();
            // The first of two listeners with one host keeps it; the front end has said so to the owner of the other.
            for host in &listener.hosts {
                hosts.entry(host, || Arc::clone(&compiled));
            }
            if listener.hosts.is_empty() {
                hosts.entry(&HostPattern::Any, || Arc::clone(&compiled));
            }
            table.listeners.insert(listener.id.clone(), compiled);
        }
        table
    }

    /// The route that takes a request.
    pub fn find(&self, request: &RouteRequest<'_>) -> Result<Found<'_, T>, Miss<'_, T>> {
        self.best(request, |_| true)
    }

    /// The route of this rule that takes a request: for one whose path was rewritten.
    pub fn find_of(&self, request: &RouteRequest<'_>, rule: &RuleId) -> Result<Found<'_, T>, Miss<'_, T>> {
        self.best(request, |route| route.rule == *rule)
    }

    fn best(&self, request: &RouteRequest<'_>, accept: impl Fn(&Route) -> bool) -> Result<Found<'_, T>, Miss<'_, T>> {
        let mut buffer = [0; 256];
        let host = lower(request.host, &mut buffer).ok_or(Miss::NoListener)?;
        let hosts = self.ports.get(&request.port).ok_or(Miss::NoListener)?;
        let listener = hosts.matching(host).next().ok_or(Miss::NoListener)?;
        let mut best: Option<&(Arc<Route>, T)> = None;
        for table in listener.hosts.matching(host) {
            let found = table.first(request, &accept);
            if found.is_some_and(|(route, _)| best.is_none_or(|(other, _)| route.rank < other.rank)) {
                best = found;
            }
        }
        match best {
            Some((route, value)) => Ok(Found { listener, route, value }),
            None => Err(Miss::NoRoute(listener)),
        }
    }

    /// The listener of a port that takes a host in any case, such as a server name of TLS.
    pub fn listener_for(&self, port: u16, host: &str) -> Option<&Arc<ListenerTable<T>>> {
        let mut buffer = [0; 256];
        let host = lower(host, &mut buffer)?;
        self.ports.get(&port)?.matching(host).next()
    }

    /// Every listener, sorted.
    pub fn listeners(&self) -> impl Iterator<Item = &Arc<ListenerTable<T>>> {
        self.listeners.values()
    }
}

impl<T> ListenerTable<T> {
    fn compile(
        listener: &Arc<Listener>,
        before: Option<&Arc<Self>>,
        value: &mut impl FnMut(&ListenerId, &Arc<Route>) -> T,
    ) -> Self
    where
        T: Clone,
    {
        let mut by_host: HostMap<Vec<&Arc<Route>>> = HostMap::default();
        let mut patterns: Vec<&HostPattern> = Vec::new();
        for route in &listener.routes {
            let routes = by_host.entry(&route.host, Vec::new);
            if routes.is_empty() {
                patterns.push(&route.host);
            }
            routes.push(route);
        }
        let mut hosts = HostMap::default();
        for pattern in patterns {
            let routes = by_host.get(pattern).map(Vec::as_slice).unwrap_or_default();
            let old = before.and_then(|before| before.hosts.get(pattern));
            let mut value = |route: &Arc<Route>| {
                let kept = old.and_then(|old| old.value_of(route));
                kept.cloned().unwrap_or_else(|| value(&listener.id, route))
            };
            hosts.entry(pattern, || match old {
                Some(old) if old.has(routes) => Arc::clone(old),
                _ => Arc::new(HostTable::compile(routes, &mut value)),
            });
        }
        Self { listener: Arc::clone(listener), hosts }
    }
}

impl<T> ListenerTable<T> {
    /// Calls back with what was made for each route.
    pub fn for_each(&self, mut visit: impl FnMut(&T)) {
        for table in self.hosts.values() {
            table.routes.iter().for_each(|(_, value)| visit(value));
        }
    }
}

impl<T> HostTable<T> {
    fn compile(routes: &[&Arc<Route>], mut value: impl FnMut(&Arc<Route>) -> T) -> Self {
        let mut sorted = routes.to_vec();
        sorted.sort_by(|a, b| a.rank.cmp(&b.rank));
        let paths = PathTree::build(sorted.iter().map(|route| &***route));
        Self { routes: sorted.into_iter().map(|route| (Arc::clone(route), value(route))).collect(), paths }
    }

    /// Whether these are its routes; they come in the order of their ranks, but for ties.
    fn has(&self, routes: &[&Arc<Route>]) -> bool {
        self.routes.len() == routes.len()
            && self.routes.iter().zip(routes).all(|((mine, _), theirs)| Arc::ptr_eq(mine, theirs) || mine == *theirs)
    }

    /// What was made for a route that is the same.
    fn value_of(&self, route: &Arc<Route>) -> Option<&T> {
        let from = self.routes.partition_point(|(mine, _)| mine.rank < route.rank);
        let mut ties = self.routes[from..].iter().take_while(|(mine, _)| mine.rank == route.rank);
        ties.find(|(mine, _)| Arc::ptr_eq(mine, route) || mine == route).map(|(_, value)| value)
    }

    fn first(&self, request: &RouteRequest<'_>, accept: &impl Fn(&Route) -> bool) -> Option<&(Arc<Route>, T)> {
        let route = |index: u32| &*self.routes[index as usize].0;
        let index = self.paths.first(request.path, route, |route| request.fits(route) && accept(route))?;
        self.routes.get(index as usize)
    }
}
