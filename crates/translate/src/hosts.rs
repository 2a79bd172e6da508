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
pub(crate) struct Owners(BTreeMap<HostPattern, Arc<str>>);

impl Owners {
    /// The namespace that owns a host; the first to ask becomes the owner.
    pub(crate) fn claim(&mut self, host: &HostPattern, namespace: &Arc<str>) -> &Arc<str> {
        self.0.entry(host.clone()).or_insert_with(|| Arc::clone(namespace))
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
        fn an_exact_host_that_both_take_is_taken(listener in prop::collection::vec(pattern(), 0..4), rule in prop::collection::vec("[ab]\\.[ab]", 0..4), host in "[ab]\\.[ab]") {
            let rule: Vec<_> = rule.iter().map(|text| HostPattern::parse(text).expect("a name")).collect();
            let both = (listener.is_empty() || listener.iter().any(|p| p.matches(&host)))
                && (rule.is_empty() || rule.iter().any(|p| p.matches(&host)));
            prop_assert_eq!(both, narrow(&listener, &rule).iter().any(|p| p.matches(&host)));
        }
    }
}
