//! Addresses of a gateway, from the Service in front of it.

use std::net::IpAddr;

use penstock_api::gateway::{AddressType, GatewayAddress};
use penstock_api::k8s::Service;

/// As many as a status holds.
const MOST: usize = 16;

/// LoadBalancer: what the load balancer has; NodePort and ClusterIP: the cluster's own.
pub(super) fn of(service: &Service) -> Vec<GatewayAddress> {
    let Some(spec) = &service.spec else { return Vec::new() };
    if spec.type_.as_deref() == Some("LoadBalancer") {
        let balancer = service.status.as_ref().and_then(|status| status.load_balancer.as_ref());
        let ingress = balancer.and_then(|balancer| balancer.ingress.as_ref()).into_iter().flatten();
        return ingress.filter_map(|i| address(i.ip.as_deref().or(i.hostname.as_deref())?)).take(MOST).collect();
    }
    let ips = spec.cluster_ips.iter().flatten().map(String::as_str).filter(|ip| *ip != "None");
    ips.filter_map(address).take(MOST).collect()
}

fn address(value: &str) -> Option<GatewayAddress> {
    let type_ = if value.parse::<IpAddr>().is_ok() { AddressType::IpAddress } else { AddressType::Hostname };
    (!value.is_empty()).then(|| GatewayAddress { type_, value: value.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn values(service: serde_json::Value) -> Vec<(AddressType, String)> {
        of(&serde_json::from_value(service).unwrap()).into_iter().map(|a| (a.type_, a.value)).collect()
    }

    #[test]
    fn each_type_of_service_has_its_own() {
        let ingress = json!([{"ip": "192.0.2.1"}, {"hostname": "lb.example.com"}]);
        let balancer = json!({"spec": {"type": "LoadBalancer", "clusterIPs": ["10.0.0.1"]}, "status": {"loadBalancer": {"ingress": ingress}}});
        assert_eq!(
            values(balancer),
            [(AddressType::IpAddress, "192.0.2.1".to_owned()), (AddressType::Hostname, "lb.example.com".to_owned())]
        );
        let cluster = json!({"spec": {"type": "ClusterIP", "clusterIPs": ["10.0.0.1", "fd00::1"]}});
        assert_eq!(values(cluster).len(), 2);
        assert!(values(json!({"spec": {"type": "LoadBalancer", "clusterIPs": ["10.0.0.1"]}})).is_empty());
        assert!(values(json!({"spec": {"clusterIPs": ["None"]}})).is_empty());
    }
}
