//! Which hosts a rule takes of a listener, and whose a host is where namespaces do not share.

use std::collections::BTreeMap;
use std::sync::Arc;

use penstock_model::HostPattern;

/// The hosts that a rule takes of a listener: the rule's where the listener's cover them, the listener's where the
/// rule's wildcard covers those. No hosts mean any, on both sides.
pub(crate) fn narrow(listener: &[HostPattern], rule: &[HostPattern]) -> Vec<HostPattern> {
    let any = [HostPattern::Any];
    let listener = if listener.is_empty() { &any } else { listener };
    let rule = if rule.is_empty() { &any } else { rule };
    let mut hosts: Vec<HostPattern> = Vec::new();
    for wanted in rule {
        for offered in listener {
            let Some(host) = common(offered, wanted) else { continue };
            if !hosts.contains(host) {
                hosts.push(host.clone());
            }
        }
    }
    hosts.shrink_to_fit();
    hosts
}

/// The narrower of two patterns of which one covers the other.
pub(crate) fn common<'a>(offered: &'a HostPattern, wanted: &'a HostPattern) -> Option<&'a HostPattern> {
    if offered.covers(wanted) {
        Some(wanted)
    } else if wanted.covers(offered) {
        Some(offered)
    } else {
        None
    }
}

/// Who owns which host where `allowedRules.hosts` is FirstNamespace: ask in the order of age.
#[derive(Debug, Default)]
pub(crate) struct Owners {
    owned: BTreeMap<HostPattern, Arc<str>>,
    /// Those among them with wildcards inside, which no other pattern leads to.
    globs: Vec<HostPattern>,
}

/// Whose a host is, and by which pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Owner {
    pub(crate) namespace: Arc<str>,
    pub(crate) pattern: HostPattern,
}

impl Owners {
    /// Claims a host for a namespace. It belongs to the namespace of the narrowest pattern claimed so far that covers it,
    /// so one that owns `*.example.com` owns what is below, but for what others had before; else to the one that asks.
    pub(crate) fn claim(&mut self, host: &HostPattern, namespace: &Arc<str>) -> Owner {
        if let Some((pattern, owner)) = self.covering(host)
            && owner != namespace
        {
            return Owner { namespace: Arc::clone(owner), pattern: pattern.clone() };
        }
        let owner = Owner { namespace: Arc::clone(namespace), pattern: host.clone() };
        if self.owned.insert(host.clone(), Arc::clone(namespace)).is_none() && matches!(host, HostPattern::Glob(_)) {
            self.globs.push(host.clone());
        }
        owner
    }

    /// The narrowest pattern that covers a host. Looked up by the host's own labels, not among all that there are: these
    /// are thousands where every tenant has some.
    fn covering(&self, host: &HostPattern) -> Option<(&HostPattern, &Arc<str>)> {
        let text = host.to_string();
        let dots = text.match_indices('.').map(|(at, _)| HostPattern::parse(&format!("*{}", &text[at..])));
        let wider = dots.flatten().chain([host.clone(), HostPattern::Any]);
        let found = wider.filter_map(|pattern| self.owned.get_key_value(&pattern));
        let globs = self.globs.iter().filter_map(|glob| self.owned.get_key_value(glob));
        found.chain(globs).filter(|(pattern, _)| pattern.covers(host)).max_by_key(|(pattern, _)| *pattern)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn hosts(texts: &[&str]) -> Vec<HostPattern> {
        texts.iter().map(|text| HostPattern::parse(text).expect(text)).collect()
    }

    #[test]
    fn a_rule_without_hosts_takes_all_of_the_listener() {
        assert_eq!(
            narrow(&hosts(&["a.example.com", "*.b.example.com"]), &[]),
            hosts(&["a.example.com", "*.b.example.com"])
        );
        assert_eq!(narrow(&[], &[]), [HostPattern::Any]);
    }

    #[test]
    fn the_narrower_of_both_is_taken() {
        assert_eq!(narrow(&hosts(&["*.example.com"]), &hosts(&["a.example.com"])), hosts(&["a.example.com"]));
        assert_eq!(narrow(&hosts(&["a.example.com"]), &hosts(&["*.example.com"])), hosts(&["a.example.com"]));
        assert_eq!(narrow(&hosts(&["*.example.com"]), &hosts(&["example.com"])), hosts(&[]));
        assert_eq!(narrow(&hosts(&["a.test", "b.test"]), &hosts(&["B.test.", "c.test"])), hosts(&["b.test"]));
    }

    /// Claims these in turn, and says whose each is.
    fn claimed(claims: &[(&str, &str)]) -> Vec<String> {
        let mut owners = Owners::default();
        let claim = |(namespace, host): &(&str, &str)| {
            let owner = owners.claim(&HostPattern::parse(host).expect(host), &Arc::from(*namespace));
            format!("{} by {}", owner.namespace, owner.pattern)
        };
        claims.iter().map(claim).collect()
    }

    #[test]
    fn a_wildcard_owns_what_is_below_but_for_what_was_there_before() {
        let claims = [
            ("b", "old.example.com"),
            ("a", "*.example.com"),
            ("b", "new.example.com"),
            ("b", "*.new.example.com"),
            ("b", "shop-?.example.com"),
            ("b", "old.example.com"),
            ("a", "old.example.com"),
            ("b", "example.com"),
            ("a", "a.b.example.com"),
        ];
        assert_eq!(
            claimed(&claims),
            [
                "b by old.example.com",
                "a by *.example.com",
                "a by *.example.com",
                "a by *.example.com",
                "a by *.example.com",
                "b by old.example.com",
                "b by old.example.com",
                "b by example.com",
                "a by a.b.example.com",
            ]
        );
        let claims = [
            ("a", "shop-*.example.*"),
            ("b", "shop-1.example.com"),
            ("b", "*"),
            ("c", "c.test"),
            ("a", "shop-2.example.com"),
        ];
        let owned = ["a by shop-*.example.*", "a by shop-*.example.*", "b by *", "b by *", "a by shop-2.example.com"];
        assert_eq!(claimed(&claims), owned);
    }

    fn pattern() -> impl Strategy<Value = HostPattern> {
        let label = prop::sample::select(vec!["a", "b", "*", "a?", "x*"]);
        prop::collection::vec(label, 1..4)
            .prop_filter_map("a pattern", |labels| HostPattern::parse(&labels.join(".")).ok())
    }

    proptest! {
        #[test]
        fn what_is_taken_is_covered_by_both(listener in prop::collection::vec(pattern(), 0..4), rule in prop::collection::vec(pattern(), 0..4)) {
            for host in narrow(&listener, &rule) {
                prop_assert!(listener.is_empty() || listener.iter().any(|offered| offered.covers(&host)));
                prop_assert!(rule.is_empty() || rule.iter().any(|wanted| wanted.covers(&host)));
            }
        }

        #[test]
        fn the_owner_is_that_of_the_narrowest_pattern_that_covers(claims in prop::collection::vec((0..3usize, pattern()), 1..8)) {
            let mut owners = Owners::default();
            let mut known: Vec<(HostPattern, &str)> = Vec::new();
            for (namespace, host) in claims {
                let namespace = ["a", "b", "c"][namespace];
                let covering = known.iter().filter(|(pattern, _)| pattern.covers(&host)).max_by_key(|(pattern, _)| pattern);
                let expected = covering.map_or(namespace, |(_, owner)| owner);
                prop_assert_eq!(&*owners.claim(&host, &namespace.into()).namespace, expected);
                if expected == namespace && !known.iter().any(|(pattern, _)| *pattern == host) {
                    known.push((host, namespace));
                }
            }
        }

        #[test]
        fn an_exact_host_that_both_take_is_taken(listener in prop::collection::vec(pattern(), 0..4), rule in prop::collection::vec("[ab]\\.[ab]", 0..4), host in "[ab]\\.[ab]") {
            let rule: Vec<_> = rule.iter().map(|text| HostPattern::parse(text).expect("a name")).collect();
            let both = (listener.is_empty() || listener.iter().any(|p| p.matches(&host)))
                && (rule.is_empty() || rule.iter().any(|p| p.matches(&host)));
            prop_assert_eq!(both, narrow(&listener, &rule).iter().any(|p| p.matches(&host)));
        }
    }
}
