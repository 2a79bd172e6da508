//! Endpoints of a Service port from its EndpointSlices. The store uses the same function for its fast way, so both
//! ways always agree.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use penstock_api::k8s::EndpointSlice;
use penstock_model::{Endpoint, EndpointSet, Name};

use crate::snapshot::Options;

/// Endpoints that are ready and not terminating, of both address families, at the port named `port_name` (empty for
/// the only, unnamed port) or at `override_port`. Slices of names (FQDN) and addresses that may not be backends are
/// left out.
pub fn endpoints(
    slices: &[Arc<EndpointSlice>],
    port_name: &str,
    override_port: Option<u16>,
    options: &Options,
) -> EndpointSet {
    let mut found = Vec::new();
    for slice in slices.iter().filter(|slice| matches!(slice.address_type.as_str(), "IPv4" | "IPv6")) {
        let host: Option<Name> = slice
            .metadata
            .labels
            .as_ref()
            .and_then(|labels| labels.get("kubernetes.io/service-name"))
            .map(|name| name.as_str().into());
        let Some(port) = override_port.or_else(|| port_of(slice, port_name)) else { continue };
        for endpoint in &slice.endpoints {
            let conditions = endpoint.conditions.as_ref();
            let ready = conditions.and_then(|c| c.ready) != Some(false);
            let terminating = conditions.and_then(|c| c.terminating) == Some(true);
            // Addresses of one endpoint are the same place: the first stands for all (as kube-proxy takes it).
            let address = endpoint.addresses.first().and_then(|address| address.parse::<IpAddr>().ok());
            let address = address.map(|address| SocketAddr::new(address, port));
            if let Some(address) = address.filter(|&a| ready && !terminating && options.permits_at(a).is_ok()) {
                found.push(Endpoint { address, host: host.clone(), weight: 1 });
            }
        }
    }
    EndpointSet::new(found)
}

fn port_of(slice: &EndpointSlice, name: &str) -> Option<u16> {
    let ports = slice.ports.as_deref().unwrap_or_default();
    let tcp = |protocol: Option<&str>| protocol.is_none_or(|protocol| protocol == "TCP");
    let port = ports.iter().find(|p| p.name.as_deref().unwrap_or_default() == name && tcp(p.protocol.as_deref()))?;
    port.port.and_then(|number| u16::try_from(number).ok()).filter(|&number| number > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slice(yaml: &str) -> Arc<EndpointSlice> {
        Arc::new(serde_yaml::from_str(yaml).expect("a slice"))
    }

    fn addresses(set: &EndpointSet) -> Vec<String> {
        set.as_slice().iter().map(|endpoint| endpoint.address.to_string()).collect()
    }

    const V4: &str = "
metadata: {name: a-1, labels: {kubernetes.io/service-name: a}}
addressType: IPv4
ports: [{name: http, port: 8080}, {name: dns, port: 53, protocol: UDP}]
endpoints:
- {addresses: [10.0.0.3]}
- {addresses: [10.0.0.2], conditions: {ready: true}}
- {addresses: [10.0.0.4], conditions: {ready: false}}
- {addresses: [10.0.0.5], conditions: {ready: true, terminating: true}}
- {addresses: [127.0.0.1]}
- {addresses: []}
";

    #[test]
    fn ready_ones_at_the_named_port_sorted() {
        let set = endpoints(&[slice(V4)], "http", None, &Options::default());
        assert_eq!(addresses(&set), ["10.0.0.2:8080", "10.0.0.3:8080"]);
        assert_eq!(set.as_slice()[0].host.as_deref(), Some("a"));
    }

    #[test]
    fn another_port_name_and_udp_have_none() {
        assert!(endpoints(&[slice(V4)], "other", None, &Options::default()).as_slice().is_empty());
        assert!(endpoints(&[slice(V4)], "dns", None, &Options::default()).as_slice().is_empty());
    }

    #[test]
    fn the_port_of_the_settings_replaces_the_target_port() {
        let set = endpoints(&[slice(V4)], "other", Some(9000), &Options::default());
        assert_eq!(addresses(&set), ["10.0.0.2:9000", "10.0.0.3:9000"]);
    }

    #[test]
    fn both_families_count_and_names_do_not() {
        let v6 = slice(
            "{metadata: {name: a-2}, addressType: IPv6, ports: [{name: http, port: 8080}], endpoints: [{addresses: ['2001:db8::1']}]}",
        );
        let fqdn = slice(
            "{metadata: {name: a-3}, addressType: FQDN, ports: [{name: http, port: 8080}], endpoints: [{addresses: [example.com]}]}",
        );
        let set = endpoints(&[slice(V4), v6, fqdn], "http", None, &Options::default());
        assert_eq!(addresses(&set), ["10.0.0.2:8080", "10.0.0.3:8080", "[2001:db8::1]:8080"]);
    }

    #[test]
    fn an_unnamed_port_goes_by_the_empty_name() {
        let only = slice(
            "{metadata: {name: a}, addressType: IPv4, ports: [{name: '', port: 80}], endpoints: [{addresses: [10.0.0.1]}]}",
        );
        assert_eq!(addresses(&endpoints(&[only], "", None, &Options::default())), ["10.0.0.1:80"]);
    }
}
