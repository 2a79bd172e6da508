//! The order of routes: "rules with priority" and "rules without priority" of the meaning table.

use std::cmp::Reverse;

use penstock_model::rank::ObjectName;
use penstock_model::{HostPattern, PathMatch, Rank};

/// What of a rule counts for the order of its routes.
#[derive(Clone, Debug)]
pub(crate) struct Standing {
    /// Its priority, where it has one.
    pub(crate) priority: Option<u32>,
    /// Its creation, in seconds since 1970.
    pub(crate) created: i64,
    /// Its name.
    pub(crate) object: ObjectName,
}

impl Standing {
    /// The rank of the route of one host and one path; `listed` is the path's position in the rule, the default's comes last.
    ///
    /// With a priority a rule is one block: of the host only its kind counts, of the path only its position. Without,
    /// rules of one host merge: the most specific host and path first.
    pub(crate) fn rank(&self, host: &HostPattern, path: &PathMatch, listed: u32) -> Rank {
        let (kind, length) = host.specificity();
        let base = Rank { created: self.created, object: self.object.clone(), listed, ..Rank::default() };
        match self.priority {
            Some(priority) => Rank { priority, host: Reverse((kind, 0)), ..base },
            None => Rank {
                priority: Rank::UNPRIORITIZED,
                host: Reverse((kind, length)),
                path: Reverse(path_specificity(path)),
                ..base
            },
        }
    }
}

/// Greater is more specific: exact, regular expression, prefix, any; then the longest.
fn path_specificity(path: &PathMatch) -> (u8, usize) {
    let length = path.literal_prefix().len();
    match path {
        PathMatch::Any => (0, 0),
        PathMatch::Prefix { .. } | PathMatch::SegmentPrefix { .. } => (1, length),
        PathMatch::Regex(pattern) => (2, pattern.as_str().len()),
        PathMatch::Exact { .. } => (3, length),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::paths;

    fn standing() -> impl Strategy<Value = Standing> {
        (prop::option::of(1_u32..4), 0_i64..3, "[ab]", "[ab]").prop_map(|(priority, created, namespace, name)| {
            Standing { priority, created, object: ObjectName(namespace.as_str().into(), name.as_str().into()) }
        })
    }

    fn host() -> impl Strategy<Value = HostPattern> {
        let texts = vec!["*", "*.example.com", "*.a.example.com", "a?.example.com", "a.example.com", "b.a.example.com"];
        prop::sample::select(texts).prop_map(|text| HostPattern::parse(text).expect("a pattern"))
    }

    fn path() -> impl Strategy<Value = PathMatch> {
        let texts = vec!["/*", "/a*", "/a/*", "/a/b/*", "/a", "/a/b"];
        prop_oneof![
            1 => Just(PathMatch::Any),
            6 => prop::sample::select(texts).prop_map(|text| paths::parse(text).expect("a pattern")),
        ]
    }

    fn any_path_rank(path: &PathMatch) -> bool {
        matches!(path, PathMatch::Any)
    }

    proptest! {
        #![proptest_config(ProptestConfig { max_global_rejects: 100_000, ..ProptestConfig::default() })]

        #[test]
        fn the_order_is_total(one in (standing(), host(), path(), 0_u32..3), two in (standing(), host(), path(), 0_u32..3)) {
            let rank = |(s, h, p, l): &(Standing, HostPattern, PathMatch, u32)| s.rank(h, p, *l);
            let (a, b) = (rank(&one), rank(&two));
            prop_assert_eq!(a.cmp(&b), b.cmp(&a).reverse());
            // Equal ranks only where no condition of the table tells the routes apart.
            if a == b {
                prop_assert_eq!(one.3, two.3);
                prop_assert_eq!(one.1.specificity().0, two.1.specificity().0);
                prop_assert_eq!(&one.0.object, &two.0.object);
            }
        }

        #[test]
        fn a_priority_goes_before_none_whatever_the_host(a in standing(), b in standing(), ha in host(), hb in host(), pa in path(), pb in path()) {
            prop_assume!(a.priority.is_some() && b.priority.is_none());
            prop_assert!(a.rank(&ha, &pa, 5) < b.rank(&hb, &pb, 0));
        }

        #[test]
        fn the_lowest_priority_goes_first_then_exact_wildcard_none(a in standing(), b in standing(), ha in host(), hb in host(), pa in path(), pb in path()) {
            let (Some(first), Some(second)) = (a.priority, b.priority) else { return Ok(()) };
            let (kind_a, kind_b) = (ha.specificity().0, hb.specificity().0);
            if first < second || first == second && kind_a > kind_b {
                prop_assert!(a.rank(&ha, &pa, 5) < b.rank(&hb, &pb, 0));
            }
        }

        #[test]
        fn paths_of_a_priority_go_as_listed(a in standing(), h in host(), pa in path(), pb in path()) {
            prop_assume!(a.priority.is_some());
            prop_assert!(a.rank(&h, &pa, 0) < a.rank(&h, &pb, 1));
        }

        #[test]
        fn without_priority_the_better_host_goes_first(a in standing(), b in standing(), ha in host(), hb in host(), pa in path(), pb in path()) {
            prop_assume!(a.priority.is_none() && b.priority.is_none() && ha.specificity() > hb.specificity());
            prop_assert!(a.rank(&ha, &pa, 5) < b.rank(&hb, &pb, 0));
        }

        #[test]
        fn without_priority_the_default_goes_last_of_its_host(a in standing(), b in standing(), h in host(), pa in path()) {
            prop_assume!(a.priority.is_none() && b.priority.is_none() && !any_path_rank(&pa));
            prop_assert!(a.rank(&h, &pa, 5) < b.rank(&h, &PathMatch::Any, 0));
        }

        #[test]
        fn without_priority_an_exact_path_goes_before_a_prefix_and_a_long_one_before_a_short_one(a in standing(), b in standing(), h in host(), pa in path(), pb in path()) {
            prop_assume!(a.priority.is_none() && b.priority.is_none());
            let better = match (&pa, &pb) {
                (PathMatch::Exact { .. }, PathMatch::Prefix { .. }) => true,
                (PathMatch::Exact { .. }, PathMatch::Exact { .. }) | (PathMatch::Prefix { .. }, PathMatch::Prefix { .. }) =>
                    pa.literal_prefix().len() > pb.literal_prefix().len(),
                _ => false,
            };
            prop_assume!(better);
            prop_assert!(a.rank(&h, &pa, 5) < b.rank(&h, &pb, 0));
        }

        #[test]
        fn ties_go_to_the_oldest(a in standing(), b in standing(), h in host(), p in path()) {
            prop_assume!(a.priority == b.priority && a.created < b.created);
            prop_assert!(a.rank(&h, &p, 0) < b.rank(&h, &p, 0));
        }
    }
}
