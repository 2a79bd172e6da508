//! Configurations by hand, with the ranks that a front end gives, and requests to ask them.

use std::cmp::Reverse;
use std::sync::Arc;

use http::{HeaderMap, Method, StatusCode};
use penstock_model::rank::ObjectName;
use penstock_model::{
    Action, ClientAddress, Config, GatewayId, HostPattern, Listener, ListenerId, PathMatch, Rank, Route, RuleId,
};
use penstock_routing::{Miss, RouteRequest, RouteTable};

/// A rule as its owner wrote it.
#[derive(Clone)]
pub(crate) struct Rule {
    pub(crate) namespace: &'static str,
    pub(crate) name: &'static str,
    pub(crate) priority: Option<u32>,
    pub(crate) created: i64,
    pub(crate) hosts: &'static [&'static str],
    pub(crate) paths: &'static [&'static str],
    pub(crate) default: bool,
}

/// A rule without priority, hosts, paths and default.
pub(crate) const RULE: Rule =
    Rule { namespace: "shop", name: "rule", priority: None, created: 0, hosts: &["*"], paths: &[], default: false };

pub(crate) fn host(text: &str) -> HostPattern {
    HostPattern::parse(text).expect(text)
}

/// `*` at the end is a string prefix, else exact; without case, as in a URL path map.
pub(crate) fn path(text: &str) -> PathMatch {
    match text.strip_suffix('*') {
        Some(prefix) => PathMatch::Prefix { prefix: prefix.into(), case_sensitive: false },
        None => PathMatch::Exact { path: text.into(), case_sensitive: false },
    }
}

/// A route with nothing but host and path; its `path_name` says which of the rule's it is.
pub(crate) fn route(rule: RuleId, path_name: &str, rank: Rank, host: HostPattern, path: PathMatch) -> Route {
    let action = Arc::new(Action::Respond(StatusCode::NO_CONTENT));
    let (method, headers, queries, filters) = (None, Vec::new(), Vec::new(), Vec::new());
    Route { rule, path_name: Some(path_name.into()), rank, host, path, method, headers, queries, filters, action }
}

impl Rule {
    fn routes(&self) -> Vec<Route> {
        let listed = self.paths.iter().map(|text| (*text, path(text)));
        let default = self.default.then_some(("default", PathMatch::Any));
        let mut routes = Vec::new();
        for ((name, path), place) in listed.chain(default).zip(0..) {
            for pattern in self.hosts.iter().copied().map(host) {
                let rule = RuleId::new(self.namespace, self.name);
                routes.push(route(rule, name, self.rank(&pattern, &path, place), pattern, path.clone()));
            }
        }
        routes
    }

    fn rank(&self, host: &HostPattern, path: &PathMatch, listed: u32) -> Rank {
        let object = ObjectName(self.namespace.into(), self.name.into());
        let base = Rank { created: self.created, object, listed, ..Rank::default() };
        let (kind, length) = host.specificity();
        let Some(priority) = self.priority else {
            let kind_of_path = match path {
                PathMatch::Any => 0,
                PathMatch::Exact { .. } => 3,
                _ => 1,
            };
            let path = Reverse((kind_of_path, path.literal_prefix().len()));
            return Rank { priority: Rank::UNPRIORITIZED, host: Reverse((kind, length)), path, ..base };
        };
        Rank { priority, host: Reverse((kind, 0)), ..base }
    }
}

/// A listener of the gateway `edge/gate`.
pub(crate) fn listener(name: &str, port: u16, hosts: &[&str], mut routes: Vec<Route>) -> Listener {
    routes.sort_by(|a, b| a.rank.cmp(&b.rank));
    Listener {
        id: ListenerId { gateway: GatewayId::new("edge", "gate"), name: name.into() },
        port,
        bind_port: port,
        tls: None,
        hosts: hosts.iter().copied().map(host).collect(),
        routes: routes.into_iter().map(Arc::new).collect(),
        client_address: ClientAddress::default(),
        error_pages: Default::default(),
    }
}

pub(crate) fn config(mut listeners: Vec<Listener>) -> Config {
    listeners.sort_by(|a, b| a.id.cmp(&b.id));
    Config { listeners: listeners.into_iter().map(Arc::new).collect(), ..Config::default() }
}

/// One basic listener on port 80 with these rules.
pub(crate) fn gateway(rules: &[Rule]) -> Config {
    config(vec![listener("http", 80, &[], rules.iter().flat_map(Rule::routes).collect())])
}

/// Asks with GET and no headers; `listener rule path`, `listener` when no route takes it, or `-`.
pub(crate) fn ask(config: &Config, port: u16, host: &str, path: &str) -> String {
    let (method, headers) = (&Method::GET, &HeaderMap::new());
    let request = RouteRequest { port, host, path, query: None, method, headers };
    let table = RouteTable::compile(config, &RouteTable::default(), |_, _| ());
    match table.find(&request) {
        Ok(found) => {
            let name = found.route.path_name.as_deref().unwrap_or_default();
            format!("{} {} {name}", found.listener.listener.id.name, found.route.rule.name)
        }
        Err(Miss::NoRoute(listener)) => listener.listener.id.name.to_string(),
        Err(Miss::NoListener) => "-".into(),
    }
}

/// What the rules of one basic listener answer: `rule path`, or nothing.
pub(crate) fn answer(rules: &[Rule], host: &str, path: &str) -> String {
    let said = ask(&gateway(rules), 80, host, path);
    said.strip_prefix("http").expect("the only listener takes every host").trim_start().into()
}
