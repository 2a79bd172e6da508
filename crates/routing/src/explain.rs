//! Why a request goes where it goes: the same conditions as [`RouteTable::find`], asked one by one and answered in words.

use std::fmt;
use std::sync::Arc;

use penstock_model::{Config, HostPattern, Listener, ListenerId, Route};

use crate::request::RouteRequest;
use crate::table::RouteTable;

/// What every listener of the port and every route of the chosen listener says to a request.
#[derive(Debug)]
pub struct Explanation {
    /// Listeners of the port, sorted; the chosen one, if any, is [`Verdict::Takes`].
    pub listeners: Vec<ListenerVerdict>,
    /// Routes of the chosen listener in the order of their ranks.
    pub routes: Vec<RouteVerdict>,
}

/// What a listener says.
#[derive(Debug)]
pub struct ListenerVerdict {
    /// The listener.
    pub id: ListenerId,
    /// What it says.
    pub verdict: Verdict,
}

/// What a route says.
#[derive(Debug)]
pub struct RouteVerdict {
    /// The route.
    pub route: Arc<Route>,
    /// What it says.
    pub verdict: Verdict,
}

/// An answer to a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// This one takes the request.
    Takes,
    /// It would take the request, but another one goes before.
    ComesLater,
    /// Its hosts do not take the host.
    OtherHost,
    /// Its path does not take the path.
    OtherPath,
    /// It wants another method.
    OtherMethod,
    /// It wants other headers.
    OtherHeaders,
    /// It wants another query.
    OtherQuery,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Takes => "takes the request",
            Self::ComesLater => "would take it, but comes later",
            Self::OtherHost => "does not take this host",
            Self::OtherPath => "does not take this path",
            Self::OtherMethod => "does not take this method",
            Self::OtherHeaders => "does not take these headers",
            Self::OtherQuery => "does not take this query",
        })
    }
}

impl Explanation {
    /// Explains a request. The winner is the one that [`RouteTable::find`] finds.
    pub fn of(config: &Config, request: &RouteRequest<'_>) -> Self {
        let table = RouteTable::compile(config, &RouteTable::default(), |_, _| ());
        let chosen = table.listener_for(request.port, request.host).map(|found| Arc::clone(&found.listener));
        let winner = table.find(request).ok().map(|found| Arc::clone(found.route));
        let on_port = config.listeners.iter().filter(|listener| listener.bind_port == request.port);
        let listeners = on_port
            .map(|listener| ListenerVerdict {
                id: listener.id.clone(),
                verdict: match &chosen {
                    Some(chosen) if chosen.id == listener.id => Verdict::Takes,
                    _ if takes_host(listener, request.host) => Verdict::ComesLater,
                    _ => Verdict::OtherHost,
                },
            })
            .collect();
        let mut routes: Vec<Arc<Route>> = chosen.map(|listener| listener.routes.clone()).unwrap_or_default();
        routes.sort_by(|a, b| a.rank.cmp(&b.rank));
        let routes = routes
            .into_iter()
            .map(|route| {
                let verdict = match &winner {
                    Some(winner) if Arc::ptr_eq(winner, &route) => Verdict::Takes,
                    _ => refusal(&route, request).unwrap_or(Verdict::ComesLater),
                };
                RouteVerdict { route, verdict }
            })
            .collect();
        Self { listeners, routes }
    }

    /// The route that takes the request.
    pub fn winner(&self) -> Option<&Arc<Route>> {
        self.routes.iter().find(|route| route.verdict == Verdict::Takes).map(|route| &route.route)
    }
}

fn takes_host(listener: &Listener, host: &str) -> bool {
    listener.hosts.is_empty() || listener.hosts.iter().any(|pattern: &HostPattern| pattern.matches(host))
}

/// The first condition of a route that does not fit.
fn refusal(route: &Route, request: &RouteRequest<'_>) -> Option<Verdict> {
    let checks = [
        (route.host.matches(request.host), Verdict::OtherHost),
        (route.path.matches(request.path), Verdict::OtherPath),
        (request.method_fits(route), Verdict::OtherMethod),
        (request.headers_fit(route), Verdict::OtherHeaders),
        (request.queries_fit(route), Verdict::OtherQuery),
    ];
    checks.into_iter().find(|(fits, _)| !fits).map(|(_, verdict)| verdict)
}
