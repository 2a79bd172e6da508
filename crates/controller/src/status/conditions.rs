//! Conditions: made, and merged with those that the API server has, so that a transition is one.

use jiff::Timestamp;
use penstock_api::k8s::{Condition, Time};
use penstock_api::reasons::ConditionType;
use penstock_api::{ApplicationGatewayStatus, RoutingRuleStatus};

/// The longest message of a condition.
const LONGEST: usize = 32768;

/// A condition; its time is set later.
pub(super) fn condition(
    type_: ConditionType,
    status: bool,
    reason: &str,
    message: String,
    generation: Option<i64>,
) -> Condition {
    Condition {
        type_: type_.as_str().to_owned(),
        status: if status { "True" } else { "False" }.to_owned(),
        reason: reason.to_owned(),
        message,
        observed_generation: generation,
        last_transition_time: Time(Timestamp::UNIX_EPOCH),
    }
}

/// Puts a condition in the place of the one of the same type.
pub(super) fn set(conditions: &mut Vec<Condition>, condition: Condition) {
    conditions.retain(|old| old.type_ != condition.type_);
    conditions.push(condition);
}

/// Whether a condition is there and true.
pub(super) fn is_true(conditions: &[Condition], type_: ConditionType) -> bool {
    conditions.iter().any(|condition| condition.type_ == type_.as_str() && condition.status == "True")
}

/// Transition times of a gateway's conditions: the old ones where the status is the same.
pub(super) fn date_gateway(new: &mut ApplicationGatewayStatus, old: Option<&ApplicationGatewayStatus>, now: Timestamp) {
    date(&mut new.conditions, old.map_or(&[], |old| &old.conditions), now);
    for listener in &mut new.listeners {
        let old = old.and_then(|old| old.listeners.iter().find(|other| other.name == listener.name));
        date(&mut listener.conditions, old.map_or(&[], |old| &old.conditions), now);
    }
}

/// Transition times of a rule's conditions.
pub(super) fn date_rule(new: &mut RoutingRuleStatus, old: Option<&RoutingRuleStatus>, now: Timestamp) {
    for parent in &mut new.parents {
        let old = old.and_then(|old| old.parents.iter().find(|other| other.gateway_ref == parent.gateway_ref));
        date(&mut parent.conditions, old.map_or(&[], |old| &old.conditions), now);
    }
}

fn date(new: &mut [Condition], old: &[Condition], now: Timestamp) {
    for condition in new {
        let same = old.iter().find(|old| old.type_ == condition.type_ && old.status == condition.status);
        // Kubernetes keeps whole seconds; a fraction would look like a difference for ever.
        let now = Timestamp::from_second(now.as_second()).unwrap_or(now);
        condition.last_transition_time = same.map_or(Time(now), |same| same.last_transition_time.clone());
        condition.message.truncate(condition.message.floor_char_boundary(LONGEST));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_changes_with_the_status_alone() {
        let accepted =
            |status, reason: &str| condition(ConditionType::Accepted, status, reason, String::new(), Some(1));
        let first = Timestamp::from_second(1000).unwrap();
        let later = Timestamp::from_second(2000).unwrap();
        let status = |condition| ApplicationGatewayStatus { conditions: vec![condition], ..Default::default() };
        let mut old = status(accepted(false, "InvalidValue"));
        date_gateway(&mut old, None, first);
        let mut new = status(accepted(false, "ListenersNotValid"));
        date_gateway(&mut new, Some(&old), later);
        assert_eq!(new.conditions[0].last_transition_time.0, first);
        let mut new = status(accepted(true, "Accepted"));
        date_gateway(&mut new, Some(&old), later);
        assert_eq!(new.conditions[0].last_transition_time.0, later);
    }

    #[test]
    fn a_long_message_is_cut_between_characters() {
        let mut conditions = [condition(ConditionType::Accepted, true, "Accepted", "ä".repeat(LONGEST), None)];
        date(&mut conditions, &[], Timestamp::UNIX_EPOCH);
        assert_eq!(conditions[0].message.len(), LONGEST);
    }
}
