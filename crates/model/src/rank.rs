//! The total order of routes. A front end decides it; everybody else only takes the smallest.

use std::cmp::Reverse;

use crate::ids::Name;

/// Where a route stands: of those that take a request, the smallest wins. The fields stand in the order in which
/// they count, so the derived order is the rule; a front end leaves at its default what does not count for it.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Rank {
    /// Explicit priority, smallest first; [`Rank::UNPRIORITIZED`] comes after all of them.
    pub priority: u32,
    /// Of the host pattern: exact, longest wildcard, none.
    pub host: Reverse<(u8, usize)>,
    /// Of the path: exact, regular expression, prefix, any; then the longest.
    pub path: Reverse<(u8, usize)>,
    /// A route that names a method goes before one that does not.
    pub method: Reverse<bool>,
    /// Number of header conditions, most first.
    pub headers: Reverse<usize>,
    /// Number of query conditions, most first.
    pub queries: Reverse<usize>,
    /// Creation of the object, in seconds since 1970; the oldest first, unknown as 0.
    pub created: i64,
    /// `namespace/name` of the object.
    pub object: ObjectName,
    /// Position in the object; its default comes after its paths.
    pub listed: u32,
}

/// `namespace/name`, compared part by part.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectName(pub Name, pub Name);

impl Default for ObjectName {
    fn default() -> Self {
        Self("".into(), "".into())
    }
}

impl Rank {
    /// The priority of what has none: after 1 to 20000.
    pub const UNPRIORITIZED: u32 = u32::MAX;
}
