//! The table itself: ports, listeners, hosts, routes.

use std::collections::BTreeMap;
use std::sync::Arc;

use ahash::RandomState;
use hashbrown::{HashMap, HashSet};
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
            let compiled = ListenerTable::compile(listener, before, &mut value);
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

impl<T: Clone> ListenerTable<T> {
    fn compile(
        listener: &Arc<Listener>,
        before: Option<&Arc<Self>>,
        value: &mut impl FnMut(&ListenerId, &Arc<Route>) -> T,
    ) -> Arc<Self> {
        match before {
            Some(before) if Arc::ptr_eq(&before.listener, listener) => Arc::clone(before),
            Some(before) => {
                let updated = before.updated(listener, value);
                Arc::new(updated.unwrap_or_else(|| Self::anew(listener, Some(before), value)))
            }
            None => Arc::new(Self::anew(listener, None, value)),
        }
    }

    /// Goes through all routes. Hosts whose routes are those of before are shared all the same.
    fn anew(
        listener: &Arc<Listener>,
        before: Option<&Arc<Self>>,
        value: &mut impl FnMut(&ListenerId, &Arc<Route>) -> T,
    ) -> Self {
        let count = listener.routes.len();
        let mut by_host: HostMap<Vec<&Arc<Route>>> = HostMap::expecting(count, 0);
        let mut patterns: Vec<&HostPattern> = Vec::new();
        for route in &listener.routes {
            let routes = by_host.entry(&route.host, Vec::new);
            if routes.is_empty() {
                patterns.push(&route.host);
            }
            routes.push(route);
        }
        let suffixes = patterns.iter().filter(|pattern| matches!(pattern, HostPattern::Suffix(_))).count();
        let mut hosts = HostMap::expecting(patterns.len() - suffixes, suffixes);
        for pattern in patterns {
            let routes = by_host.get(pattern).map(Vec::as_slice).unwrap_or_default();
            let old = before.and_then(|before| before.hosts.get(pattern));
            hosts.entry(pattern, || HostTable::keeping(old, routes, |route| value(&listener.id, route)));
        }
        Self { listener: Arc::clone(listener), hosts }
    }

    /// The same with the routes of another listener, where few of them differ: only their hosts are looked at.
    /// `None`: it has to be made anew.
    fn updated(&self, listener: &Arc<Listener>, value: &mut impl FnMut(&ListenerId, &Arc<Route>) -> T) -> Option<Self> {
        let (gone, new) = differences(&self.listener.routes, &listener.routes);
        if (gone.len() + new.len()) * FEW > listener.routes.len() {
            return None;
        }
        let mut changed: HashMap<&HostPattern, Vec<&Arc<Route>>, RandomState> = HashMap::default();
        for pattern in gone.iter().chain(&new).map(|route| &route.host) {
            let routes = || self.hosts.get(pattern).map(|table| table.routes.iter().map(|(route, _)| route).collect());
            changed.entry(pattern).or_insert_with(|| routes().unwrap_or_default());
        }
        for route in gone {
            let routes = changed.get_mut(&route.host)?;
            let same = |by: &dyn Fn(&Arc<Route>) -> bool| routes.iter().position(|other| by(other));
            // A table that was kept has routes that are equal, not always the same.
            let place = same(&|other| Arc::ptr_eq(other, route)).or_else(|| same(&|other| other == route))?;
            routes.remove(place);
        }
        for route in new {
            changed.get_mut(&route.host)?.push(route);
        }
        let mut hosts = self.hosts.clone();
        for (pattern, mut routes) in changed {
            routes.sort_by(|a, b| a.rank.cmp(&b.rank));
            if routes.windows(2).any(|pair| pair[0].rank == pair[1].rank) {
                // The order of the list decides.
                return None;
            }
            if routes.is_empty() {
                hosts.remove(pattern);
                continue;
            }
            let table = HostTable::keeping(self.hosts.get(pattern), &routes, |route| value(&listener.id, route));
            let place = hosts.entry(pattern, || Arc::clone(&table));
            *place = table;
        }
        Some(Self { listener: Arc::clone(listener), hosts })
    }
}

/// Up to one route in so many is put into its place; for more of them everything is compiled.
const FEW: usize = 2;

/// Routes that only the first list has, and those that only the second has, by their pointers.
fn differences<'r>(before: &'r [Arc<Route>], now: &'r [Arc<Route>]) -> (Vec<&'r Arc<Route>>, Vec<&'r Arc<Route>>) {
    let same = |(a, b): &(&Arc<Route>, &Arc<Route>)| Arc::ptr_eq(a, b);
    let head = before.iter().zip(now).take_while(same).count();
    let (before, now) = (&before[head..], &now[head..]);
    let tail = before.iter().rev().zip(now.iter().rev()).take_while(same).count();
    let (before, now) = (&before[..before.len() - tail], &now[..now.len() - tail]);
    let set =
        |routes: &[Arc<Route>]| -> HashSet<*const Route, RandomState> { routes.iter().map(Arc::as_ptr).collect() };
    let (had, has) = (set(before), set(now));
    let only = |routes: &'r [Arc<Route>], other: &HashSet<*const Route, RandomState>| {
        routes.iter().filter(|route| !other.contains(&Arc::as_ptr(route))).collect()
    };
    (only(before, &has), only(now, &had))
}

impl<T> ListenerTable<T> {
    /// Calls back with what was made for each route.
    pub fn for_each(&self, mut visit: impl FnMut(&T)) {
        for table in self.hosts.values() {
            table.routes.iter().for_each(|(_, value)| visit(value));
        }
    }
}

impl<T: Clone> HostTable<T> {
    /// The old table where it has these very routes; else a new one, with what the old one has of them.
    fn keeping(old: Option<&Arc<Self>>, routes: &[&Arc<Route>], mut value: impl FnMut(&Arc<Route>) -> T) -> Arc<Self> {
        match old {
            Some(old) if old.has(routes) => Arc::clone(old),
            _ => Arc::new(Self::compile(routes, |route| {
                let kept = old.and_then(|old| old.value_of(route));
                kept.cloned().unwrap_or_else(|| value(route))
            })),
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
        // Most hosts have one route: what it says itself is asked, and the tree stays out of the cache.
        if let [only] = &self.routes[..] {
            return (only.0.path.matches(request.path) && accept(&only.0) && request.fits(&only.0)).then_some(only);
        }
        let route = |index: u32| &*self.routes[index as usize].0;
        let index = self.paths.first(request.path, route, |route| request.fits(route) && accept(route))?;
        self.routes.get(index as usize)
    }
}
