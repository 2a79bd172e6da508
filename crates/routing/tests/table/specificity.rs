//! "Rules without `priority`: after all that have one: merged by host (exact, longest wildcard, none), most specific path
//! first (exact, then longest), defaults last; ties to the oldest, then namespace/name, then listed order."

use crate::support::{RULE, Rule, answer};

const A: Rule = Rule { name: "a", ..RULE };
const B: Rule = Rule { name: "b", ..RULE };
const C: Rule = Rule { name: "c", ..RULE };

#[test]
fn exact_hosts_go_before_the_longest_wildcard_before_none() {
    let rules = [
        Rule { default: true, ..A },
        Rule { hosts: &["*.test"], default: true, ..B },
        Rule { hosts: &["*.a.test"], default: true, ..C },
        Rule { name: "d", hosts: &["x.a.test"], default: true, created: 9, ..RULE },
    ];
    assert_eq!(answer(&rules, "x.a.test", "/"), "d default");
    assert_eq!(answer(&rules, "y.a.test", "/"), "c default");
    assert_eq!(answer(&rules, "a.test", "/"), "b default");
    assert_eq!(answer(&rules, "test", "/"), "a default");
}

#[test]
fn a_better_host_goes_before_a_better_path() {
    let rules = [Rule { hosts: &["*.test"], paths: &["/a/b"], ..A }, Rule { hosts: &["x.test"], default: true, ..B }];
    assert_eq!(answer(&rules, "x.test", "/a/b"), "b default");
}

#[test]
fn where_the_better_host_has_no_path_that_fits_the_next_is_asked() {
    let rules = [
        Rule { hosts: &["x.test"], paths: &["/a"], ..A },
        Rule { hosts: &["*.test"], paths: &["/b"], ..B },
        Rule { paths: &["/c"], ..C },
    ];
    for (path, taker) in [("/a", "a /a"), ("/b", "b /b"), ("/c", "c /c"), ("/d", "")] {
        assert_eq!(answer(&rules, "x.test", path), taker);
    }
}

#[test]
fn exact_paths_go_first_then_the_longest_then_defaults() {
    let rules =
        [Rule { paths: &["/*", "/a*", "/a/b*", "/a/b/c"], created: 9, ..A }, Rule { default: true, created: 1, ..B }];
    for (path, taker) in [("/a/b/c", "a /a/b/c"), ("/a/b/cd", "a /a/b*"), ("/a/x", "a /a*"), ("/x", "a /*")] {
        assert_eq!(answer(&rules, "x.test", path), taker);
    }
    let short = [Rule { paths: &["/a/bcdef*"], ..A }, Rule { paths: &["/a/bcdefg"], created: 9, ..B }];
    assert_eq!(answer(&short, "x.test", "/a/bcdefg"), "b /a/bcdefg");
}

#[test]
fn teams_share_a_host() {
    let rules = [
        Rule { namespace: "team-b", hosts: &["x.test"], paths: &["/api/v2*"], default: true, ..B },
        Rule { namespace: "team-a", hosts: &["x.test"], paths: &["/api*"], ..A },
    ];
    assert_eq!(answer(&rules, "x.test", "/api/v2/x"), "b /api/v2*");
    assert_eq!(answer(&rules, "x.test", "/api/v1/x"), "a /api*");
    assert_eq!(answer(&rules, "x.test", "/"), "b default");
}

#[test]
fn ties_go_to_the_oldest_then_namespace_and_name_then_the_listed_order() {
    let rule = |namespace, name, created| Rule { namespace, name, created, paths: &["/p*"], ..RULE };
    assert_eq!(answer(&[rule("a", "a", 2), rule("b", "b", 1)], "x.test", "/p"), "b /p*");
    assert_eq!(answer(&[rule("b", "a", 1), rule("a", "b", 1)], "x.test", "/p"), "b /p*");
    assert_eq!(answer(&[rule("a", "b", 1), rule("a", "a", 1)], "x.test", "/p"), "a /p*");
    assert_eq!(answer(&[Rule { paths: &["/P*", "/p*"], ..A }], "x.test", "/p"), "a /P*");
}
