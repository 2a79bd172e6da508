//! "Rules with `priority`: one block each, lowest number first (equal: exact host before wildcard before none, then
//! oldest, then namespace/name): its paths in the listed order, first match wins, then its default."

use crate::support::{RULE, Rule, answer};

const FIRST: Rule = Rule { name: "first", priority: Some(1), ..RULE };
const SECOND: Rule = Rule { name: "second", priority: Some(2), ..RULE };

#[test]
fn paths_go_in_the_listed_order() {
    let rules = [Rule { paths: &["/a*", "/a/b", "/a/b*", "/c"], default: true, ..FIRST }];
    assert_eq!(answer(&rules, "x.test", "/a/b"), "first /a*");
    assert_eq!(answer(&rules, "x.test", "/A/B/c"), "first /a*");
    assert_eq!(answer(&rules, "x.test", "/C"), "first /c");
    assert_eq!(answer(&rules, "x.test", "/d"), "first default");
}

#[test]
fn the_lowest_number_goes_first_whatever_is_more_specific() {
    let rules = [
        Rule { hosts: &["a.test"], paths: &["/a/b/c"], created: 1, ..SECOND },
        Rule { hosts: &["*.test"], paths: &["/a*"], created: 9, ..FIRST },
    ];
    assert_eq!(answer(&rules, "a.test", "/a/b/c"), "first /a*");
}

#[test]
fn a_rule_with_a_default_takes_every_request_for_its_hosts() {
    let rules = [
        Rule { hosts: &["*.test"], paths: &["/a"], default: true, ..FIRST },
        Rule { hosts: &["a.test"], paths: &["/b"], ..SECOND },
    ];
    assert_eq!(answer(&rules, "a.test", "/b"), "first default");
    assert_eq!(answer(&rules, "a.other", "/b"), "");
}

#[test]
fn a_rule_none_of_whose_paths_fits_leaves_the_request_to_the_next() {
    let rules = [Rule { paths: &["/a"], ..FIRST }, Rule { paths: &["/b"], ..SECOND }, Rule { default: true, ..RULE }];
    assert_eq!(answer(&rules, "a.test", "/a"), "first /a");
    assert_eq!(answer(&rules, "a.test", "/b"), "second /b");
    assert_eq!(answer(&rules, "a.test", "/c"), "rule default");
    assert_eq!(answer(&rules[..2], "a.test", "/c"), "");
}

#[test]
fn any_priority_goes_before_none() {
    let rules = [
        Rule { hosts: &["a.test"], paths: &["/a"], ..RULE },
        Rule { name: "last", priority: Some(20_000), hosts: &["*.test"], default: true, created: 9, ..RULE },
    ];
    assert_eq!(answer(&rules, "a.test", "/a"), "last default");
}

#[test]
fn of_equal_numbers_exact_goes_before_wildcard_before_none() {
    let exact = Rule { name: "exact", hosts: &["a.test"], default: true, created: 3, ..FIRST };
    let wildcard = Rule { name: "wildcard", hosts: &["*.test"], default: true, created: 2, ..FIRST };
    let none = Rule { name: "none", default: true, created: 1, ..FIRST };
    let rules = [none, wildcard, exact];
    assert_eq!(answer(&rules, "a.test", "/"), "exact default");
    assert_eq!(answer(&rules, "b.test", "/"), "wildcard default");
    assert_eq!(answer(&rules, "b.other", "/"), "none default");
}

#[test]
fn of_equal_numbers_the_length_of_a_wildcard_does_not_count_but_age() {
    let long = Rule { name: "long", hosts: &["*.a.test"], default: true, created: 2, ..FIRST };
    let short = Rule { name: "short", hosts: &["*.test"], default: true, created: 1, ..FIRST };
    assert_eq!(answer(&[long, short], "x.a.test", "/"), "short default");
}

#[test]
fn of_equal_numbers_the_oldest_is_one_block_before_the_younger() {
    let old = Rule { name: "z-old", paths: &["/a*"], created: 1, ..FIRST };
    let young = Rule { name: "young", paths: &["/a/b", "/c"], default: true, created: 2, ..FIRST };
    let rules = [young, old];
    assert_eq!(answer(&rules, "a.test", "/a/b"), "z-old /a*");
    assert_eq!(answer(&rules, "a.test", "/c"), "young /c");
    assert_eq!(answer(&rules, "a.test", "/"), "young default");
}

#[test]
fn of_equal_numbers_and_age_namespace_then_name_decide() {
    let rule = |namespace, name| Rule { namespace, name, default: true, ..FIRST };
    assert_eq!(answer(&[rule("b", "a"), rule("a", "z")], "a.test", "/"), "z default");
    assert_eq!(answer(&[rule("a", "z"), rule("a", "y")], "a.test", "/"), "y default");
    // Part by part: `a-b/x` comes after `a/x` although `-` sorts before `/`.
    assert_eq!(answer(&[rule("a-b", "later"), rule("a", "x")], "a.test", "/"), "x default");
}
