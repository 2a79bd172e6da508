//! What patterns are, take, cover, and how they are ordered.

use super::*;

fn pattern(text: &str) -> HostPattern {
    HostPattern::parse(text).expect(text)
}

#[test]
fn patterns_are_told_apart_and_lower_cased() {
    assert_eq!(pattern("*"), HostPattern::Any);
    assert_eq!(pattern("*."), HostPattern::Any);
    assert_eq!(pattern("*.Example.com."), HostPattern::Suffix(".example.com".into()));
    assert_eq!(pattern("Shop.Example.com"), HostPattern::Exact("shop.example.com".into()));
    for glob in ["*shop.example.com", "shop.*.com", "shop-??.example.com", "*.shop.*", "*.*", "**", "?", "*.a?.com"] {
        assert_eq!(pattern(glob), HostPattern::Glob(glob.into()));
    }
}

#[test]
fn patterns_are_shown_as_written() {
    for text in ["*", "*.example.com", "shop-??.example.*", "shop.example.com"] {
        assert_eq!(pattern(text).to_string(), text);
    }
}

#[test]
fn what_is_no_pattern_is_refused() {
    assert_eq!(HostPattern::parse(""), Err(HostError::Empty));
    assert_eq!(HostPattern::parse("."), Err(HostError::Empty));
    assert!(matches!(HostPattern::parse("*..com"), Err(HostError::BadLabel(_))));
    for (text, character) in [("a:80", ':'), ("[::1]", '['), ("a/*", '/'), ("a[bc].d", '[')] {
        assert_eq!(HostPattern::parse(text), Err(HostError::BadCharacter { host: text.into(), character }));
    }
}

#[test]
fn a_name_is_compared_without_case() {
    assert!(pattern("shop.example.com").matches("SHOP.example.COM"));
    assert!(!pattern("shop.example.com").matches("shop.example.co"));
    assert!(!pattern("shop.example.com").matches("a.shop.example.com"));
}

#[test]
fn a_wildcard_in_front_takes_any_depth_but_not_the_domain_itself() {
    let wildcard = pattern("*.example.com");
    for host in ["a.example.com", "A.Example.Com", "a.b.c.example.com"] {
        assert!(wildcard.matches(host), "{host}");
    }
    for host in ["example.com", ".example.com", "aexample.com", "a.example.org", "com", ""] {
        assert!(!wildcard.matches(host), "{host}");
    }
}

#[test]
fn wildcards_stand_anywhere() {
    for (glob, takes, leaves) in [
        (
            "shop-??.example.com",
            &["shop-ab.example.com", "SHOP-12.example.com"][..],
            &["shop-a.example.com", "shop-abc.example.com"][..],
        ),
        ("shop.*.com", &["shop.a.com", "shop.a.b.com", "Shop..com"], &["shop.com", "shop.a.org"]),
        ("*shop.com", &["shop.com", "myshop.com", "a.shop.com"], &["shop.com.a"]),
        ("a*b*c", &["abc", "aXbYbZc", "abbbc"], &["ab", "acb", "abcd"]),
        ("**.x", &[".x", "a.x"], &["x"]),
        ("?.x", &["a.x"], &[".x", "ab.x"]),
    ] {
        for host in takes {
            assert!(pattern(glob).matches(host), "{glob} takes {host}");
        }
        for host in leaves {
            assert!(!pattern(glob).matches(host), "{glob} leaves {host}");
        }
    }
}

#[test]
fn only_any_takes_what_is_no_name() {
    assert!(HostPattern::Any.matches("2001:db8::1"));
    assert!(HostPattern::Any.matches(""));
    assert!(!pattern("*.db8").matches("2001:db8::1"));
}

#[test]
fn what_covers_what() {
    for (wide, narrow, covers) in [
        ("*", "*", true),
        ("*", "a?.b", true),
        ("*.b", "*", false),
        ("*.b", "*.b", true),
        ("*.b", "*.a.b", true),
        ("*.a.b", "*.b", false),
        ("*.b", "*.xb", false),
        ("*.b", "x.b", true),
        ("*.b", "b", false),
        ("*.b", "x*.b", true),
        ("*.b", "?.b", true),
        ("*.b", "**.b", false),
        ("*.b", "x*b", false),
        ("*.b", "*.?.b", true),
        ("*.b", "*.b*", false),
        ("a*.b", "ac.b", true),
        ("a*.b", "a*.b", true),
        ("a*.b", "*.b", false),
        ("a.b", "a.b", true),
        ("a.b", "?.b", false),
        ("a.b", "*.a.b", false),
    ] {
        assert_eq!(pattern(wide).covers(&pattern(narrow)), covers, "{wide} and {narrow}");
    }
}

#[test]
fn exact_fits_better_than_the_longest_wildcard_and_that_better_than_any() {
    let order = ["*", "*.b", "*.a.b", "*.long.example.com", "b", "a.b"].map(pattern);
    assert!(order.is_sorted(), "{order:?}");
}

#[test]
fn of_two_wildcards_of_one_length_the_one_in_front_fits_better() {
    for glob in ["*-com", "**com", "*?com", "a?com"] {
        assert!(pattern("*.com") > pattern(glob), "{glob}");
    }
}
