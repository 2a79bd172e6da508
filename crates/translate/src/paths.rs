//! Path patterns of rules: case-insensitive, `*` only at the end, exact without it.

use std::sync::Arc;

use penstock_model::PathMatch;
use penstock_model::uri::normalize;

/// A pattern as the condition it is. Its literal is normalized as request paths are, or it would never fit one.
///
/// # Errors
/// What is wrong with it, with the remedy.
pub(crate) fn parse(pattern: &str) -> Result<PathMatch, String> {
    let (literal, prefix) = match pattern.strip_suffix('*') {
        Some(literal) => (literal, true),
        None => (pattern, false),
    };
    if literal.contains(['*', '?', '#']) {
        return Err(format!("{pattern:?} may have `*` only at its end and neither `?` nor `#`"));
    }
    let refuse = |error| format!("{pattern:?} is no path: {error}");
    if !prefix {
        let path: Arc<str> = normalize(literal).map_err(refuse)?.path.into();
        return Ok(PathMatch::Exact { path, case_sensitive: false });
    }
    // What follows the prefix is not known: `/a/.*` starts a name, not a dot segment.
    let extended = format!("{literal}x");
    let normalized = normalize(&extended).map_err(refuse)?.path;
    let prefix: Arc<str> = normalized.strip_suffix('x').unwrap_or(&normalized).into();
    Ok(PathMatch::Prefix { prefix, case_sensitive: false })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn takes(pattern: &str, path: &str) -> bool {
        parse(pattern).expect(pattern).matches(path)
    }

    #[test]
    fn without_a_star_exact_and_without_case() {
        assert!(takes("/Docs", "/docs"));
        assert!(!takes("/docs", "/docs/"));
        assert!(!takes("/docs", "/docs2"));
    }

    #[test]
    fn with_a_star_a_string_prefix() {
        assert!(takes("/images/*", "/images/a.png"));
        assert!(takes("/images/*", "/IMAGES/"));
        assert!(!takes("/images/*", "/images"));
        assert!(takes("/static*", "/static2/x"));
        assert!(takes("/*", "/"));
    }

    #[test]
    fn literals_are_normalized_as_paths_are() {
        assert_eq!(parse("/a/../b").unwrap(), PathMatch::Exact { path: "/b".into(), case_sensitive: false });
        assert_eq!(parse("/%7euser/*").unwrap(), PathMatch::Prefix { prefix: "/~user/".into(), case_sensitive: false });
        assert_eq!(parse("/.*").unwrap(), PathMatch::Prefix { prefix: "/.".into(), case_sensitive: false });
    }

    #[test]
    fn what_no_path_can_be_is_refused() {
        for pattern in ["", "*", "docs", "/a*b", "/a*/*", "/a?b", "/a%2", "/a%2*", "/a\\b"] {
            assert!(parse(pattern).is_err(), "{pattern:?}");
        }
    }
}
