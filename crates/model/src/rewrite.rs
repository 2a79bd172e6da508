//! Rewrites of requests and answers: conditions on variables, templates that use them, and what they are put into.
//!
//! Everything is parsed here, once per configuration; a request only evaluates. The front end has its own spelling of
//! variables and lowers it into [`Variable`].

use std::fmt;
use std::sync::Arc;

use http::header::HeaderName;
use regex::Regex;

use crate::ids::Name;

/// Rewrites that are carried out in this order.
#[derive(Clone, Debug, PartialEq)]
pub struct RewriteSet {
    /// Its name, for messages.
    pub name: Name,
    /// The rules, first to last.
    pub rules: Vec<RewriteRule>,
}

/// Edits that are made when all conditions hold.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RewriteRule {
    /// All must hold. None: the edits are always made.
    pub conditions: Vec<Condition>,
    /// Headers of the request.
    pub request: Vec<HeaderRewrite>,
    /// Headers of the answer.
    pub response: Vec<HeaderRewrite>,
    /// Path and query of the request.
    pub url: Option<UrlRewrite>,
}

impl RewriteRule {
    /// Whether it can be decided only when the answer is there.
    pub fn needs_answer(&self) -> bool {
        self.conditions.iter().any(|condition| condition.variable.of_answer())
    }
}

/// A test of one variable.
#[derive(Clone, Debug, PartialEq)]
pub struct Condition {
    /// What is looked at; absent counts as empty.
    pub variable: Variable,
    /// What must be found in it.
    pub pattern: SearchPattern,
    /// Holds when the pattern is not found.
    pub negate: bool,
}

/// A regular expression that is looked for anywhere in a value, and its groups.
#[derive(Clone, Debug)]
pub struct SearchPattern {
    regex: Arc<Regex>,
    ignore_case: bool,
}

impl SearchPattern {
    /// Compiles an expression.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(source: &str, ignore_case: bool) -> Result<Self, regex::Error> {
        let regex = regex::RegexBuilder::new(source).case_insensitive(ignore_case).build()?;
        Ok(Self { regex: Arc::new(regex), ignore_case })
    }

    /// The expression.
    pub fn regex(&self) -> &Regex {
        &self.regex
    }

    /// How many groups it captures.
    pub fn groups(&self) -> usize {
        self.regex.captures_len() - 1
    }
}

impl PartialEq for SearchPattern {
    fn eq(&self, other: &Self) -> bool {
        self.ignore_case == other.ignore_case && self.regex.as_str() == other.regex.as_str()
    }
}

impl fmt::Display for SearchPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/", if self.ignore_case { "i" } else { "" }, self.regex.as_str())
    }
}

/// A change of one header.
#[derive(Clone, Debug, PartialEq)]
pub struct HeaderRewrite {
    /// The header.
    pub name: HeaderName,
    /// What becomes of it.
    pub edit: HeaderChange,
}

/// What becomes of a header.
#[derive(Clone, Debug, PartialEq)]
pub enum HeaderChange {
    /// In place of every line of that name.
    Set(Template),
    /// One line more.
    Append(Template),
    /// Every line of that name goes.
    Remove,
}

/// A new path, a new query, or both.
#[derive(Clone, Debug, PartialEq)]
pub struct UrlRewrite {
    /// The path; `None`: as it is.
    pub path: Option<Template>,
    /// The query; empty: none; `None`: as it is.
    pub query: Option<Template>,
    /// The rule's paths are matched again.
    pub reroute: bool,
}

/// A text with variables.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Template(pub Vec<Piece>);

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|piece| match piece {
            Piece::Text(text) => f.write_str(text),
            Piece::Variable(variable) => write!(f, "{{{variable:?}}}"),
            Piece::Group { condition, group } => write!(f, "{{#{condition}.{group}}}"),
        })
    }
}

/// A piece of a template.
#[derive(Clone, Debug, PartialEq)]
pub enum Piece {
    /// As it stands.
    Text(Box<str>),
    /// The value of a variable; absent: nothing.
    Variable(Variable),
    /// What a group of a condition of the same rule has captured.
    Group {
        /// Index of the condition.
        condition: usize,
        /// Number of the group, from 1.
        group: usize,
    },
}

/// Something known of a request or its answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Variable {
    /// A header of the request, as the rules before have left it.
    RequestHeader(HeaderName),
    /// A header of the answer, as the rules before have left it.
    ResponseHeader(HeaderName),
    /// A cookie of the request.
    Cookie(Name),
    /// X-Forwarded-For as it goes to the backend: the client's address at its end.
    ForwardedFor,
    /// Address of the peer.
    ClientIp,
    /// Port of the peer.
    ClientPort,
    /// What is known of the client's certificate, by the header that says it to backends.
    ClientCertificate(&'static str),
    /// User name of Basic authentication.
    ClientUser,
    /// Host of the request, without a port.
    Host,
    /// Method.
    Method,
    /// `HTTP/1.1`.
    HttpVersion,
    /// Status of the answer.
    Status,
    /// Query, as the rules before have left it.
    Query,
    /// `http` or `https`.
    Scheme,
    /// Path and query as received.
    RequestUri,
    /// Path, as the rules before have left it.
    Path,
    /// Port of the listener.
    ServerPort,
    /// `TLSv1.3`; nothing without TLS.
    TlsVersion,
    /// Cipher suite; nothing without TLS.
    TlsCipher,
    /// `On`; nothing without TLS.
    TlsEnabled,
}

impl Variable {
    /// Whether it is known only when the answer is there.
    pub fn of_answer(&self) -> bool {
        matches!(self, Self::ResponseHeader(_) | Self::Status)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_is_found_anywhere_and_counts_its_groups() {
        let pattern = SearchPattern::parse("^/old/(.*)/([0-9]+)$", true).unwrap();
        assert_eq!(pattern.groups(), 2);
        assert!(pattern.regex().is_match("/OLD/a/1"));
        assert!(SearchPattern::parse("b", false).unwrap().regex().is_match("abc"));
        assert!(!SearchPattern::parse("B", false).unwrap().regex().is_match("abc"));
        assert!(SearchPattern::parse("(", false).is_err());
    }

    #[test]
    fn a_rule_waits_for_the_answer_only_when_a_condition_does() {
        let condition = |variable| Condition {
            variable,
            pattern: SearchPattern::parse("x", false).expect("an expression"),
            negate: false,
        };
        let rule = |variable| RewriteRule { conditions: vec![condition(variable)], ..RewriteRule::default() };
        assert!(rule(Variable::Status).needs_answer());
        assert!(!rule(Variable::Path).needs_answer());
    }
}
