//! Rewrite rule sets: parsed with their gateway, once. A rule that cannot be carried out is left out and said; the
//! others of its set go on.

mod template;
mod variable;

use std::collections::BTreeMap;
use std::sync::Arc;

use http::header::{HeaderName, HeaderValue};
use penstock_api::gateway::{self, RewriteActions, RewriteRule, RewriteRuleSet};
use penstock_api::reasons::RuleReason;
use penstock_model::rewrite::{Condition, HeaderChange, HeaderRewrite, SearchPattern, UrlRewrite};
use penstock_model::{RewriteSet, rewrite as model};

use crate::finding::Finding;
use template::{Within, parse as template};

/// Sets of a gateway by name.
pub(crate) type Sets = BTreeMap<String, Arc<RewriteSet>>;

/// Headers that say how a message is framed or where a connection goes: the gateway's own business.
const OWN: [&str; 9] = [
    "connection",
    "content-length",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "sec-websocket-accept",
];

/// Parses the sets of a gateway.
pub(crate) fn parse(sets: &[RewriteRuleSet], findings: &mut Vec<Finding>) -> Sets {
    sets.iter().map(|set| (set.name.clone(), Arc::new(one_set(set, findings)))).collect()
}

fn one_set(set: &RewriteRuleSet, findings: &mut Vec<Finding>) -> RewriteSet {
    let mut ordered: Vec<&RewriteRule> = set.rules.iter().collect();
    ordered.sort_by_key(|rule| rule.sequence);
    let parse = |rule: &&RewriteRule| {
        let parsed = one_rule(rule);
        if let Err(why) = &parsed {
            let message = format!(
                "rewriteRuleSets[{}].rules[{}].{why}; until then this rule rewrites nothing",
                set.name, rule.name
            );
            findings.push(Finding::partial(RuleReason::InvalidValue.as_str(), message));
        }
        parsed.ok()
    };
    RewriteSet { name: set.name.as_str().into(), rules: ordered.iter().filter_map(parse).collect() }
}

/// A rule, or the field and what is wrong with it.
fn one_rule(rule: &RewriteRule) -> Result<model::RewriteRule, String> {
    let conditions = rule.conditions.iter().enumerate().map(condition).collect::<Result<Vec<_>, _>>()?;
    let RewriteActions { request_headers, response_headers, url } = &rule.actions;
    let within = Within { conditions: &conditions, answer: false };
    let waits = conditions.iter().find(|condition| condition.variable.of_answer());
    if waits.is_some() && (!request_headers.is_empty() || url.is_some()) {
        return Err("conditions: one asks for the answer, but requestHeaders and url change the request, which is \
                    gone by then; use two rules"
            .to_owned());
    }
    let request = headers(request_headers, "requestHeaders", within)?;
    let response = headers(response_headers, "responseHeaders", Within { answer: true, ..within })?;
    let url = url.as_ref().map(|url| {
        let part = |text: &Option<String>, field: &str| {
            text.as_deref().map(|text| template(text, within).map_err(|why| format!("actions.url.{field}: {why}")))
        };
        let path = part(&url.path, "path").transpose()?;
        let query = part(&url.query_string, "queryString").transpose()?;
        Ok::<_, String>(UrlRewrite { path, query, reroute: url.reroute })
    });
    Ok(model::RewriteRule { request, response, url: url.transpose()?, conditions })
}

fn condition((index, condition): (usize, &gateway::RewriteCondition)) -> Result<Condition, String> {
    let gateway::RewriteCondition { variable, pattern, ignore_case, negate } = condition;
    let at = |field: &str, why: &str| format!("conditions[#{index}].{field} {why}");
    let variable = variable::parse(variable).map_err(|why| at("variable", &why))?;
    let pattern = SearchPattern::parse(pattern, *ignore_case).map_err(|error| {
        // The library draws the place over several lines; the last one says what is wrong.
        let text = error.to_string();
        let what = text.lines().last().unwrap_or_default().trim_start_matches("error: ");
        at(
            "pattern",
            &format!(
                "{pattern:?} is no expression: {what}; correct it (look-around and back-references are not supported)"
            ),
        )
    })?;
    Ok(Condition { variable, pattern, negate: *negate })
}

fn headers(edits: &[gateway::HeaderEdit], list: &str, within: Within<'_>) -> Result<Vec<HeaderRewrite>, String> {
    let one = |edit: &gateway::HeaderEdit| {
        let gateway::HeaderEdit { name, value, append } = edit;
        let at = |why: &str| format!("actions.{list}[{name}] {why}");
        let parsed = HeaderName::from_bytes(name.as_bytes()).map_err(|_| at("is no header name; correct it"))?;
        if OWN.contains(&parsed.as_str()) || (within.answer && parsed == "host") {
            return Err(at("belongs to the connection and cannot be rewritten; remove it"));
        }
        let edit = match value.as_deref() {
            None | Some("") => HeaderChange::Remove,
            Some(value) => {
                HeaderValue::from_str(value).map_err(|_| at("has a value with control characters; remove them"))?;
                let value = template(value, within).map_err(|why| at(&format!("has a value in which {why}")))?;
                if *append { HeaderChange::Append(value) } else { HeaderChange::Set(value) }
            }
        };
        if parsed == "host" && !matches!(edit, HeaderChange::Set(_)) {
            return Err(at("can only be set: a request has exactly one Host"));
        }
        Ok(HeaderRewrite { name: parsed, edit })
    };
    edits.iter().map(one).collect()
}
