//! Properties of hosts and patterns.

use proptest::prelude::*;

use super::*;

fn pattern() -> impl Strategy<Value = HostPattern> {
    let label = prop::sample::select(vec!["a", "b", "ab", "*", "?", "**", "a*", "*b", "a?", "?*", "-"]);
    prop::collection::vec(label, 1..4).prop_filter_map("a pattern", |labels| HostPattern::parse(&labels.join(".")).ok())
}

fn host() -> impl Strategy<Value = String> {
    prop::collection::vec("[abAB-]{1,2}", 1..4).prop_map(|labels| labels.join("."))
}

/// A pattern and a host that may be made from it.
fn pattern_with_host() -> impl Strategy<Value = (HostPattern, String)> {
    (pattern(), prop::collection::vec("[aB.]{0,3}", 8)).prop_map(|(pattern, runs)| {
        let mut runs = runs.into_iter().cycle();
        let made = pattern.to_string().chars().fold(String::new(), |made, c| match c {
            '*' => made + &runs.next().unwrap_or_default(),
            '?' => made + "a",
            other => made + &other.to_string(),
        });
        (pattern, made)
    })
}

/// Wildcards as a regular expression.
fn takes(pattern: &HostPattern, host: &str) -> bool {
    let front = matches!(pattern, HostPattern::Suffix(_));
    let source: String = pattern
        .to_string()
        .chars()
        .enumerate()
        .map(|(at, c)| match c {
            '*' if front && at == 0 => ".+".into(),
            '*' => ".*".into(),
            '?' => ".".into(),
            other => regex::escape(&other.to_string()),
        })
        .collect();
    regex::Regex::new(&format!("(?is)^{source}$")).expect("an expression").is_match(host)
}

proptest! {
    #[test]
    fn a_pattern_takes_what_its_expression_takes((pattern, made) in pattern_with_host(), host in host()) {
        prop_assert_eq!(pattern.matches(&made), takes(&pattern, &made), "{} {}", pattern, made);
        prop_assert_eq!(pattern.matches(&host), takes(&pattern, &host), "{} {}", pattern, host);
    }

    #[test]
    fn who_covers_a_pattern_takes_its_hosts(wide in pattern(), (narrow, made) in pattern_with_host(), host in host()) {
        prop_assert!(narrow.covers(&narrow));
        if wide.covers(&narrow) {
            for host in [made, host] {
                prop_assert!(!narrow.matches(&host) || wide.matches(&host), "{wide} {narrow} {host}");
            }
        }
    }

    #[test]
    fn covering_and_matching_agree_on_names(wide in pattern(), host in host()) {
        let exact = HostPattern::parse(&host).expect("a name");
        prop_assert_eq!(wide.covers(&exact), wide.matches(&host));
    }

    #[test]
    fn the_order_is_total_and_agrees_with_equality(a in pattern(), b in pattern(), c in pattern()) {
        prop_assert_eq!(a.cmp(&b), b.cmp(&a).reverse());
        prop_assert_eq!(a == b, a.cmp(&b).is_eq());
        if a <= b && b <= c {
            prop_assert!(a <= c);
        }
        if a.specificity() < b.specificity() {
            prop_assert!(a < b);
        }
    }

    #[test]
    fn patterns_survive_being_shown(pattern in pattern()) {
        prop_assert_eq!(HostPattern::parse(&pattern.to_string()).expect("a pattern"), pattern);
    }

    #[test]
    fn no_authority_makes_it_panic_and_what_it_takes_it_takes_again(text in "[a.\\[\\]:0-9*+ü-]{0,12}") {
        if let Ok(host) = Host::parse(&text).map(Host::as_str) {
            prop_assert!(text.contains(host));
            let again = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
            prop_assert_eq!(Host::parse(&again).map(Host::as_str), Ok(host));
        }
    }
}
