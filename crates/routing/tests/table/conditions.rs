//! Conditions beyond host and path: methods, headers, queries.

use http::{HeaderMap, HeaderName, HeaderValue, Method};
use penstock_model::{Config, HeaderMatch, Pattern, Route, RuleId, ValueMatch};
use penstock_routing::{RouteRequest, RouteTable};

use crate::support::{config, host, listener, path, route};

fn exact(text: &str) -> ValueMatch {
    ValueMatch::Exact(text.into())
}

fn regex(source: &str) -> ValueMatch {
    ValueMatch::Regex(Pattern::parse(source).expect(source))
}

/// One listener with one route.
fn one(change: impl FnOnce(&mut Route)) -> Config {
    let mut only = route(RuleId::new("shop", "only"), "only", Default::default(), host("*"), path("/*"));
    change(&mut only);
    config(vec![listener("http", 80, &[], vec![only])])
}

fn takes(config: &Config, method: &Method, query: Option<&str>, lines: &[(&'static str, &[u8])]) -> bool {
    let mut headers = HeaderMap::new();
    for (name, value) in lines {
        headers.append(HeaderName::from_static(name), HeaderValue::from_bytes(value).expect("a value"));
    }
    let request = RouteRequest { port: 80, host: "a.test", path: "/x", query, method, headers: &headers };
    RouteTable::compile(config, &RouteTable::default(), |_, _| ()).find(&request).is_ok()
}

#[test]
fn a_method_is_one_of_its_kind() {
    let config = one(|route| route.method = Some(Method::POST));
    assert!(takes(&config, &Method::POST, None, &[]));
    assert!(!takes(&config, &Method::GET, None, &[]));
    assert!(!takes(&config, &Method::from_bytes(b"post").expect("a token"), None, &[]), "methods have case");
    assert!(takes(&one(|_| {}), &Method::PATCH, None, &[]));
}

#[test]
fn every_header_condition_must_fit() {
    let header = |name, value| HeaderMatch { name: HeaderName::from_static(name), value };
    let config = one(|route| route.headers = vec![header("x-a", exact("1")), header("x-b", regex("[12],?"))]);
    let get = |lines: &[(&'static str, &[u8])]| takes(&config, &Method::GET, None, lines);
    assert!(get(&[("x-a", b"1"), ("x-b", b"2"), ("x-c", b"3")]));
    assert!(!get(&[("x-a", b"1")]));
    assert!(!get(&[("x-a", b"1"), ("x-b", b"3")]));
    assert!(!get(&[("x-a", b"11"), ("x-b", b"2")]));
    assert!(!get(&[("x-a", b"1"), ("x-b", b"22")]), "an expression is on the whole value");
    assert!(!get(&[("x-a", b"\xff"), ("x-b", b"2")]));
}

#[test]
fn several_lines_of_a_header_are_one_value() {
    // RFC 9110 5.3.
    let config =
        one(|route| route.headers = vec![HeaderMatch { name: HeaderName::from_static("x-a"), value: exact("1,2") }]);
    let get = |lines: &[(&'static str, &[u8])]| takes(&config, &Method::GET, None, lines);
    assert!(get(&[("x-a", b"1,2")]));
    assert!(get(&[("x-a", b"1"), ("x-a", b"2")]));
    assert!(!get(&[("x-a", b"2"), ("x-a", b"1")]));
    assert!(!get(&[("x-a", b"1"), ("x-a", b"2"), ("x-a", b"3")]));
    assert!(!get(&[("x-a", b"1"), ("x-a", b"\xff")]));
}

#[test]
fn a_query_parameter_is_compared_after_decoding() {
    for (wanted, query, fits) in [
        (exact("1"), "q=1", true),
        (exact("1"), "p=2&q=1&r=3", true),
        (exact("1"), "Q=1", false),
        (exact("1"), "q=12", false),
        (exact("1"), "p=1", false),
        (exact("1"), "", false),
        (exact(""), "q", true),
        (exact(""), "q=", true),
        (exact("a b"), "q=a+b", true),
        (exact("a b"), "q=a%20b", true),
        (exact("a+b"), "q=a%2bb", true),
        (exact("é=&"), "%71=%C3%A9=%26", true),
        (exact("a=b"), "q=a=b", true),
        // What is no escape stays as it is.
        (exact("%"), "q=%", true),
        (exact("%4"), "q=%4", true),
        (exact("%zz"), "q=%zz", true),
        (exact("% 1"), "q=%+1", true),
        (exact("\u{fffd}"), "q=%ff", true),
        (regex("[0-9]+"), "q=12", true),
        (regex("[0-9]+"), "q=12x", false),
    ] {
        let config = one(|route| route.queries = vec![("q".into(), wanted.clone())]);
        assert_eq!(takes(&config, &Method::GET, Some(query), &[]), fits, "{query} for {wanted:?}");
    }
}

#[test]
fn the_first_parameter_of_a_name_counts() {
    let config = one(|route| route.queries = vec![("q".into(), exact("1"))]);
    assert!(takes(&config, &Method::GET, Some("q=1&q=2"), &[]));
    assert!(!takes(&config, &Method::GET, Some("q=2&q=1"), &[]));
    assert!(!takes(&config, &Method::GET, None, &[]));
}

#[test]
fn every_query_condition_must_fit() {
    let config = one(|route| route.queries = vec![("q".into(), exact("1")), ("r".into(), exact("2"))]);
    assert!(takes(&config, &Method::GET, Some("r=2&q=1"), &[]));
    assert!(!takes(&config, &Method::GET, Some("q=1"), &[]));
}
