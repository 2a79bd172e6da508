//! What the data plane has noticed that the owner of an object should know: problems of which no translation knows.

use penstock_api::reasons::{ConditionType, RuleReason};
use penstock_model::{ObjectRef, Observed, ObservedIdle, Problem, RuleId};

use crate::store::Kind;

/// Warnings of one replica: each sees its own traffic. The same thing has the same words everywhere, so that it is said once.
pub fn warnings(observed: &Observed) -> Vec<Problem> {
    observed.idle.iter().map(|(rule, idle)| idle_websockets(rule, idle)).collect()
}

fn idle_websockets(rule: &RuleId, idle: &ObservedIdle) -> Problem {
    let ObservedIdle { limit, origin } = idle;
    let (reached, remedy) = (origin.path(origin.idle), origin.path("webSocket.idleTimeout"));
    let message = format!(
        "most WebSockets of this rule are closed because nothing moves in them for {limit:?}, which is {reached} of {}; \
         raise {remedy} above the interval at which the clients or the application ping, or let them ping more often",
        origin.object
    );
    Problem {
        object: ObjectRef { kind: Kind::Rule.as_str(), namespace: rule.namespace.clone(), name: rule.name.clone() },
        condition: ConditionType::Programmed.as_str(),
        reason: RuleReason::WebSocketsIdle.as_str(),
        message,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;
    use std::time::Duration;

    use penstock_model::SettingsOrigin;

    use super::*;

    #[test]
    fn a_warning_names_the_limit_and_the_field_to_raise() {
        let object = ObjectRef { kind: "ApplicationGateway", namespace: "edge".into(), name: "shop".into() };
        let origin = SettingsOrigin { object, field: "spec.backendSettings[chat]".into(), idle: "requestTimeout" };
        let idle = ObservedIdle { limit: Duration::from_secs(20), origin: Arc::new(origin) };
        let all = BTreeMap::from([(RuleId::new("shop", "chat"), idle)]);
        let observed = Observed { idle: all.into(), ..Observed::default() };
        let [warning] = &warnings(&observed)[..] else { panic!("one warning") };
        assert_eq!(warning.object.to_string(), "RoutingRule shop/chat");
        assert!(
            warning
                .message
                .contains("20s, which is spec.backendSettings[chat].requestTimeout of ApplicationGateway edge/shop"),
            "{warning}"
        );
        assert!(warning.message.contains("raise spec.backendSettings[chat].webSocket.idleTimeout"), "{warning}");
        assert_eq!(warnings(&Observed::default()), []);
    }
}
