//! Tests of path conditions.

use super::*;

fn exact(path: &str, case_sensitive: bool) -> PathMatch {
    PathMatch::Exact { path: path.into(), case_sensitive }
}

fn prefix(prefix: &str, case_sensitive: bool) -> PathMatch {
    PathMatch::Prefix { prefix: prefix.into(), case_sensitive }
}

fn segments(prefix: &str, case_sensitive: bool) -> PathMatch {
    PathMatch::SegmentPrefix { prefix: prefix.into(), case_sensitive }
}

fn regex(source: &str) -> PathMatch {
    PathMatch::Regex(Pattern::parse(source).expect(source))
}

#[test]
fn every_condition_takes_what_it_says() {
    for (condition, takes, leaves) in [
        (PathMatch::Any, vec!["/", "/a", ""], vec![]),
        (exact("/Docs", false), vec!["/docs", "/DOCS"], vec!["/docs/", "/doc", "/docs2", "/"]),
        (exact("/Docs", true), vec!["/Docs"], vec!["/docs", "/Docs/"]),
        (prefix("/images", false), vec!["/images", "/IMAGES/a", "/images2"], vec!["/image", "/a/images"]),
        (prefix("/images/", true), vec!["/images/", "/images/a"], vec!["/images", "/Images/"]),
        (prefix("/é", false), vec!["/é", "/éa"], vec!["/É", "/e"]),
        (segments("/images", true), vec!["/images", "/images/", "/images/a"], vec!["/images2", "/Images", "/"]),
        (segments("/images", false), vec!["/Images/a"], vec!["/Images2"]),
        (segments("", true), vec!["/", "/a"], vec!["a"]),
        (regex("/a+"), vec!["/a", "/aa"], vec!["/ab", "b/a", "/A"]),
        (regex("(?i)/a|/b"), vec!["/A", "/b"], vec!["/ab", "/bb"]),
        (regex("/v[0-9]/.*"), vec!["/v1/", "/v2/x"], vec!["/v1", "/x/v1/"]),
    ] {
        takes.iter().for_each(|path| assert!(condition.matches(path), "{condition} takes {path}"));
        leaves.iter().for_each(|path| assert!(!condition.matches(path), "{condition} leaves {path}"));
    }
}

#[test]
fn a_pattern_cannot_leave_its_anchors() {
    for source in ["/a)|(?:/b", "/a)|(/b", "(", "a)", "*"] {
        assert!(Pattern::parse(source).is_err(), "{source}");
    }
}

#[test]
fn patterns_compare_by_source() {
    assert_eq!(Pattern::parse("a.*").unwrap(), Pattern::parse("a.*").unwrap());
    assert_ne!(Pattern::parse("a.*").unwrap(), Pattern::parse("a.+").unwrap());
    assert_eq!(Pattern::parse("a|b").unwrap().as_str(), "^(?:a|b)$");
}

#[test]
fn the_literal_prefix_is_what_every_path_starts_with() {
    for (condition, literal) in [
        (PathMatch::Any, ""),
        (regex("/a.*"), ""),
        (exact("/a", true), "/a"),
        (prefix("/a/", true), "/a/"),
        (segments("/a", true), "/a"),
    ] {
        assert_eq!(condition.literal_prefix(), literal);
    }
}

#[test]
fn conditions_are_shown_as_users_write_them() {
    let shown: Vec<String> = [PathMatch::Any, exact("/a", true), prefix("/a", true), segments("/a", true), regex("/a")]
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(shown, ["any path", "/a", "/a*", "/a/*", "~^(?:/a)$"]);
}
