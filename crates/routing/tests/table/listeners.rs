//! "Which listener takes a request: of those on the port, the one whose host fits best (exact, longest wildcard, none).
//! Rules of the others are not looked at."

use crate::support::{RULE, Rule, ask, config, listener};
use penstock_model::{Config, Listener};

fn with_default(name: &'static str, port: u16, hosts: &[&str]) -> Listener {
    let rule = Rule { name, default: true, ..RULE };
    let mut made = listener(name, port, hosts, Vec::new());
    made.routes = crate::support::gateway(&[rule]).listeners[0].routes.clone();
    made
}

fn four() -> Config {
    config(vec![
        with_default("basic", 443, &[]),
        with_default("deep", 443, &["*.shop.example.com"]),
        with_default("exact", 443, &["a.shop.example.com", "example.com"]),
        with_default("wide", 443, &["*.example.com"]),
    ])
}

#[test]
fn the_host_that_fits_best_decides() {
    for (host, taker) in [
        ("a.shop.example.com", "exact"),
        ("example.com", "exact"),
        ("b.shop.example.com", "deep"),
        ("a.b.shop.example.com", "deep"),
        ("shop.example.com", "wide"),
        ("x.a.example.com", "wide"),
        ("other.test", "basic"),
        ("10.0.0.1", "basic"),
        ("2001:db8::1", "basic"),
    ] {
        assert_eq!(ask(&four(), 443, host, "/"), format!("{taker} {taker} default"), "{host}");
    }
}

#[test]
fn wildcards_elsewhere_are_as_specific_as_they_are_long() {
    let config = config(vec![
        with_default("glob", 80, &["shop-??.example.com"]),
        with_default("long", 80, &["*.very.long.example.com"]),
        with_default("short", 80, &["s*"]),
        with_default("wide", 80, &["*.example.com"]),
    ]);
    for (host, taker) in [
        ("shop-ab.example.com", "glob"),
        ("shop-abc.example.com", "wide"),
        ("shop-ab.very.long.example.com", "long"),
        ("shop.example.org", "short"),
        ("x.example.com", "wide"),
    ] {
        assert_eq!(ask(&config, 80, host, "/"), format!("{taker} {taker} default"), "{host}");
    }
}

#[test]
fn case_does_not_count() {
    assert_eq!(ask(&four(), 443, "A.Shop.EXAMPLE.com", "/"), "exact exact default");
    assert_eq!(ask(&four(), 443, "B.Shop.EXAMPLE.com", "/"), "deep deep default");
}

#[test]
fn rules_of_the_others_are_not_looked_at() {
    let mut exact = with_default("exact", 80, &["a.test"]);
    exact.routes.clear();
    let config = config(vec![with_default("basic", 80, &[]), exact]);
    assert_eq!(ask(&config, 80, "a.test", "/"), "exact");
    assert_eq!(ask(&config, 80, "b.test", "/"), "basic basic default");
}

#[test]
fn only_listeners_of_the_port_count() {
    let config = config(vec![with_default("one", 80, &["a.test"]), with_default("two", 81, &["*"])]);
    assert_eq!(ask(&config, 80, "a.test", "/"), "one one default");
    assert_eq!(ask(&config, 81, "a.test", "/"), "two two default");
    assert_eq!(ask(&config, 82, "a.test", "/"), "-");
    assert_eq!(ask(&config, 80, "b.test", "/"), "-");
}

#[test]
fn the_port_is_the_one_that_is_bound() {
    let mut moved = with_default("moved", 443, &[]);
    moved.bind_port = 10443;
    let config = config(vec![moved]);
    assert_eq!(ask(&config, 10443, "a.test", "/"), "moved moved default");
    assert_eq!(ask(&config, 443, "a.test", "/"), "-");
}

#[test]
fn a_star_is_a_basic_listener() {
    let config = config(vec![with_default("star", 80, &["*"]), with_default("wide", 80, &["*.test"])]);
    assert_eq!(ask(&config, 80, "a.test", "/"), "wide wide default");
    assert_eq!(ask(&config, 80, "test", "/"), "star star default");
}

#[test]
fn the_first_of_two_with_one_host_keeps_it() {
    let config = config(vec![with_default("one", 80, &["a.test"]), with_default("two", 80, &["a.test", "b.test"])]);
    assert_eq!(ask(&config, 80, "a.test", "/"), "one one default");
    assert_eq!(ask(&config, 80, "b.test", "/"), "two two default");
}

#[test]
fn what_is_too_long_for_a_name_has_no_listener() {
    let config = config(vec![with_default("wide", 80, &["*.test"])]);
    let labels = |count: usize| format!("{}test", "a.".repeat(count));
    assert_eq!(ask(&config, 80, &labels(124), "/"), "wide wide default");
    assert_eq!(ask(&config, 80, &labels(130), "/"), "-");
    assert_eq!(ask(&config, 80, &labels(5000), "/"), "-");
}

#[test]
fn a_server_name_finds_the_listener_that_its_requests_find() {
    let table = penstock_routing::RouteTable::compile(&four(), &Default::default(), |_, _| ());
    let name = |port, host| table.listener_for(port, host).map(|found| found.listener.id.name.to_string());
    assert_eq!(name(443, "A.shop.example.com").as_deref(), Some("exact"));
    assert_eq!(name(443, "z.shop.example.com").as_deref(), Some("deep"));
    assert_eq!(name(443, "").as_deref(), Some("basic"));
    assert_eq!(name(80, "a.shop.example.com"), None);
    let names: Vec<_> = table.listeners().map(|found| found.listener.id.name.to_string()).collect();
    assert_eq!(names, ["basic", "deep", "exact", "wide"]);
}
