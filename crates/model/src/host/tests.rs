//! Tests of hosts and host patterns: tables first, then properties over a small alphabet, so that patterns meet.

mod patterns;
mod properties;

use super::*;

fn parsed(authority: &str) -> Result<&str, HostError> {
    Host::parse(authority).map(Host::as_str)
}

#[test]
fn a_host_loses_its_port_and_one_trailing_dot() {
    for (authority, host) in [
        ("shop.example.com", "shop.example.com"),
        ("shop.example.com:8443", "shop.example.com"),
        // RFC 3986 3.2.3: the port may be empty.
        ("shop.example.com:", "shop.example.com"),
        ("shop.example.com.", "shop.example.com"),
        ("shop.example.com.:443", "shop.example.com"),
        ("localhost:65535", "localhost"),
        ("10.0.0.4:80", "10.0.0.4"),
        ("_acme.xn--bcher-kva.example", "_acme.xn--bcher-kva.example"),
    ] {
        assert_eq!(parsed(authority), Ok(host), "{authority}");
    }
}

#[test]
fn a_host_keeps_its_case_until_it_is_compared() {
    assert_eq!(parsed("Shop.Example.COM:80"), Ok("Shop.Example.COM"));
}

#[test]
fn an_ipv6_address_loses_its_brackets() {
    for (authority, host) in [
        ("[::1]", "::1"),
        ("[2001:DB8::a]:8080", "2001:DB8::a"),
        ("[::1]:", "::1"),
        ("[::ffff:10.0.0.1]:1", "::ffff:10.0.0.1"),
    ] {
        assert_eq!(parsed(authority), Ok(host), "{authority}");
    }
}

#[test]
fn what_is_no_port_is_refused() {
    for authority in [
        "a:http", "a:65536", "a:-1", "a:+80", "a: 80", "a:80:80", "::1", "[::1", "[::1]80", "[::1].", "[::1]:+1",
        "[::1]:x",
    ] {
        let refused = parsed(authority).expect_err(authority);
        assert!(matches!(refused, HostError::BadPort(_) | HostError::Empty), "{authority}: {refused:?}");
    }
}

#[test]
fn what_is_no_name_is_refused() {
    assert_eq!(parsed(""), Err(HostError::Empty));
    assert_eq!(parsed("."), Err(HostError::Empty));
    assert_eq!(parsed(":80"), Err(HostError::Empty));
    for authority in ["a..b", ".a", "a..", "[]", "[a]", "[1.2.3.4]", "[fe80::1%25eth0]"] {
        assert!(matches!(parsed(authority), Err(HostError::BadLabel(_))), "{authority}");
    }
    for (authority, character) in [
        ("user@a", '@'),
        ("a b", ' '),
        ("a/b", '/'),
        ("*.a", '*'),
        ("a?", '?'),
        ("bücher.example", 'ü'),
        ("a\0", '\0'),
        ("a%41", '%'),
    ] {
        assert_eq!(parsed(authority), Err(HostError::BadCharacter { host: authority.into(), character }));
    }
}

#[test]
fn lengths_are_those_of_rfc_1035() {
    let longest = [&"a".repeat(63), &"b".repeat(63), &"c".repeat(63), &*"d".repeat(61)].join(".");
    assert_eq!(longest.len(), 253);
    assert_eq!(parsed(&longest), Ok(&*longest));
    assert_eq!(parsed(&format!("{longest}.:80")), Ok(&*longest));
    assert_eq!(parsed(&format!("{longest}d")), Err(HostError::TooLong(254)));
    let label = "a".repeat(64);
    assert_eq!(parsed(&label), Err(HostError::BadLabel(label.clone())));
}

#[test]
fn errors_say_the_value_and_what_is_allowed() {
    let refused = Host::parse("a b").expect_err("a space");
    assert_eq!(
        refused.to_string(),
        "host name \"a b\" contains ' '; allowed are letters, digits, '-', '_', '.' and, in patterns, '*' and '?'"
    );
}
