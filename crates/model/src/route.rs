//! A route: one condition, one action.

use std::sync::Arc;

use http::header::HeaderName;

use crate::action::Action;
use crate::filter::Filter;
use crate::host::HostPattern;
use crate::ids::{Name, RuleId};
use crate::path::{PathMatch, Pattern};
use crate::rank::Rank;

/// One way a request can go: a host, a path, further conditions, and what is done then. A rule with several hosts
/// and paths is several routes.
#[derive(Clone, Debug, PartialEq)]
pub struct Route {
    /// The object it comes from: for metrics, logs and explanations.
    pub rule: RuleId,
    /// The name of the path entry, where it has one.
    pub path_name: Option<Name>,
    /// Its place in the order of the listener's routes.
    pub rank: Rank,
    /// Hosts it takes.
    pub host: HostPattern,
    /// Paths it takes.
    pub path: PathMatch,
    /// The one method it takes; none: all.
    pub method: Option<http::Method>,
    /// Headers that must all fit.
    pub headers: Vec<HeaderMatch>,
    /// Query parameters that must all fit: name and value, both after percent-decoding.
    pub queries: Vec<(Name, ValueMatch)>,
    /// What happens to the request and its answer on the way, in this order.
    pub filters: Vec<Filter>,
    /// Where it goes.
    pub action: Arc<Action>,
}

/// A condition on a header. Several lines of one header count as one, joined with commas.
#[derive(Clone, Debug, PartialEq)]
pub struct HeaderMatch {
    /// The header.
    pub name: HeaderName,
    /// What its value must be.
    pub value: ValueMatch,
}

/// A condition on a value.
#[derive(Clone, Debug, PartialEq)]
pub enum ValueMatch {
    /// Exactly these characters.
    Exact(Name),
    /// The whole value fits the expression.
    Regex(Pattern),
}

impl ValueMatch {
    /// Whether a value fits.
    pub fn matches(&self, value: &str) -> bool {
        match self {
            Self::Exact(wanted) => **wanted == *value,
            Self::Regex(pattern) => pattern.matches(value),
        }
    }
}
