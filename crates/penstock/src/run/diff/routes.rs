//! Which hosts and paths change their owner, appear or go away.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use penstock_model::{Config, Listener, Route};
use serde_json::{Value, json};

use crate::explanation;
use crate::run::overview::target;

/// WebSockets that are open, by gateway, listener and rule.
pub(super) type Open = HashMap<[String; 3], u64>;

/// What a listener takes, in words, with the route that takes it: the first where several would.
type Owners<'c> = BTreeMap<(String, String), (&'c Listener, &'c Arc<Route>)>;

fn owners(config: &Config) -> Owners<'_> {
    let mut owners = Owners::new();
    for listener in &config.listeners {
        let mut routes: Vec<&Arc<Route>> = listener.routes.iter().collect();
        routes.sort_by(|a, b| a.rank.cmp(&b.rank));
        for route in routes {
            let taken = (listener.id.to_string(), explanation::takes_exactly(route));
            owners.entry(taken).or_insert((&**listener, route));
        }
    }
    owners
}

/// Rows, and how many WebSockets are open under rules that have one.
pub(super) fn changes(before: &Config, after: &Config, open: &Open) -> (Vec<Value>, u64) {
    let (old, new) = (owners(before), owners(after));
    let mut rows = Vec::new();
    let mut rules: BTreeMap<[String; 3], u64> = BTreeMap::new();
    for (taken, (listener, was)) in &old {
        let change = match new.get(taken) {
            None => "goes",
            Some((_, is)) if is.rule != was.rule => "owner",
            Some((_, is)) if is.action != was.action || is.filters != was.filters => "changes",
            Some(_) => continue,
        };
        let websockets = concerned(listener, was, open);
        rules.extend(websockets.clone());
        let after = new.get(taken).map(|(_, is)| side(is));
        let count = websockets.map_or(0, |(_, count)| count);
        rows.push(row(taken, change, Some(&side(was)), after.as_ref(), count));
    }
    for (taken, (_, is)) in new.iter().filter(|(taken, _)| !old.contains_key(*taken)) {
        rows.push(row(taken, "appears", None, Some(&side(is)), 0));
    }
    (rows, rules.values().sum())
}

fn concerned(listener: &Listener, route: &Route, open: &Open) -> Option<([String; 3], u64)> {
    let key = [listener.id.gateway.to_string(), listener.id.name.to_string(), route.rule.to_string()];
    open.get(&key).map(|count| (key, *count))
}

fn side(route: &Route) -> Value {
    json!({"rule": route.rule.to_string(), "to": target(route)})
}

fn row(
    (listener, taken): &(String, String),
    change: &str,
    before: Option<&Value>,
    after: Option<&Value>,
    open: u64,
) -> Value {
    json!({
        "listener": listener, "takes": taken, "change": change, "before": before, "after": after, "websockets": open,
    })
}

/// Listeners that appear, change or go away, and how many WebSockets came by those that go.
pub(super) fn listeners(before: &Config, after: &Config, open: &Open) -> (Vec<Value>, u64) {
    let by_id = |config: &Config| -> BTreeMap<String, Arc<Listener>> {
        config.listeners.iter().map(|listener| (listener.id.to_string(), Arc::clone(listener))).collect()
    };
    let (old, new) = (by_id(before), by_id(after));
    let mut rows = Vec::new();
    let mut left = 0;
    for (id, was) in &old {
        match new.get(id) {
            Some(is) if is.same_head(was) => {}
            Some(_) => rows.push(json!({"listener": id, "change": "changes", "websockets": 0})),
            None => {
                let (gateway, name) = (was.id.gateway.to_string(), &*was.id.name);
                let websockets: u64 =
                    open.iter().filter(|(key, _)| key[0] == gateway && key[1] == name).map(|(_, count)| count).sum();
                left += websockets;
                rows.push(json!({"listener": id, "change": "goes", "websockets": websockets}));
            }
        }
    }
    let appear = new.keys().filter(|id| !old.contains_key(*id));
    rows.extend(appear.map(|id| json!({"listener": id, "change": "appears", "websockets": 0})));
    (rows, left)
}
