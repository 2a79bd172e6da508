//! The table against an oracle that asks every listener and every route.

use std::cmp::Reverse;
use std::sync::Arc;

use penstock_model::{Config, HostPattern, Listener, Route, RuleId};
use penstock_routing::{Explanation, Miss, RouteRequest, RouteTable};
use proptest::prelude::*;

use crate::random::{any_config, any_request};

/// Every listener of the port with its best pattern; the best of them, the first of equals.
fn listener<'c>(config: &'c Config, request: &RouteRequest<'_>) -> Option<&'c Arc<Listener>> {
    let any = [HostPattern::Any];
    let mut best: Option<(HostPattern, &Arc<Listener>)> = None;
    for listener in config.listeners.iter().filter(|listener| listener.bind_port == request.port) {
        let hosts = if listener.hosts.is_empty() { &any[..] } else { &listener.hosts };
        for pattern in hosts.iter().filter(|pattern| pattern.matches(request.host)) {
            if best.as_ref().is_none_or(|(other, _)| pattern > other) {
                best = Some((pattern.clone(), listener));
            }
        }
    }
    best.map(|(_, listener)| listener)
}

/// The smallest rank of all routes that fit; of equals the one with the better host, then the first.
fn route<'c>(listener: &'c Listener, request: &RouteRequest<'_>) -> Option<&'c Arc<Route>> {
    listener
        .routes
        .iter()
        .filter(|route| route.host.matches(request.host) && route.path.matches(request.path) && fits(route, request))
        .min_by_key(|route| (&route.rank, Reverse(&route.host)))
}

fn fits(route: &Route, request: &RouteRequest<'_>) -> bool {
    let method = route.method.as_ref().is_none_or(|method| method == request.method);
    let headers = route.headers.iter().all(|wanted| {
        let lines: Vec<&str> =
            request.headers.get_all(&wanted.name).iter().map(|line| line.to_str().expect("digits")).collect();
        !lines.is_empty() && wanted.value.matches(&lines.join(","))
    });
    let queries = route.queries.iter().all(|(name, value)| {
        let pairs = request.query.unwrap_or_default().split('&').filter_map(|pair| pair.split_once('='));
        pairs.filter(|(key, _)| *key == &**name).take(1).any(|(_, given)| value.matches(given))
    });
    method && headers && queries
}

/// Name of the listener, and the rule that takes the request.
type Answer = Option<(String, Option<RuleId>)>;

pub(crate) fn expected(config: &Config, request: &RouteRequest<'_>) -> Answer {
    let listener = listener(config, request)?;
    Some((listener.id.name.to_string(), route(listener, request).map(|route| route.rule.clone())))
}

pub(crate) fn found<T>(table: &RouteTable<T>, request: &RouteRequest<'_>) -> Answer {
    match table.find(request) {
        Ok(found) => Some((found.listener.listener.id.name.to_string(), Some(found.route.rule.clone()))),
        Err(Miss::NoRoute(listener)) => Some((listener.listener.id.name.to_string(), None)),
        Err(Miss::NoListener) => None,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_table_finds_what_the_oracle_finds(config in any_config(), requests in prop::collection::vec(any_request(), 16)) {
        let table = RouteTable::compile(&config, &RouteTable::default(), |_, route| route.rule.clone());
        for asked in &requests {
            let request = asked.borrow();
            prop_assert_eq!(found(&table, &request), expected(&config, &request), "{:?}", asked);
            if let Ok(found) = table.find(&request) {
                prop_assert_eq!(&found.route.rule, found.value, "a route comes with its own value");
            }
            let listener = table.listener_for(request.port, request.host).map(|found| found.listener.id.name.to_string());
            prop_assert_eq!(listener, expected(&config, &request).map(|(name, _)| name));
        }
    }

    #[test]
    fn an_explanation_ends_as_the_table_does(config in any_config(), asked in any_request()) {
        let request = asked.borrow();
        let explanation = Explanation::of(&config, &request);
        let winner = explanation.winner().map(|route| route.rule.clone());
        prop_assert_eq!(winner, expected(&config, &request).and_then(|(_, rule)| rule));
        prop_assert!(explanation.routes.is_sorted_by(|a, b| a.route.rank <= b.route.rank));
        let taking = explanation.listeners.iter().filter(|said| said.verdict == penstock_routing::Verdict::Takes);
        let taking: Vec<String> = taking.map(|said| said.id.name.to_string()).collect();
        let chosen: Vec<String> = expected(&config, &request).into_iter().map(|(name, _)| name).collect();
        prop_assert_eq!(taking, chosen);
    }
}
