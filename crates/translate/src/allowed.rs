//! `allowedRules`: which rules a gateway takes.

use std::collections::BTreeMap;

use penstock_api::gateway::{AllowedRules, FromNamespaces, PriorityFrom};
use penstock_api::k8s::LabelSelector;

use crate::snapshot::{Key, Snapshot};

/// Whether a rule may attach; if not, the field that forbids it, with the remedy.
pub(crate) fn permits(
    allowed: &AllowedRules,
    gateway: &Key,
    rule: &Key,
    priority: Option<u32>,
    snapshot: &Snapshot,
) -> Result<(), String> {
    let own = rule.namespace == gateway.namespace;
    let namespaces = &allowed.namespaces;
    let taken = match namespaces.from {
        FromNamespaces::Same => own,
        FromNamespaces::All => true,
        FromNamespaces::Selector => {
            namespaces.selector.as_ref().is_some_and(|selector| selects(selector, &labels(snapshot, &rule.namespace)))
        }
    };
    if !taken {
        let remedy = match namespaces.from {
            FromNamespaces::Selector => "label the namespace so that the selector takes it",
            _ => "ask the owner of the gateway to allow the namespace",
        };
        return Err(format!(
            "allowedRules.namespaces.from {:?} of ApplicationGateway {gateway} does not take rules of namespace {:?}: {remedy}",
            namespaces.from, &*rule.namespace
        ));
    }
    match priority {
        Some(priority) if !own && allowed.priority == PriorityFrom::GatewayNamespace => Err(format!(
            "allowedRules.priority GatewayNamespace of ApplicationGateway {gateway} takes no priority from namespace {:?}: \
             remove priority {priority}, or ask the owner of the gateway for allowedRules.priority All",
            &*rule.namespace
        )),
        _ => Ok(()),
    }
}

/// Labels of a namespace; also of one that is not listed, which has its name as every namespace does.
fn labels<'a>(snapshot: &'a Snapshot, namespace: &'a str) -> BTreeMap<&'a str, &'a str> {
    let listed = snapshot.namespaces.get(namespace).and_then(|namespace| namespace.metadata.labels.as_ref());
    let mut labels: BTreeMap<&str, &str> =
        listed.into_iter().flatten().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    labels.insert("kubernetes.io/metadata.name", namespace);
    labels
}

/// Kubernetes' label selector: everything it says must hold. One that cannot be read takes nothing.
fn selects(selector: &LabelSelector, labels: &BTreeMap<&str, &str>) -> bool {
    let equal =
        selector.match_labels.iter().flatten().all(|(key, value)| labels.get(key.as_str()) == Some(&value.as_str()));
    equal
        && selector.match_expressions.iter().flatten().all(|expression| {
            let value = labels.get(expression.key.as_str());
            let listed = value.is_some_and(|value| expression.values.iter().flatten().any(|other| other == value));
            match expression.operator.as_str() {
                "In" => listed,
                "NotIn" => !listed,
                "Exists" => value.is_some(),
                "DoesNotExist" => value.is_none(),
                _ => false,
            }
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(selector: &str, labels: &[(&str, &str)]) -> bool {
        selects(&serde_yaml::from_str(selector).expect("a selector"), &labels.iter().copied().collect())
    }

    #[test]
    fn every_requirement_must_hold() {
        let edge = [("edge", "true"), ("team", "a")];
        assert!(taken("matchLabels: {edge: 'true'}", &edge));
        assert!(!taken("matchLabels: {edge: 'true', team: b}", &edge));
        assert!(taken("{}", &[]));
    }

    #[test]
    fn expressions_as_kubernetes_reads_them() {
        let labels = [("team", "a")];
        let expression = |text: &str| taken(&format!("matchExpressions: [{text}]"), &labels);
        assert!(expression("{key: team, operator: In, values: [a, b]}"));
        assert!(!expression("{key: team, operator: NotIn, values: [a, b]}"));
        assert!(expression("{key: other, operator: NotIn, values: [a]}"));
        assert!(expression("{key: team, operator: Exists}"));
        assert!(expression("{key: other, operator: DoesNotExist}"));
        assert!(!expression("{key: team, operator: Near}"));
    }
}
