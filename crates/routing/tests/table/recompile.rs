//! Compiling with a previous table: the same answers, and values stay with the routes that did not change.

use std::collections::BTreeMap;
use std::sync::Arc;

use penstock_model::{Config, ListenerId, Route};
use penstock_routing::RouteTable;
use proptest::prelude::*;

use crate::oracle::{expected, found};
use crate::random::{any_config, any_request, any_route};
use crate::support::{RULE, Rule, config, gateway};

/// A table whose values count the calls that made them, and the names of the rules it was called for.
fn compile(config: &Config, previous: &RouteTable<usize>, next: &mut usize) -> (RouteTable<usize>, Vec<String>) {
    let mut called = Vec::new();
    let table = RouteTable::compile(config, previous, |_, route| {
        called.push(route.rule.name.to_string());
        *next += 1;
        *next
    });
    (table, called)
}

fn values(table: &RouteTable<usize>) -> Vec<usize> {
    let mut values = Vec::new();
    table.listeners().for_each(|listener| listener.for_each(|value| values.push(*value)));
    values.sort_unstable();
    values
}

const ONE: Rule = Rule { name: "one", hosts: &["a.test"], paths: &["/a*", "/b"], ..RULE };
const TWO: Rule = Rule { name: "two", hosts: &["a.test", "*.test"], default: true, ..RULE };
const THREE: Rule = Rule { name: "three", hosts: &["?.other", "*"], default: true, ..RULE };

#[test]
fn without_a_change_no_value_is_made_again() {
    let mut next = 0;
    let (first, called) = compile(&gateway(&[ONE, TWO, THREE]), &RouteTable::default(), &mut next);
    assert_eq!(called.len(), 6);
    let (second, called) = compile(&gateway(&[ONE, TWO, THREE]), &first, &mut next);
    assert_eq!(called, [""; 0]);
    assert_eq!(values(&second), values(&first));
}

#[test]
fn a_change_of_a_route_leaves_the_values_of_its_neighbours() {
    let mut next = 0;
    let (first, _) = compile(&gateway(&[ONE, TWO, THREE]), &RouteTable::default(), &mut next);
    let changed = Rule { paths: &["/a*", "/c"], ..ONE };
    let (_, called) = compile(&gateway(&[changed, TWO, THREE]), &first, &mut next);
    assert_eq!(called, ["one"]);
    let added = Rule { name: "new", hosts: &["a.test"], paths: &["/a/b"], ..RULE };
    let (_, called) = compile(&gateway(&[ONE, TWO, THREE, added]), &first, &mut next);
    assert_eq!(called, ["new"]);
    let (_, called) = compile(&gateway(&[TWO, THREE]), &first, &mut next);
    assert_eq!(called, [""; 0]);
}

#[test]
fn what_comes_back_is_made_again() {
    let mut next = 0;
    let (first, _) = compile(&gateway(&[ONE, THREE]), &RouteTable::default(), &mut next);
    let (without, _) = compile(&gateway(&[THREE]), &first, &mut next);
    let (_, called) = compile(&gateway(&[ONE, THREE]), &without, &mut next);
    assert_eq!(called, ["one", "one"]);
}

/// Listener and rule of each route, with its value.
fn by_route(config: &Config, table: &RouteTable<(ListenerId, Arc<Route>, usize)>) -> BTreeMap<(String, String), usize> {
    let mut all = BTreeMap::new();
    let mut take = |(id, route, value): &(ListenerId, Arc<Route>, usize)| {
        all.insert((id.name.to_string(), route.rule.name.to_string()), *value);
    };
    table.listeners().for_each(|listener| listener.for_each(&mut take));
    assert_eq!(all.len(), config.listeners.iter().map(|listener| listener.routes.len()).sum::<usize>());
    all
}

/// Some routes go, some are exchanged, some only lose their pointer; the rest stays.
fn change(before: &Config, fates: &[u8], new: &[Route]) -> Config {
    let mut fates = fates.iter().cycle();
    let mut new = new.iter().cycle();
    let listeners = before.listeners.iter().map(|listener| {
        let mut listener = (**listener).clone();
        let mut routes = Vec::new();
        for route in listener.routes.drain(..) {
            match fates.next() {
                Some(0) => {}
                Some(1) => {
                    routes
                        .extend(new.next().map(|other| Arc::new(Route { rule: route.rule.clone(), ..other.clone() })));
                }
                Some(2) => routes.push(Arc::new((*route).clone())),
                _ => routes.push(route),
            }
        }
        routes.sort_by(|a, b| a.rank.cmp(&b.rank));
        listener.routes = routes;
        listener
    });
    config(listeners.collect())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_table_made_from_another_answers_as_a_new_one_and_keeps_what_did_not_change(
        before in any_config(),
        fates in prop::collection::vec(0_u8..12, 17),
        new in prop::collection::vec(any_route(), 5),
        requests in prop::collection::vec(any_request(), 16),
    ) {
        let after = change(&before, &fates, &new);
        let mut next = 0;
        let mut value = |id: &ListenerId, route: &Arc<Route>| {
            next += 1;
            (id.clone(), Arc::clone(route), next)
        };
        let first = RouteTable::compile(&before, &RouteTable::default(), &mut value);
        let second = RouteTable::compile(&after, &first, &mut value);
        for asked in &requests {
            let request = asked.borrow();
            prop_assert_eq!(found(&second, &request), expected(&after, &request));
        }
        let (old, kept) = (by_route(&before, &first), by_route(&after, &second));
        for (listener, earlier) in after.listeners.iter().zip(&before.listeners) {
            for route in &listener.routes {
                let key = (listener.id.name.to_string(), route.rule.name.to_string());
                let unchanged = earlier.routes.contains(route);
                prop_assert_eq!(unchanged, old.get(&key) == kept.get(&key), "{:?}", key);
            }
        }
    }
}
