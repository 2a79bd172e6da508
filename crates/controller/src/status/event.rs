//! Events for what a user must act on, each once.

use std::collections::HashSet;

use jiff::Timestamp;
use kube::api::{Api, PostParams};
use penstock_api::k8s::{Event, MicroTime};
use penstock_api::reasons::{ListenerReason, RuleReason};
use penstock_model::Problem;
use serde_json::json;
use tokio::time::Instant;

use super::writer::{Memory, RECHECK, Writer, in_time};
use crate::outputs::State;
use crate::source::cluster::{Live, delay};
use crate::store::{Id, Kind};

/// The longest note that the API server takes, in bytes.
const LONGEST: usize = 1024;

/// What is done with, so that nothing is said twice.
#[derive(Debug, Default)]
pub(super) struct Said {
    /// The API server has an Event of it.
    there: HashSet<Problem>,
    /// It does not take one, or does not know the object. That may change.
    not_now: HashSet<Problem>,
}

impl Said {
    fn contains(&self, problem: &Problem) -> bool {
        self.there.contains(problem) || self.not_now.contains(problem)
    }

    /// What was not taken is tried once more.
    pub(super) fn again(&mut self) {
        self.not_now.clear();
    }
}

impl Writer {
    /// Says what is new among the problems, and when to look again.
    ///
    /// Problems of objects are the leader's to say. What a replica has noticed in its own traffic it says itself, leader or
    /// not; whoever comes second finds it said, because the name of the Event follows from what it says.
    pub(super) async fn events(&self, memory: &mut Memory, state: Option<&State>, noticed: &[Problem]) -> Instant {
        let of_objects = state.into_iter().flat_map(State::problems);
        let problems: HashSet<&Problem> = of_objects.chain(noticed).collect();
        memory.said.there.retain(|problem| problems.contains(problem));
        memory.said.not_now.retain(|problem| problems.contains(problem));
        for problem in problems {
            let kind = match problem.object.kind {
                kind if kind == Kind::Gateway.as_str() => Kind::Gateway,
                kind if kind == Kind::Rule.as_str() => Kind::Rule,
                _ => continue,
            };
            let mine = *self.leads.borrow() || noticed.contains(problem);
            if memory.said.contains(problem) || !mine {
                continue;
            }
            if let Err(next) = memory.pace.take_any(Instant::now()) {
                return next;
            }
            let id = Id::new(kind, problem.object.namespace.clone(), problem.object.name.clone());
            let taken = match self.live_of(&id).await.and_then(|live| of(problem, &live, &self.identity)) {
                Some(event) => match self.create(&problem.object.namespace, &event).await {
                    Ok(taken) => taken,
                    Err(error) => {
                        tracing::debug!(object = %id, %error, "writing an Event again");
                        memory.failures += 1;
                        return Instant::now() + delay(memory.failures);
                    }
                },
                None => false,
            };
            memory.failures = 0;
            let done = if taken { &mut memory.said.there } else { &mut memory.said.not_now };
            done.insert(problem.clone());
        }
        Instant::now() + RECHECK
    }

    /// Whether the API server has it now; an error may be none a moment later.
    async fn create(&self, namespace: &str, event: &Event) -> Result<bool, kube::Error> {
        let api: Api<Event> = Api::namespaced(self.client.clone(), namespace);
        match in_time(api.create(&PostParams::default(), event)).await {
            Ok(_) => Ok(true),
            // Said before, by this process or by another.
            Err(kube::Error::Api(status)) if status.code == 409 => Ok(true),
            Err(kube::Error::Api(status)) if matches!(status.code, 400 | 403 | 404 | 422) => {
                tracing::debug!(namespace, "an Event is refused: {}", status.message);
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }
}

fn warns(reason: &str) -> bool {
    ListenerReason::named(reason).is_some_and(ListenerReason::warns)
        || RuleReason::named(reason).is_some_and(RuleReason::warns)
}

/// The Event of a problem. Its name follows from the problem, so that no leader says it again while it is there.
fn of(problem: &Problem, object: &Live, identity: &str) -> Option<Event> {
    let note = &problem.message[..problem.message.floor_char_boundary(LONGEST)];
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
        "action": if warns(problem.reason) { "Warned" } else { "Refused" },
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

    fn problem(message: &str) -> Problem {
        Problem {
            object: ObjectRef { kind: "RoutingRule", namespace: "shop".into(), name: "chat".into() },
            condition: "Accepted",
            reason: "InvalidValue",
            message: message.to_owned(),
        }
    }

    fn live(uid: &str, version: &str) -> Live {
        Live { uid: uid.to_owned(), generation: None, resource_version: version.to_owned(), status: None }
    }

    #[test]
    fn a_note_is_as_long_as_the_api_server_takes() {
        let note = |message: &str| of(&problem(message), &live("u", "1"), "me").unwrap().note.unwrap();
        let whole = "a".repeat(LONGEST);
        assert_eq!(note(&whole), whole);
        // Bytes count, and a character is never cut.
        assert_eq!(note(&format!("a{}", "ä".repeat(LONGEST))), format!("a{}", "ä".repeat(LONGEST / 2 - 1)));
    }

    #[test]
    fn the_same_problem_has_the_same_name() {
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
