//! Events for what a user must act on, each once.

use jiff::Timestamp;
use penstock_api::k8s::{Event, MicroTime};
use penstock_api::reasons::ListenerReason;
use penstock_model::Problem;
use serde_json::json;

use crate::source::cluster::Live;

/// The longest note that the API server takes.
const LONGEST: usize = 1024;

/// The Event of a problem. Its name follows from the problem, so that no leader says it again while it is there.
pub(super) fn of(problem: &Problem, object: &Live, identity: &str) -> Option<Event> {
    let note: String = problem.message.chars().take(LONGEST / 4).collect();
    let name: String = problem.object.name.chars().take(200).collect();
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for part in [object.uid.as_str(), problem.condition, problem.reason, &problem.message] {
        for byte in part.bytes().chain(std::iter::once(0)) {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
    serde_json::from_value(json!({
        "metadata": {"name": format!("{}.{hash:016x}", name.trim_end_matches(['.', '-'])), "namespace": problem.object.namespace},
        "eventTime": MicroTime(Timestamp::now()),
        "reportingController": "penstock.dev/controller",
        "reportingInstance": identity.chars().take(128).collect::<String>(),
        "type": "Warning",
        "reason": problem.reason,
        "action": if ListenerReason::named(problem.reason).is_some_and(ListenerReason::warns) { "Warned" } else { "Refused" },
        "note": note,
        "regarding": {
            "apiVersion": penstock_api::API_VERSION,
            "kind": problem.object.kind,
            "namespace": problem.object.namespace,
            "name": problem.object.name,
            "uid": object.uid,
            "resourceVersion": object.resource_version,
        },
    }))
    .ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use penstock_model::ObjectRef;

    #[test]
    fn the_same_problem_has_the_same_name() {
        let problem = |message: &str| Problem {
            object: ObjectRef { kind: "RoutingRule", namespace: "shop".into(), name: "chat".into() },
            condition: "Accepted",
            reason: "InvalidValue",
            message: message.to_owned(),
        };
        let live = |uid: &str, version: &str| Live {
            uid: uid.to_owned(),
            generation: None,
            resource_version: version.to_owned(),
            status: None,
        };
        let name = |problem: &Problem, live: &Live| of(problem, live, "me").unwrap().metadata.name.unwrap();
        let one = name(&problem("a"), &live("u", "1"));
        assert_eq!(one, name(&problem("a"), &live("u", "2")));
        assert_ne!(one, name(&problem("b"), &live("u", "1")));
        assert_ne!(
            one,
            name(&problem("a"), &live("v", "1")),
            "another object of the same name has problems of its own"
        );
    }
}
