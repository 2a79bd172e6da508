//! The Service that a gateway should have, as it is applied.

use penstock_api::ApplicationGateway;
use penstock_api::gateway::{ExternalTrafficPolicy, GatewayService, ServiceType};
use penstock_api::k8s::{OwnerReference, ResourceExt as _};
use penstock_translate::Key;
use serde_json::{Value, json};

use super::OwnServices;
use super::names::{CLASS, GATEWAY_NAME, GATEWAY_NAMESPACE, GATEWAY_UID, MANAGED_BY};

/// Everything that a Service is made of.
pub(super) struct Desired<'d> {
    pub(super) class: &'d str,
    pub(super) namespace: &'d str,
    pub(super) name: &'d str,
    pub(super) own: &'d OwnServices,
    pub(super) owner: Option<&'d OwnerReference>,
    /// Listener ports and their local ports.
    pub(super) ports: &'d [(u16, u16)],
}

impl Desired<'_> {
    /// The object for a server-side apply: it says all that is ours and nothing else.
    pub(super) fn service(&self, key: &Key, gateway: &ApplicationGateway) -> Value {
        let service = with_defaults(&gateway.spec.service, &self.own.defaults);
        let mut annotations = json!(service.annotations);
        annotations[GATEWAY_NAMESPACE] = json!(key.namespace);
        annotations[GATEWAY_NAME] = json!(key.name);
        let ports = self.ports.iter().map(
            |(port, local)| json!({"name": format!("p{port}"), "port": port, "protocol": "TCP", "targetPort": local}),
        );
        let mut spec = json!({
            "type": match service.type_ {
                ServiceType::LoadBalancer => "LoadBalancer",
                ServiceType::NodePort => "NodePort",
                ServiceType::ClusterIp => "ClusterIP",
            },
            "selector": self.own.selector,
            "ports": ports.collect::<Vec<_>>(),
        });
        if let Some(policy) = service.external_traffic_policy {
            spec["externalTrafficPolicy"] = json!(match policy {
                ExternalTrafficPolicy::Cluster => "Cluster",
                ExternalTrafficPolicy::Local => "Local",
            });
        }
        if let Some(class) = &service.load_balancer_class {
            spec["loadBalancerClass"] = json!(class);
        }
        if !service.load_balancer_source_ranges.is_empty() {
            spec["loadBalancerSourceRanges"] = json!(service.load_balancer_source_ranges);
        }
        let mut metadata = json!({
            "name": self.name,
            "namespace": self.namespace,
            "labels": {MANAGED_BY: "penstock", CLASS: self.class, GATEWAY_UID: gateway.uid().unwrap_or_default()},
            "annotations": annotations,
        });
        if let Some(owner) = self.owner {
            metadata["ownerReferences"] = json!([owner]);
        }
        json!({"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec})
    }
}

/// What a gateway leaves open comes from the process.
///
/// The schema fills in `type: LoadBalancer`, so a gateway that says nothing and one that says only this look the same.
fn with_defaults(service: &GatewayService, defaults: &GatewayService) -> GatewayService {
    let mut merged = service.clone();
    if *service == GatewayService::default() {
        merged.type_ = defaults.type_;
    }
    for (name, value) in &defaults.annotations {
        merged.annotations.entry(name.clone()).or_insert_with(|| value.clone());
    }
    if merged.type_ == ServiceType::LoadBalancer {
        merged.load_balancer_class = merged.load_balancer_class.or_else(|| defaults.load_balancer_class.clone());
    }
    if merged.type_ != ServiceType::ClusterIp {
        merged.external_traffic_policy = merged.external_traffic_policy.or(defaults.external_traffic_policy);
    }
    merged
}

/// Why a change cannot be applied, seen before the API server says it in its own words.
pub(super) fn refused(desired: &Value, existing: &penstock_api::k8s::Service) -> Option<String> {
    let spec = existing.spec.as_ref()?;
    let wanted = desired.pointer("/spec/loadBalancerClass").and_then(Value::as_str);
    // A class can come with the type, and go with it.
    let both = spec.type_.as_deref() == Some("LoadBalancer")
        && desired.pointer("/spec/type").and_then(Value::as_str) == Some("LoadBalancer");
    (both && wanted != spec.load_balancer_class.as_deref()).then(|| {
        format!(
            "spec.service.loadBalancerClass: {}: Kubernetes cannot change it from {} once the Service exists; put it back, or delete the Service {}/{}, \
             which frees its address",
            wanted.unwrap_or("none"),
            spec.load_balancer_class.as_deref().unwrap_or("none"),
            existing.namespace().unwrap_or_default(),
            existing.name_any(),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gateway(service: &Value) -> ApplicationGateway {
        serde_json::from_value(json!({
            "apiVersion": "penstock.dev/v1alpha1", "kind": "ApplicationGateway",
            "metadata": {"name": "shop", "namespace": "edge", "uid": "u1"},
            "spec": {"service": service, "listeners": [{"name": "http", "port": 80, "protocol": "HTTP"}]},
        }))
        .unwrap()
    }

    fn desired(service: &Value, defaults: GatewayService) -> Value {
        let own = OwnServices { selector: [("app".into(), "penstock".into())].into(), owner: None, defaults };
        let desired =
            Desired { class: "c", namespace: "ns", name: "shop-1", own: &own, owner: None, ports: &[(80, 10080)] };
        desired.service(&Key::new("edge", "shop"), &gateway(service))
    }

    #[test]
    fn a_service_says_whose_it_is_and_where_it_leads() {
        let service = desired(&json!({"annotations": {"cloud": "x"}}), GatewayService::default());
        assert_eq!(
            service,
            json!({
                "apiVersion": "v1", "kind": "Service",
                "metadata": {
                    "name": "shop-1", "namespace": "ns",
                    "labels": {"app.kubernetes.io/managed-by": "penstock", "penstock.dev/class": "c", "penstock.dev/gateway-uid": "u1"},
                    "annotations": {"cloud": "x", "penstock.dev/gateway-namespace": "edge", "penstock.dev/gateway-name": "shop"},
                },
                "spec": {
                    "type": "LoadBalancer", "selector": {"app": "penstock"},
                    "ports": [{"name": "p80", "port": 80, "protocol": "TCP", "targetPort": 10080}],
                },
            })
        );
    }

    #[test]
    fn defaults_fill_what_is_open() {
        let defaults: GatewayService = serde_json::from_value(
            json!({"type": "NodePort", "annotations": {"a": "default", "b": "default"}, "externalTrafficPolicy": "Local"}),
        )
        .unwrap();
        assert_eq!(desired(&json!({}), defaults.clone())["spec"]["type"], "NodePort");
        let some = desired(&json!({"annotations": {"a": "own"}}), defaults.clone());
        assert_eq!(
            (&some["metadata"]["annotations"]["a"], &some["metadata"]["annotations"]["b"]),
            (&json!("own"), &json!("default"))
        );
        assert_eq!(some["spec"]["externalTrafficPolicy"], "Local");
        assert_eq!(desired(&json!({"type": "ClusterIP"}), defaults)["spec"].get("externalTrafficPolicy"), None);
    }

    #[test]
    fn a_class_that_cannot_change_is_refused_with_the_remedy() {
        let existing = serde_json::from_value(json!({
            "metadata": {"name": "shop-1", "namespace": "ns"}, "spec": {"type": "LoadBalancer", "loadBalancerClass": "old"},
        }))
        .unwrap();
        let message =
            refused(&desired(&json!({"loadBalancerClass": "new"}), GatewayService::default()), &existing).unwrap();
        assert!(
            message.contains("new") && message.contains("old") && message.contains("delete the Service ns/shop-1"),
            "{message}"
        );
        assert_eq!(refused(&desired(&json!({"loadBalancerClass": "old"}), GatewayService::default()), &existing), None);
        assert_eq!(refused(&desired(&json!({"type": "ClusterIP"}), GatewayService::default()), &existing), None);
    }
}
