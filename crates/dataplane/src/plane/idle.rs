//! WebSockets that are closed because nothing moves in them: when that is what becomes of most of a rule's, its timeout is
//! shorter than the interval of the pings, and its owner should know.
//!
//! Workers say of each WebSocket how it ended; here they are counted by rule.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use penstock_model::{Action, Config, ObservedIdle, Route, RuleId, Shared};

use crate::route_state::RouteState;

/// Closes are counted for so long; a warning that has no new reason is taken back after the same time.
const WINDOW: Duration = Duration::from_secs(600);
/// Fewer than so many may be chance.
const FEWEST: u32 = 5;

/// What a worker reports: a WebSocket was closed.
#[derive(Debug)]
pub(crate) struct Closed {
    pub(crate) route: Arc<RouteState>,
    /// Because nothing moved in it.
    pub(crate) idle: bool,
}

/// Closes by rule, and the rules whose owners should know.
#[derive(Debug, Default)]
pub(super) struct IdleCloses {
    counts: HashMap<RuleId, Count>,
    warned: Shared<BTreeMap<RuleId, ObservedIdle>>,
    /// When each of those is taken back.
    until: HashMap<RuleId, Instant>,
    /// Limits that rules had before: WebSockets that were opened then still go by them, and that says nothing any more.
    former: HashMap<RuleId, ObservedIdle>,
}

#[derive(Debug)]
struct Count {
    since: Instant,
    closed: u32,
    idle: u32,
}

impl IdleCloses {
    /// Those whose owners should know.
    pub(super) fn warned(&self) -> Shared<BTreeMap<RuleId, ObservedIdle>> {
        self.warned.clone()
    }

    /// Counts a close; whether there is something new to be said. `config` is the one in the traffic.
    pub(super) fn closed(&mut self, closed: &Closed, config: &Config, now: Instant) -> bool {
        let route = &closed.route.route;
        let limit = idle_limit(route);
        if limit.is_some() && self.former.get(&route.rule) == limit.as_ref() {
            return false;
        }
        let new = || Count { since: now, closed: 0, idle: 0 };
        let count = self.counts.entry(route.rule.clone()).or_insert_with(new);
        if now.duration_since(count.since) > WINDOW {
            *count = new();
        }
        count.closed += 1;
        count.idle += u32::from(closed.idle);
        let most = count.idle >= FEWEST && count.idle > count.closed / 2;
        let Some(limit) = limit.filter(|_| closed.idle && most) else { return false };
        let known = self.warned.get(&route.rule) == Some(&limit);
        if !known && !goes_by(config, &route.rule, &limit) {
            self.counts.remove(&route.rule);
            self.former.insert(route.rule.clone(), limit);
            return false;
        }
        self.until.insert(route.rule.clone(), now + WINDOW);
        if known {
            return false;
        }
        self.warned.insert(route.rule.clone(), limit);
        true
    }

    /// When the next warning is taken back.
    pub(super) fn next(&self) -> Option<Instant> {
        self.until.values().min().copied()
    }

    /// Takes back what has had no new reason for long.
    pub(super) fn forget_old(&mut self, now: Instant) {
        let old: Vec<RuleId> =
            self.until.iter().filter(|(_, until)| **until <= now).map(|(rule, _)| rule.clone()).collect();
        old.iter().for_each(|rule| self.forget(rule));
    }

    /// Takes back what a configuration has changed: the rule is gone, or goes by another limit. Begins to count anew there.
    pub(super) fn follow(&mut self, config: &Config, now: Instant) {
        // Rules that come and go leave nothing behind.
        self.counts.retain(|_, count| now.duration_since(count.since) <= WINDOW);
        self.former.clear();
        let solved = self.warned.iter().filter(|(rule, said)| !goes_by(config, rule, said));
        let solved: Vec<(RuleId, ObservedIdle)> = solved.map(|(rule, said)| (rule.clone(), said.clone())).collect();
        for (rule, said) in solved {
            self.forget(&rule);
            self.former.insert(rule, said);
        }
    }

    fn forget(&mut self, rule: &RuleId) {
        self.counts.remove(rule);
        self.until.remove(rule);
        self.warned.remove(rule);
    }
}

/// Whether a rule has a route with this limit. Asked when something is to be said, and when a configuration comes.
fn goes_by(config: &Config, rule: &RuleId, limit: &ObservedIdle) -> bool {
    let mut routes = config.listeners.iter().flat_map(|listener| &listener.routes);
    routes.any(|route| route.rule == *rule && idle_limit(route).is_some_and(|other| other == *limit))
}

/// How long nothing may move in the WebSockets of a route.
fn idle_limit(route: &Route) -> Option<ObservedIdle> {
    let Action::Forward(forward) = &*route.action else { return None };
    Some(ObservedIdle { limit: forward.websocket.idle?, origin: Arc::clone(&forward.origin) })
}
