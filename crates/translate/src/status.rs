//! Conditions from findings: the same three for gateways, listeners and rules.

use penstock_api::RoutingRule;
use penstock_api::k8s::{Condition, Time};
use penstock_api::reasons::ConditionType;
use penstock_api::rule::{ParentStatus, RoutingRuleStatus, RuleSummary};

use crate::finding::{Effect, Finding, PARTIALLY_INVALID};
use crate::rule::Lowered;
use crate::snapshot::Key;

/// The longest message; more findings than fit are counted.
const LONGEST: usize = 4096;
/// The most that `summary.hosts` has of names; the schema takes 1024 characters.
const LONGEST_HOSTS: usize = 1000;

/// One condition. `lastTransitionTime` is the writer's job and stands at the epoch.
pub(crate) fn condition(
    kind: &str,
    holds: bool,
    reason: &str,
    message: impl Into<String>,
    generation: Option<i64>,
) -> Condition {
    Condition {
        last_transition_time: Time(jiff::Timestamp::UNIX_EPOCH),
        message: message.into(),
        observed_generation: generation,
        reason: reason.to_owned(),
        status: if holds { "True" } else { "False" }.to_owned(),
        type_: kind.to_owned(),
    }
}

/// `Accepted`, `ResolvedRefs` and, where a part is out of force, `PartiallyInvalid`.
pub(crate) fn conditions(findings: &[Finding], generation: Option<i64>) -> Vec<Condition> {
    let (accepted, resolved) = (ConditionType::Accepted.as_str(), ConditionType::ResolvedRefs.as_str());
    let refused = joined(findings, Effect::Refused);
    let mut conditions = vec![match &refused {
        Some((reason, message)) => condition(accepted, false, reason, message, generation),
        None => condition(accepted, true, accepted, "In force.", generation),
    }];
    if let Some((reason, message)) = joined(findings, Effect::Unresolved) {
        conditions.push(condition(resolved, false, reason, message, generation));
    } else if refused.is_none() {
        // Of what is refused, references are not looked at.
        let (reason, message) = joined(findings, Effect::Warning)
            .or_else(|| joined(findings, Effect::Note))
            .unwrap_or((resolved, "Every reference was found.".to_owned()));
        conditions.push(condition(resolved, true, reason, message, generation));
    }
    if let Some((reason, message)) = joined(findings, Effect::Partial).filter(|_| refused.is_none()) {
        conditions.push(condition(PARTIALLY_INVALID, true, reason, message, generation));
    }
    conditions.shrink_to_fit();
    conditions
}

/// The status of a rule. Its hosts are those that it takes; where it takes none, those that it asks for.
pub(crate) fn rule(object: &RoutingRule, gateway: &Key, lowered: &Lowered) -> RoutingRuleStatus {
    let hosts = if lowered.hosts.is_empty() {
        shortened(object.spec.host_names.iter().map(String::as_str))
    } else {
        let names: Vec<String> = lowered.hosts.iter().map(ToString::to_string).collect();
        shortened(names.iter().map(String::as_str))
    };
    RoutingRuleStatus {
        summary: Some(RuleSummary { gateway: gateway.to_string(), hosts }),
        parents: vec![ParentStatus {
            gateway_ref: object.spec.gateway_ref.clone(),
            conditions: conditions(&lowered.findings, object.metadata.generation),
        }],
    }
}

/// Names with commas between them, as many as the column takes.
fn shortened<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let mut text = String::new();
    for (index, name) in names.enumerate() {
        if text.len() + name.len() > LONGEST_HOSTS {
            text.push_str(",...");
            break;
        }
        if index > 0 {
            text.push(',');
        }
        text.push_str(name);
    }
    text
}

/// The reason of the first finding of an effect, and the messages of all.
fn joined(findings: &[Finding], effect: Effect) -> Option<(&'static str, String)> {
    let mut of_effect = findings.iter().filter(|finding| finding.effect == effect);
    let first = of_effect.next()?;
    let mut text: String = first.message.chars().take(LONGEST).collect();
    let mut left_out = 0_usize;
    for finding in of_effect {
        if left_out > 0 || text.len() + finding.message.len() > LONGEST {
            left_out += 1;
        } else {
            text.push_str("; ");
            text.push_str(&finding.message);
        }
    }
    if left_out > 0 {
        text.push_str(&format!("; and {left_out} more"));
    }
    Some((first.reason, text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_object_says_nothing_about_references() {
        let conditions = conditions(&[Finding::refused("Conflicted", "taken")], Some(3));
        assert_eq!(conditions.len(), 1);
        assert_eq!((conditions[0].status.as_str(), conditions[0].reason.as_str()), ("False", "Conflicted"));
        assert_eq!(conditions[0].observed_generation, Some(3));
    }

    #[test]
    fn messages_that_do_not_fit_are_counted() {
        let findings: Vec<_> = (0..100).map(|_| Finding::partial("InvalidValue", "x".repeat(100))).collect();
        let message = &conditions(&findings, None)[2].message;
        assert!(message.len() < LONGEST + 20, "{}", message.len());
        assert!(message.ends_with("and 60 more"), "{message}");
    }
}
