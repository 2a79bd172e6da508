//! Rewrites: what a rule's rewrite set makes of a request, and later of its answer.
//!
//! A request whose rule has none pays one comparison. With one, the headers for the backend are put together first, so
//! that conditions see, and edits change, what the backend would get. Rules run one after the other, each on what those
//! before have left. What the answer will need of a rule (the groups its conditions captured) is kept until then.

mod set_cookie;
mod variable;

use std::sync::Arc;

use http::header::{HOST, HeaderValue, SET_COOKIE};
use http::{HeaderMap, StatusCode};
use penstock_model::RewriteSet;
use penstock_model::rewrite::{Condition, HeaderChange, HeaderRewrite, Piece, RewriteRule, Template, UrlRewrite};
use penstock_model::uri::{PathError, normalize};

use set_cookie::is_cookie;
pub(crate) use variable::Facts;
use variable::Values;

/// A request as rewritten, and what waits for its answer.
#[derive(Debug)]
pub(crate) struct Rewritten<'a> {
    set: Arc<RewriteSet>,
    pub(crate) facts: Facts<'a>,
    /// Headers for the backend, without Host and framing.
    pub(crate) headers: HeaderMap,
    /// The Host that a rule has set.
    pub(crate) host: Option<HeaderValue>,
    /// The path; normalized.
    pub(crate) path: String,
    pub(crate) query: Option<String>,
    /// A rule has set the path.
    pub(crate) path_changed: bool,
    /// The rule's paths are to be matched again.
    pub(crate) reroute: bool,
    waiting: Vec<Waiting>,
}

/// A rule whose conditions on the request hold and that has something for the answer.
#[derive(Debug)]
struct Waiting {
    rule: usize,
    groups: Groups,
}

/// What conditions captured: for each its groups, from the first one.
type Groups = Vec<Vec<Box<str>>>;

impl<'a> Rewritten<'a> {
    /// Carries out what is to be done with the request. `headers` are those for the backend.
    ///
    /// # Errors
    /// The path that came out is none.
    pub(crate) fn request(
        set: &Arc<RewriteSet>,
        facts: Facts<'a>,
        headers: HeaderMap,
        path: &str,
        query: Option<&str>,
    ) -> Result<Self, PathError> {
        let mut request = Self {
            set: Arc::clone(set),
            facts,
            headers,
            host: None,
            path: path.to_owned(),
            query: query.map(str::to_owned),
            path_changed: false,
            reroute: false,
            waiting: Vec::new(),
        };
        for (index, rule) in set.rules.iter().enumerate() {
            request.carry_out(index, rule)?;
        }
        Ok(request)
    }

    fn carry_out(&mut self, index: usize, rule: &RewriteRule) -> Result<(), PathError> {
        let mut groups = Vec::new();
        if !self.values(None).hold(rule, false, &mut groups) {
            return Ok(());
        }
        if !rule.needs_answer() {
            // All values first: the edits of one rule do not see each other.
            let values = self.values(None);
            let edits = values.headers(&rule.request, &groups);
            let url = rule.url.as_ref().map(|url| (url, values.url(url, &groups)));
            for (edit, value) in edits {
                if edit.name == HOST {
                    self.host = value.or_else(|| self.host.take());
                } else {
                    apply(&mut self.headers, edit, value);
                }
            }
            if let Some((url, (path, query))) = url {
                self.rewrite_url(url, path, query)?;
            }
        }
        if !rule.response.is_empty() {
            self.waiting.push(Waiting { rule: index, groups });
        }
        Ok(())
    }

    fn rewrite_url(&mut self, url: &UrlRewrite, path: Option<String>, query: Option<String>) -> Result<(), PathError> {
        if let Some(path) = path {
            self.path = normalize(&encoded(&path, true))?.path.into_owned();
            self.path_changed = true;
        }
        if let Some(query) = query {
            self.query = (!query.is_empty()).then(|| encoded(&query, false));
        }
        self.reroute |= url.reroute;
        Ok(())
    }

    /// Carries out what is to be done with the answer.
    pub(crate) fn answer(&self, status: StatusCode, headers: &mut HeaderMap) {
        for Waiting { rule, groups } in &self.waiting {
            let rule = &self.set.rules[*rule];
            let values = self.values(Some((status, headers)));
            let mut whole = groups.clone();
            let holds = values.hold(rule, true, &mut whole);
            let cookies = set_cookie::edited(values, rule, groups, holds.then_some(&whole), headers);
            let edits = if holds { values.headers(&rule.response, &whole) } else { Vec::new() };
            for (edit, value) in edits.into_iter().filter(|(edit, _)| edit.name != SET_COOKIE) {
                apply(headers, edit, value);
            }
            if let Some(cookies) = cookies {
                replace_cookies(headers, cookies);
            }
        }
    }

    fn values<'s>(&'s self, answer: Option<(StatusCode, &'s HeaderMap)>) -> Values<'s> {
        Values { facts: &self.facts, request: self, answer, cookie: None }
    }
}

impl Values<'_> {
    /// Whether the conditions hold that can be decided now: those on the request, or those on the answer. What they
    /// capture goes into `groups`.
    fn hold(&self, rule: &RewriteRule, of_answer: bool, groups: &mut Groups) -> bool {
        groups.resize(rule.conditions.len(), Vec::new());
        rule.conditions.iter().zip(groups).filter(|(condition, _)| condition.variable.of_answer() == of_answer).all(
            |(condition, groups)| {
                let captured = self.search(condition);
                let found = captured.is_some();
                *groups = captured.unwrap_or_default();
                found != condition.negate
            },
        )
    }

    /// What the groups of a condition's pattern capture, where it is found: in any cookie of an answer, not in all joined.
    fn search(&self, condition: &Condition) -> Option<Vec<Box<str>>> {
        let search = |value: &str| {
            let found = condition.pattern.regex().captures(value)?;
            let group = |group: Option<regex::Match<'_>>| group.map_or("", |group| group.as_str()).into();
            Some(found.iter().skip(1).map(group).collect())
        };
        match self.answer {
            Some((_, headers))
                if self.cookie.is_none() && is_cookie(&condition.variable) && headers.contains_key(SET_COOKIE) =>
            {
                headers.get_all(SET_COOKIE).iter().find_map(|line| search(&String::from_utf8_lossy(line.as_bytes())))
            }
            _ => search(&self.of(&condition.variable)),
        }
    }

    /// Edits and their values. A value that is no header value (a line break cannot come in) leaves its edit out.
    fn headers<'r>(
        &self,
        edits: &'r [HeaderRewrite],
        groups: &Groups,
    ) -> Vec<(&'r HeaderRewrite, Option<HeaderValue>)> {
        let value = |edit: &'r HeaderRewrite| match &edit.edit {
            HeaderChange::Remove => Some((edit, None)),
            HeaderChange::Set(template) | HeaderChange::Append(template) => {
                self.header(template, groups).map(|value| (edit, Some(value)))
            }
        };
        edits.iter().filter_map(value).collect()
    }

    fn header(&self, template: &Template, groups: &Groups) -> Option<HeaderValue> {
        HeaderValue::from_bytes(self.fill(template, groups).as_bytes()).ok()
    }

    fn url(&self, url: &UrlRewrite, groups: &Groups) -> (Option<String>, Option<String>) {
        let fill = |template: &Option<Template>| template.as_ref().map(|template| self.fill(template, groups));
        (fill(&url.path), fill(&url.query))
    }

    fn fill(&self, template: &Template, groups: &Groups) -> String {
        let mut text = String::new();
        for piece in &template.0 {
            match piece {
                Piece::Text(piece) => text.push_str(piece),
                Piece::Variable(variable) => text.push_str(&self.of(variable)),
                Piece::Group { condition, group } => {
                    let captured = groups.get(*condition).and_then(|groups| groups.get(group - 1));
                    text.push_str(captured.map_or("", |captured| captured));
                }
            }
        }
        text
    }
}

fn apply(headers: &mut HeaderMap, edit: &HeaderRewrite, value: Option<HeaderValue>) {
    match (&edit.edit, value) {
        (HeaderChange::Append(_), Some(value)) => {
            headers.append(&edit.name, value);
        }
        (_, Some(value)) => {
            headers.insert(&edit.name, value);
        }
        (_, None) => {
            headers.remove(&edit.name);
        }
    }
}

fn replace_cookies(headers: &mut HeaderMap, cookies: Vec<HeaderValue>) {
    headers.remove(SET_COOKIE);
    for cookie in cookies {
        headers.append(SET_COOKIE, cookie);
    }
}

/// What may not stand in a path or a query is escaped (RFC 3986 3.3, 3.4); a path begins with a slash.
fn encoded(text: &str, path: bool) -> String {
    let mut out = String::with_capacity(text.len() + 1);
    if path && !text.starts_with('/') {
        out.push('/');
    }
    for &byte in text.as_bytes() {
        let escape = match byte {
            0..=b' ' | 0x7f.. | b'"' | b'<' | b'>' | b'^' | b'`' | b'{' | b'|' | b'}' | b'\\' | b'#' => true,
            b'?' => path,
            _ => false,
        };
        if escape {
            out.push('%');
            let digit = |nibble: u8| char::from(b"0123456789ABCDEF"[usize::from(nibble)]);
            out.extend([digit(byte >> 4), digit(byte & 15)]);
        } else {
            out.push(char::from(byte));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_url_may_have_is_escaped() {
        assert_eq!(encoded("a b?c", true), "/a%20b%3Fc");
        assert_eq!(encoded("a=b?c&d=\u{e9}#", false), "a=b?c&d=%C3%A9%23");
        assert_eq!(encoded("/%2F", true), "/%2F");
    }
}
