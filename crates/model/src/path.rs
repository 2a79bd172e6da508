//! What a route says about paths.

use std::sync::Arc;

/// A condition on the normalized path of a request.
#[derive(Clone, Debug, PartialEq)]
pub enum PathMatch {
    /// Every path.
    Any,
    /// Exactly this path.
    Exact {
        /// The path, as written.
        path: Arc<str>,
        /// Azure's path maps and `Ingress` differ here.
        case_sensitive: bool,
    },
    /// Paths that start with these characters (Azure: `/images*` takes `/images2`).
    Prefix {
        /// The literal in front, as written.
        prefix: Arc<str>,
        /// Whether case counts.
        case_sensitive: bool,
    },
    /// Paths whose first segments are these (Gateway API: `/images` takes `/images/x`, not `/images2`).
    SegmentPrefix {
        /// The segments, without a slash at the end.
        prefix: Arc<str>,
        /// Whether case counts.
        case_sensitive: bool,
    },
    /// A regular expression on the whole path.
    Regex(Pattern),
}

/// A compiled regular expression that compares by its source.
#[derive(Clone, Debug)]
pub struct Pattern(Arc<regex::Regex>);

impl Pattern {
    /// Compiles an expression; it is anchored at both ends.
    pub fn parse(source: &str) -> Result<Self, regex::Error> {
        // By itself first: `a)|(?:b` is no expression, but between the anchors it would get past them.
        regex::Regex::new(source)?;
        regex::Regex::new(&format!("^(?:{source})$")).map(|regex| Self(Arc::new(regex)))
    }

    /// Whether the whole text fits.
    pub fn matches(&self, text: &str) -> bool {
        self.0.is_match(text)
    }

    /// The anchored source.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl PathMatch {
    /// Whether a normalized path (no query) is taken.
    pub fn matches(&self, path: &str) -> bool {
        let starts = |prefix: &str, case_sensitive: bool| match path.as_bytes().get(..prefix.len()) {
            Some(head) if case_sensitive => head == prefix.as_bytes(),
            Some(head) => head.eq_ignore_ascii_case(prefix.as_bytes()),
            None => false,
        };
        match self {
            Self::Any => true,
            Self::Exact { path: wanted, case_sensitive } => {
                path.len() == wanted.len() && starts(wanted, *case_sensitive)
            }
            Self::Prefix { prefix, case_sensitive } => starts(prefix, *case_sensitive),
            Self::SegmentPrefix { prefix, case_sensitive } => {
                starts(prefix, *case_sensitive) && matches!(path.as_bytes().get(prefix.len()), None | Some(b'/'))
            }
            Self::Regex(pattern) => pattern.matches(path),
        }
    }

    /// The literal that every matching path starts with; what a path override puts something in place of.
    pub fn literal_prefix(&self) -> &str {
        match self {
            Self::Any | Self::Regex(_) => "",
            Self::Exact { path, .. } => path,
            Self::Prefix { prefix, .. } | Self::SegmentPrefix { prefix, .. } => prefix,
        }
    }
}

impl std::fmt::Display for PathMatch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Any => f.write_str("any path"),
            Self::Exact { path, .. } => f.write_str(path),
            Self::Prefix { prefix, .. } => write!(f, "{prefix}*"),
            Self::SegmentPrefix { prefix, .. } => write!(f, "{prefix}/*"),
            Self::Regex(pattern) => write!(f, "~{}", pattern.as_str()),
        }
    }
}

#[cfg(test)]
mod tests;
