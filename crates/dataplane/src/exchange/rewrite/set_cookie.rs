//! `Set-Cookie`, the one header whose lines are no list (RFC 9110 5.3): joined with commas they are one broken cookie.
//!
//! A rule that looks at cookies and edits them is carried out for each line by itself: `{http_resp_Set-Cookie}` is that
//! line, conditions are asked of it, and lines that it is not about stay. Azure drops those:
//! <https://learn.microsoft.com/azure/application-gateway/rewrite-http-headers-url#limitations>.

use http::HeaderMap;
use http::header::{HeaderValue, SET_COOKIE};
use penstock_model::rewrite::{HeaderChange, Piece, RewriteRule, Template, Variable};

use super::Groups;
use super::variable::Values;

/// Whether a variable is a cookie of the answer.
pub(super) fn is_cookie(variable: &Variable) -> bool {
    matches!(variable, Variable::ResponseHeader(name) if *name == SET_COOKIE)
}

/// A line of the answer.
struct Line<'s> {
    /// What becomes of it.
    left: Option<HeaderValue>,
    /// What the rule sees of it, and what its conditions captured; `None`: they do not hold for this line.
    seen: Option<(Values<'s>, Groups)>,
}

/// The cookies that a rule leaves in an answer; `None`: it does not edit them. `asked` is what the request's conditions
/// captured, `whole` what all did, where they hold for the answer as a whole.
pub(super) fn edited(
    values: Values<'_>,
    rule: &RewriteRule,
    asked: &Groups,
    whole: Option<&Groups>,
    headers: &HeaderMap,
) -> Option<Vec<HeaderValue>> {
    let edits = || rule.response.iter().filter(|edit| edit.name == SET_COOKIE);
    edits().next()?;
    let lines = headers.get_all(SET_COOKIE).iter();
    let mut lines: Vec<Line<'_>> = lines.map(|line| Line::new(line, values, rule, asked)).collect();
    let mut added = Vec::new();
    let asks = rule.conditions.iter().any(|condition| is_cookie(&condition.variable));
    for edit in edits() {
        match &edit.edit {
            HeaderChange::Append(template) if of_line(template, rule) => {
                let seen = lines.iter().filter_map(|line| line.seen.as_ref());
                added.extend(seen.filter_map(|(values, groups)| values.header(template, groups)));
            }
            HeaderChange::Append(template) => {
                added.extend(whole.and_then(|groups| values.header(template, groups)));
            }
            HeaderChange::Set(template) if of_line(template, rule) || (asks && !lines.is_empty()) => {
                for line in &mut lines {
                    let new = line.seen.as_ref().and_then(|(values, groups)| values.header(template, groups));
                    line.left = new.or_else(|| line.left.take());
                }
            }
            HeaderChange::Set(template) => {
                if let Some(cookie) = whole.and_then(|groups| values.header(template, groups)) {
                    lines.clear();
                    added = vec![cookie];
                }
            }
            HeaderChange::Remove => {
                lines.iter_mut().filter(|line| line.seen.is_some()).for_each(|line| line.left = None);
            }
        }
    }
    Some(lines.into_iter().filter_map(|line| line.left).chain(added).collect())
}

impl<'s> Line<'s> {
    fn new(line: &'s HeaderValue, values: Values<'s>, rule: &RewriteRule, asked: &Groups) -> Self {
        let values = Values { cookie: Some(line), ..values };
        let mut groups = asked.clone();
        let seen = values.hold(rule, true, &mut groups).then_some((values, groups));
        Self { left: Some(line.clone()), seen }
    }
}

/// Whether a value is another one for each line.
fn of_line(template: &Template, rule: &RewriteRule) -> bool {
    template.0.iter().any(|piece| match piece {
        Piece::Text(_) => false,
        Piece::Variable(variable) => is_cookie(variable),
        Piece::Group { condition, .. } => {
            rule.conditions.get(*condition).is_some_and(|condition| is_cookie(&condition.variable))
        }
    })
}
