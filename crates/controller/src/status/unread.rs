//! Statuses of objects that cannot be read: such as those of definitions that are newer than this process.

use penstock_api::reasons::ConditionType;
use penstock_api::rule::{GatewayRef, ParentStatus, RuleSummary};
use penstock_api::{ApplicationGatewayStatus, RoutingRuleStatus};
use penstock_translate::Key;
use serde::Deserialize as _;

use super::conditions::{condition, date_gateway, date_rule};
use super::writer::{Memory, Pending, Writer, in_time};
use crate::outputs::State;
use crate::store::{Id, Kind};

/// What a rule says of whose it is, and its generation.
pub(super) type Parent = (GatewayRef, Option<i64>);

impl Writer {
    /// Those that differ. Where an older version of the object is in force, its status is about that one.
    pub(super) async fn unread(&self, memory: &mut Memory, state: &State) -> Vec<Pending> {
        let outcome = &state.outcome;
        let mut pending = Vec::new();
        for problem in &state.unread {
            let key = Key::new(problem.object.namespace.clone(), problem.object.name.clone());
            let refused = |generation| {
                vec![condition(ConditionType::Accepted, false, problem.reason, problem.message.clone(), generation)]
            };
            if problem.object.kind == Kind::Gateway.as_str() && !outcome.gateways.contains_key(&key) {
                let status = ApplicationGatewayStatus { conditions: refused(None), ..Default::default() };
                pending.extend(self.compare(memory, Id { kind: Kind::Gateway, key }, status, date_gateway).await);
            } else if problem.object.kind == Kind::Rule.as_str() && !outcome.rules.contains_key(&key) {
                let id = Id { kind: Kind::Rule, key };
                if !memory.parents.contains_key(problem) {
                    let parent = self.parent(&id).await;
                    memory.parents.insert(problem.clone(), parent);
                }
                let Some(Some((gateway_ref, generation))) = memory.parents.get(problem) else { continue };
                let namespace = gateway_ref.namespace.as_deref().unwrap_or(&id.key.namespace);
                let gateway = Key::new(namespace, gateway_ref.name.as_str());
                // Rules of another installation's gateways are for that one to judge.
                if !outcome.gateways.contains_key(&gateway) {
                    continue;
                }
                let parent = ParentStatus { gateway_ref: gateway_ref.clone(), conditions: refused(*generation) };
                let summary = RuleSummary { gateway: gateway.to_string(), hosts: String::new() };
                let status = RoutingRuleStatus { summary: Some(summary), parents: vec![parent] };
                pending.extend(self.compare(memory, id, status, date_rule).await);
            }
        }
        pending
    }

    /// Asks the API server for a rule of which the watch knows only that it is broken. None where not even its reference
    /// can be read: a status has its place below a gateway, so only an Event can tell.
    async fn parent(&self, id: &Id) -> Option<Parent> {
        let rule = in_time(self.api(id).get_opt(&id.key.name)).await.ok()??;
        self.saw(id, &rule);
        let gateway_ref = GatewayRef::deserialize(rule.data.pointer("/spec/gatewayRef")?).ok()?;
        Some((gateway_ref, rule.metadata.generation))
    }
}
