//! What an explanation says about each listener and route.

use http::{HeaderMap, HeaderName, Method};
use penstock_model::{HeaderMatch, Rank, Route, RuleId, ValueMatch};
use penstock_routing::{Explanation, RouteRequest, Verdict};

use crate::support::{config, host, listener, path, route};

fn named(name: &str, listed: u32, change: impl FnOnce(&mut Route)) -> Route {
    let rank = Rank { listed, ..Rank::default() };
    let mut made = route(RuleId::new("shop", name), name, rank, host("*.test"), path("/a*"));
    change(&mut made);
    made
}

fn explain(port: u16, host_name: &str) -> Explanation {
    let one = ValueMatch::Exact("1".into());
    let header = HeaderMatch { name: HeaderName::from_static("x-a"), value: one.clone() };
    let routes = vec![
        named("later", 7, |_| {}),
        named("host", 0, |route| route.host = host("b.test")),
        named("path", 1, |route| route.path = path("/b")),
        named("method", 2, |route| route.method = Some(Method::POST)),
        named("header", 3, |route| route.headers = vec![header]),
        named("query", 4, |route| route.queries = vec![("q".into(), one)]),
        named("winner", 5, |_| {}),
    ];
    let config = config(vec![
        listener("basic", 80, &[], Vec::new()),
        listener("elsewhere", 81, &[], Vec::new()),
        listener("other", 80, &["*.example.com"], Vec::new()),
        listener("wild", 80, &["*.test"], routes),
    ]);
    let (method, headers) = (&Method::GET, &HeaderMap::new());
    Explanation::of(&config, &RouteRequest { port, host: host_name, path: "/a/x", query: None, method, headers })
}

#[test]
fn every_listener_of_the_port_says_something() {
    let said: Vec<_> =
        explain(80, "A.test").listeners.into_iter().map(|said| (said.id.name.to_string(), said.verdict)).collect();
    let expected = [("basic", Verdict::ComesLater), ("other", Verdict::OtherHost), ("wild", Verdict::Takes)]
        .map(|(name, verdict)| (name.to_owned(), verdict));
    assert_eq!(said, expected);
    assert!(explain(82, "a.test").listeners.is_empty());
}

#[test]
fn every_route_of_the_chosen_listener_names_its_first_misfit_in_the_order_of_ranks() {
    let explanation = explain(80, "A.test");
    let said: Vec<_> =
        explanation.routes.iter().map(|said| (&*said.route.rule.name, said.verdict.to_string())).collect();
    let expected = [
        ("host", "does not take this host"),
        ("path", "does not take this path"),
        ("method", "does not take this method"),
        ("header", "does not take these headers"),
        ("query", "does not take this query"),
        ("winner", "takes the request"),
        ("later", "would take it, but comes later"),
    ]
    .map(|(name, verdict)| (name, verdict.to_owned()));
    assert_eq!(said, expected);
    assert_eq!(&*explanation.winner().expect("a winner").rule.name, "winner");
}

#[test]
fn without_a_listener_or_route_there_is_no_winner() {
    let explanation = explain(80, "a.other");
    assert!(explanation.routes.is_empty() && explanation.winner().is_none());
    assert_eq!(explanation.listeners[0].verdict, Verdict::Takes);
    assert!(explain(82, "a.test").winner().is_none());
}
