//! Host names of requests and the patterns that listeners and rules hold against them.
//!
//! Compared without case, port and a trailing dot. `*.example.com` takes any depth below, not `example.com`
//! itself (Gateway API's meaning); `*` and `?` stand anywhere, as Azure allows:
//! <https://learn.microsoft.com/azure/application-gateway/multiple-site-overview#wildcard-host-names-in-listener>.

use std::cmp::Reverse;
use std::fmt;

use crate::ids::Name;

/// Why a host or host pattern was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HostError {
    /// Nothing was given.
    #[error("a host name must not be empty")]
    Empty,
    /// Over 253 octets (RFC 1035 2.3.4).
    #[error("host name of {0} characters; at most 253 are allowed")]
    TooLong(usize),
    /// A label over 63 octets or with none.
    #[error("host name {0:?} has an empty label or one over 63 characters")]
    BadLabel(String),
    /// A character that no host name has.
    #[error(
        "host name {host:?} contains {character:?}; allowed are letters, digits, '-', '_', '.' and, in patterns, '*' and '?'"
    )]
    BadCharacter {
        /// What was given.
        host: String,
        /// The first character that is not allowed.
        character: char,
    },
    /// The part after a colon is no port.
    #[error("{0:?} has no valid port after the colon")]
    BadPort(String),
}

/// The host of a request, borrowed and not yet lower-cased: port and trailing dot removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Host<'a>(&'a str);

impl<'a> Host<'a> {
    /// Parses a `Host` header or an authority: `name`, `name:port`, `[v6]`, `[v6]:port`.
    pub fn parse(authority: &'a str) -> Result<Self, HostError> {
        // Digits are asked for, because `u16` takes a plus sign, too.
        let bad_port = |port: &str| {
            !port.is_empty() && (port.parse::<u16>().is_err() || !port.bytes().all(|byte| byte.is_ascii_digit()))
        };
        if let Some(rest) = authority.strip_prefix('[') {
            let (inside, after) = rest.split_once(']').ok_or_else(|| HostError::BadPort(authority.into()))?;
            if inside.parse::<std::net::Ipv6Addr>().is_err() {
                return Err(HostError::BadLabel(authority.into()));
            }
            match after.strip_prefix(':') {
                None if after.is_empty() => {}
                Some(port) if !bad_port(port) => {}
                _ => return Err(HostError::BadPort(authority.into())),
            }
            return Ok(Self(inside));
        }
        // Bytes, not `split_once`: this is done for every request.
        let (name, port) = match authority.bytes().position(|byte| byte == b':') {
            Some(at) => (&authority[..at], &authority[at + 1..]),
            None => (authority, ""),
        };
        if bad_port(port) {
            return Err(HostError::BadPort(authority.into()));
        }
        let name = name.strip_suffix('.').unwrap_or(name);
        check(name, false)?;
        Ok(Self(name))
    }

    /// The name as the client wrote it.
    pub fn as_str(self) -> &'a str {
        self.0
    }
}

fn check(name: &str, pattern: bool) -> Result<(), HostError> {
    if name.is_empty() {
        return Err(HostError::Empty);
    }
    if name.len() > 253 {
        return Err(HostError::TooLong(name.len()));
    }
    // One look at each byte: this is done for every request.
    let (mut label, mut labels_fit) = (0, true);
    for (at, &byte) in name.as_bytes().iter().enumerate() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' => label += 1,
            b'*' | b'?' if pattern => label += 1,
            b'.' => {
                labels_fit &= matches!(label, 1..=63);
                label = 0;
            }
            // All before it is ASCII, so a character begins here.
            _ => {
                let character = name[at..].chars().next().unwrap_or(char::REPLACEMENT_CHARACTER);
                return Err(HostError::BadCharacter { host: name.into(), character });
            }
        }
    }
    if !(labels_fit && matches!(label, 1..=63)) {
        return Err(HostError::BadLabel(name.into()));
    }
    Ok(())
}

/// What a listener or a rule says about hosts. Lower-case. Its order is how well it fits: greater is better.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum HostPattern {
    /// Any host at all, also one that is no DNS name.
    Any,
    /// `*.example.com`, kept as `.example.com`: any name that ends so and has something before it.
    Suffix(Name),
    /// `*` and `?` at other places: `shop-??.example.*`.
    Glob(Name),
    /// Exactly this name.
    Exact(Name),
}

impl HostPattern {
    /// Parses a pattern as users write it. `*` alone is [`HostPattern::Any`].
    pub fn parse(text: &str) -> Result<Self, HostError> {
        let text = text.strip_suffix('.').unwrap_or(text);
        if text == "*" {
            return Ok(Self::Any);
        }
        check(text, true)?;
        let lower = text.to_ascii_lowercase();
        Ok(match lower.strip_prefix('*') {
            Some(rest) if rest.starts_with('.') && !rest.contains(['*', '?']) => Self::Suffix(rest.into()),
            _ if lower.contains(['*', '?']) => Self::Glob(lower.into()),
            _ => Self::Exact(lower.into()),
        })
    }

    /// Whether a host, in any case, is taken.
    pub fn matches(&self, host: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Exact(name) => name.eq_ignore_ascii_case(host),
            Self::Suffix(suffix) => {
                host.len() > suffix.len()
                    && host.as_bytes()[host.len() - suffix.len()..].eq_ignore_ascii_case(suffix.as_bytes())
            }
            Self::Glob(glob) => glob_matches(glob.as_bytes(), host.as_bytes()),
        }
    }

    /// Whether every host that `other` takes is taken by this pattern too. For globs against globs the answer
    /// is sound, not complete: `false` may be said of two globs of which one covers the other.
    pub fn covers(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Any, _) => true,
            (_, Self::Any) => false,
            (_, Self::Exact(name)) => self.matches(name),
            (Self::Suffix(mine), Self::Suffix(theirs)) => theirs.ends_with(&**mine),
            (Self::Suffix(mine), Self::Glob(glob)) => {
                // What follows the last wildcard is fixed; something must be left in front of the suffix.
                let fixed = glob.rfind(['*', '?']).map_or(&**glob, |at| &glob[at + 1..]);
                fixed.len() > mine.len() && fixed.ends_with(&**mine)
                    || (fixed == &**mine && glob.len() > mine.len() && at_least_one(glob, mine))
            }
            (Self::Glob(mine), Self::Glob(theirs)) => mine == theirs,
            (Self::Glob(mine), Self::Suffix(theirs)) => **mine == *format!("*{theirs}"),
            (Self::Exact(_), _) => false,
        }
    }

    /// Greater fits better: exact, then the longest wildcard, then any host.
    pub fn specificity(&self) -> (u8, usize) {
        match self {
            Self::Any => (0, 0),
            Self::Suffix(s) => (1, s.len() + 1),
            Self::Glob(g) => (1, g.len()),
            Self::Exact(e) => (2, e.len()),
        }
    }
}

/// Whether what stands before the suffix of a glob takes at least one character.
fn at_least_one(glob: &str, suffix: &str) -> bool {
    glob[..glob.len() - suffix.len()].bytes().any(|b| b != b'*')
}

impl Ord for HostPattern {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        // Of two wildcards of one length the one in front of everything else fits better.
        let glob = |p: &Self| Reverse(matches!(p, Self::Glob(_)));
        let text = |p: &Self| Reverse(p.to_string());
        let last = || glob(self).cmp(&glob(other)).then_with(|| text(self).cmp(&text(other)));
        self.specificity().cmp(&other.specificity()).then_with(last)
    }
}

impl PartialOrd for HostPattern {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("*"),
            Self::Suffix(suffix) => write!(f, "*{suffix}"),
            Self::Glob(text) | Self::Exact(text) => f.write_str(text),
        }
    }
}

/// `*` takes any run of characters, also none; `?` takes one. Linear in both, no backtracking but to the last `*`.
fn glob_matches(glob: &[u8], text: &[u8]) -> bool {
    let (mut g, mut t) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        match glob.get(g) {
            Some(b'*') => {
                star = Some((g + 1, t));
                g += 1;
            }
            Some(&c) if c == b'?' || c == text[t].to_ascii_lowercase() => {
                g += 1;
                t += 1;
            }
            _ => match star {
                Some((after, taken)) => {
                    star = Some((after, taken + 1));
                    g = after;
                    t = taken + 1;
                }
                None => return false,
            },
        }
    }
    glob[g..].iter().all(|&c| c == b'*')
}

#[cfg(test)]
mod tests;
