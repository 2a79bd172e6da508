//! Path and query for the backend.

use penstock_model::PathOverride;
use penstock_model::uri::Normalized;

use super::rewrite::Rewritten;

/// The target for the backend; `None`: the bytes as received, unless dot segments were removed or the path is overridden.
pub(crate) fn received(over: &PathOverride, path: &Normalized<'_>, query: Option<&str>) -> Option<String> {
    match over {
        PathOverride::Keep if !path.dots_removed => None,
        PathOverride::Keep => Some(joined(path.path.to_string(), query)),
        PathOverride::ReplacePrefix { literal, with } => Some(joined(overridden(&path.path, *literal, with), query)),
    }
}

/// The same for a request that was rewritten: the bytes of its path as received where no rule set it, because signatures
/// are made of them. A path that no longer is what its pattern matched has no literal prefix to replace, unless it was
/// matched again.
pub(crate) fn rewritten(
    over: &PathOverride,
    rewritten: &Rewritten<'_>,
    path: &Normalized<'_>,
    received: &str,
) -> String {
    let matched = rewritten.reroute || !rewritten.path_changed;
    let path = match over {
        PathOverride::ReplacePrefix { literal, with } if matched || *literal == 0 => {
            overridden(&rewritten.path, *literal, with)
        }
        PathOverride::Keep if !rewritten.path_changed && !path.dots_removed => received.to_owned(),
        _ => rewritten.path.clone(),
    };
    joined(path, rewritten.query.as_deref())
}

fn overridden(path: &str, literal: usize, with: &str) -> String {
    let rest = path.get(literal..).unwrap_or_default();
    format!("{}/{}", with.trim_end_matches('/'), rest.strip_prefix('/').unwrap_or(rest))
}

fn joined(path: String, query: Option<&str>) -> String {
    match query {
        Some(query) => format!("{path}?{query}"),
        None => path,
    }
}
