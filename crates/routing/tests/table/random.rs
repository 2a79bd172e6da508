//! Random configurations and requests over small alphabets, so that hosts and paths meet.

use std::cmp::Reverse;

use http::{HeaderMap, HeaderName, HeaderValue, Method};
use penstock_model::rank::ObjectName;
use penstock_model::{Config, HeaderMatch, HostPattern, PathMatch, Pattern, Rank, Route, RuleId, ValueMatch};
use penstock_routing::RouteRequest;
use proptest::prelude::*;

use crate::support::{config, host, listener, route};

pub(crate) fn host_pattern() -> impl Strategy<Value = HostPattern> {
    let texts = vec![
        "*",
        "test",
        "a.test",
        "b.a.test",
        "c.b.a.test",
        "*.test",
        "*.a.test",
        "*.b.a.test",
        "?.test",
        "*a.test",
        "b.*.test",
        "*.?.test",
        "a*",
        "**.test",
        "*?test",
        "*test",
        "?.a.test",
        "*-test",
    ];
    prop::sample::select(texts).prop_map(host)
}

fn path_text() -> impl Strategy<Value = String> {
    let pieces = vec!["/", "/a", "/A", "/b", "/ab", "/aB", "x", "é", "/%2F"];
    prop::collection::vec(prop::sample::select(pieces), 0..4).prop_map(|pieces| format!("/{}", pieces.concat()))
}

fn path() -> impl Strategy<Value = PathMatch> {
    let expression = prop::sample::select(vec!["/.*", "/a.*", "(?i)//A/b.*", ".*x", "//(a|b)+", ".*é"]);
    prop_oneof![
        1 => Just(PathMatch::Any),
        3 => (path_text(), any::<bool>()).prop_map(|(path, case_sensitive)| PathMatch::Exact { path: path.into(), case_sensitive }),
        3 => (path_text(), any::<bool>()).prop_map(|(path, case_sensitive)| PathMatch::Prefix { prefix: path.into(), case_sensitive }),
        3 => (path_text(), any::<bool>()).prop_map(|(path, case_sensitive)| PathMatch::SegmentPrefix {
            prefix: path.trim_end_matches('/').into(),
            case_sensitive,
        }),
        1 => expression.prop_map(|source| PathMatch::Regex(Pattern::parse(source).expect(source))),
    ]
}

fn value() -> impl Strategy<Value = ValueMatch> {
    prop_oneof![
        prop::sample::select(vec!["1", "2", "1,2"]).prop_map(|text| ValueMatch::Exact(text.into())),
        Just(ValueMatch::Regex(Pattern::parse("[12]").expect("an expression"))),
    ]
}

fn rank() -> impl Strategy<Value = Rank> {
    let varied = (0_u32..3, (0_u8..3, 0_usize..2), (0_u8..3, 0_usize..3), 0_i64..2, 0_u32..3).prop_map(
        |(priority, host, path, created, listed)| Rank {
            priority,
            host: Reverse(host),
            path: Reverse(path),
            created,
            object: ObjectName::default(),
            listed,
            ..Rank::default()
        },
    );
    // Ties, too: a rule with a priority and two wildcards makes them.
    prop_oneof![1 => Just(Rank::default()), 3 => varied]
}

fn method() -> impl Strategy<Value = Method> {
    prop::sample::select(vec![Method::GET, Method::POST])
}

fn header_name() -> impl Strategy<Value = HeaderName> {
    prop::sample::select(vec![HeaderName::from_static("x-a"), HeaderName::from_static("x-b")])
}

pub(crate) fn any_route() -> impl Strategy<Value = Route> {
    let headers =
        prop::collection::vec((header_name(), value()).prop_map(|(name, value)| HeaderMatch { name, value }), 0..2);
    let queries = prop::collection::vec(("[qr]".prop_map(|name: String| name.as_str().into()), value()), 0..2);
    // Most routes ask for nothing but host and path, or hardly any would take a request.
    let more = prop_oneof![3 => Just((None, vec![], vec![])), 1 => (prop::option::of(method()), headers, queries)];
    (host_pattern(), path(), rank(), more).prop_map(|(host, path, rank, (method, headers, queries))| Route {
        method,
        headers,
        queries,
        ..route(RuleId::new("ns", "rule"), "", rank, host, path)
    })
}

/// Up to four listeners on two ports; every route has a name of its own.
pub(crate) fn any_config() -> impl Strategy<Value = Config> {
    let hosts = prop::collection::vec(host_pattern(), 0..3);
    let one = (80_u16..82, hosts, prop::collection::vec(any_route(), 0..24));
    prop::collection::vec(one, 1..5).prop_map(|listeners| {
        let mut count = 0;
        let mut named = |mut route: Route| {
            count += 1;
            route.rule = RuleId::new("ns", format!("rule-{count}"));
            route
        };
        let made = listeners.into_iter().zip('a'..).map(|((port, hosts, routes), name)| {
            let routes = routes.into_iter().map(&mut named).collect();
            let mut made = listener(&name.to_string(), port, &[], routes);
            made.hosts = hosts;
            made
        });
        config(made.collect())
    })
}

/// A request that owns its parts.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    port: u16,
    host: String,
    path: String,
    query: Option<String>,
    method: Method,
    headers: HeaderMap,
}

impl Asked {
    pub(crate) fn borrow(&self) -> RouteRequest<'_> {
        let Self { port, host, path, query, method, headers } = self;
        RouteRequest { port: *port, host, path, query: query.as_deref(), method, headers }
    }
}

pub(crate) fn any_request() -> impl Strategy<Value = Asked> {
    let host = prop_oneof![
        prop::sample::select(vec![
            "test",
            "a.test",
            "A.Test",
            "b.a.test",
            "B.a.TEST",
            "c.b.a.test",
            "b.x.test",
            "ab.test",
            "z.y.b.a.test",
            "other",
            "a.",
            ".test",
            "",
            "::1",
            "a-test",
        ])
        .prop_map(String::from),
        prop::collection::vec("[abX-]{1,2}", 0..3)
            .prop_map(|labels| [&labels[..], &["test".into()]].concat().join(".")),
    ];
    let line = (header_name(), prop::sample::select(vec!["1", "2", "3"]).prop_map(HeaderValue::from_static));
    let headers = prop::collection::vec(line, 0..4).prop_map(|lines| {
        lines.into_iter().fold(HeaderMap::new(), |mut headers, (name, value)| {
            headers.append(name, value);
            headers
        })
    });
    let query = prop::option::of("([qr]=[12](&[qr]=[12])?)?");
    (80_u16..82, host, path_text(), query, method(), headers)
        .prop_map(|(port, host, path, query, method, headers)| Asked { port, host, path, query, method, headers })
}
