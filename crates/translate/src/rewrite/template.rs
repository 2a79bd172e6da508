//! Texts with variables in braces: `/new/{var_uri_path_1}`.

use penstock_model::rewrite::{Condition, Piece, Template};

use super::variable;

/// Where a template stands: what it may use.
#[derive(Clone, Copy)]
pub(super) struct Within<'a> {
    /// The conditions of its rule, whose groups it may use.
    pub(super) conditions: &'a [Condition],
    /// Whether the answer is there.
    pub(super) answer: bool,
}

/// Parses a text. Braces that hold no name of a variable's shape are text, as in JSON.
pub(super) fn parse(text: &str, within: Within<'_>) -> Result<Template, String> {
    let mut pieces = Vec::new();
    let mut rest = text;
    let mut literal = String::new();
    while let Some(open) = rest.find('{') {
        let (before, from) = rest.split_at(open);
        literal.push_str(before);
        let name = from.find('}').map(|close| &from[1..close]).filter(|name| is_name(name));
        let Some(name) = name else {
            literal.push('{');
            rest = &from[1..];
            continue;
        };
        if !literal.is_empty() {
            pieces.push(Piece::Text(std::mem::take(&mut literal).into()));
        }
        pieces.push(piece(name, within)?);
        rest = &from[name.len() + 2..];
    }
    literal.push_str(rest);
    if !literal.is_empty() {
        pieces.push(Piece::Text(literal.into()));
    }
    Ok(Template(pieces))
}

fn is_name(text: &str) -> bool {
    let known = ["var_", "http_req_", "http_resp_"].iter().any(|prefix| text.starts_with(prefix));
    known && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
}

/// A group of a condition where the name ends with a number and there is such a condition, else a variable.
fn piece(name: &str, within: Within<'_>) -> Result<Piece, String> {
    if let Some((base, number)) = name.rsplit_once('_')
        && let (Ok(variable), Ok(group)) = (variable::parse(base), number.parse::<usize>())
        && let Some(condition) = within.conditions.iter().position(|condition| condition.variable == variable)
    {
        let of = &within.conditions[condition];
        let groups = of.pattern.groups();
        if of.negate {
            return Err(format!(
                "{{{name}}} is a group of a condition with negate, which captures nothing; use another"
            ));
        }
        return match group {
            1.. if group <= groups => Ok(Piece::Group { condition, group }),
            _ if groups == 0 => {
                Err(format!("{{{name}}} is a group of a pattern that has none: put parentheses into it"))
            }
            _ => Err(format!("{{{name}}} is group {group} of a pattern that has {groups}: use 1 to {groups}")),
        };
    }
    let variable = variable::parse(name)?;
    if variable.of_answer() && !within.answer {
        return Err(format!("{{{name}}} is not known before the answer is there: use it in responseHeaders"));
    }
    Ok(Piece::Variable(variable))
}

#[cfg(test)]
mod tests {
    use penstock_model::rewrite::{SearchPattern, Variable};

    use super::*;

    fn conditions() -> Vec<Condition> {
        let pattern = SearchPattern::parse("^/old/(.*)$", false).unwrap();
        vec![Condition { variable: Variable::Path, pattern, negate: false }]
    }

    fn parsed(text: &str) -> Result<Vec<Piece>, String> {
        parse(text, Within { conditions: &conditions(), answer: false }).map(|template| template.0)
    }

    fn text(text: &str) -> Piece {
        Piece::Text(text.into())
    }

    #[test]
    fn variables_and_groups_stand_between_texts() {
        let group = Piece::Group { condition: 0, group: 1 };
        assert_eq!(parsed("/new/{var_uri_path_1}?"), Ok(vec![text("/new/"), group, text("?")]));
        assert_eq!(parsed("{var_host}"), Ok(vec![Piece::Variable(Variable::Host)]));
        assert_eq!(parsed(""), Ok(vec![]));
    }

    #[test]
    fn other_braces_are_text() {
        assert_eq!(parsed("{\"a\": {}} {"), Ok(vec![text("{\"a\": {}} {")]));
    }

    #[test]
    fn what_is_not_there_is_refused() {
        for wrong in ["{var_uri_path_2}", "{var_uri_path_0}", "{var_nothing}", "{http_resp_Location}", "{var_host_1}"] {
            assert!(parsed(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_header_whose_name_ends_with_a_number_is_no_group() {
        let header = http::HeaderName::from_static("x_1");
        assert_eq!(parsed("{http_req_x_1}"), Ok(vec![Piece::Variable(Variable::RequestHeader(header))]));
    }
}
