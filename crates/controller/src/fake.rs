//! For tests only: a front end that makes a cluster of every Service that a rule names.

use std::sync::Arc;
use std::time::Duration;

use penstock_api::k8s::{IntOrString, ResourceExt};
use penstock_model::{
    Balancing, Cluster, ClusterId, Config, Draining, Endpoint, EndpointSet, EndpointSource, Limits, OutlierDetection,
    Protocol,
};
use penstock_translate::{Key, Outcome, Snapshot};

use crate::frontend::{Endpoints, Frontend};

/// What rules want besides their Services is said by annotations: `config-map: name`.
#[derive(Clone, Copy)]
pub(crate) struct Fake;

impl Frontend for Fake {
    fn translate(&mut self, snapshot: &Snapshot) -> Outcome {
        let mut outcome = Outcome::default();
        let mut config = Config::default();
        for (key, rule) in &snapshot.rules {
            if let Some(name) = rule.annotations().get("config-map") {
                let wanted = Key::new(key.namespace.clone(), name.as_str());
                outcome.wants.config_maps.insert(wanted.clone());
                if !snapshot.config_maps.contains_key(&wanted) {
                    continue;
                }
            }
            for service in rule.spec.backend.iter().flat_map(|backend| &backend.services) {
                let port = match &service.port {
                    IntOrString::Int(port) => port.to_string(),
                    IntOrString::String(port) => port.clone(),
                };
                let source = EndpointSource::Service {
                    namespace: key.namespace.clone(),
                    name: service.name.as_str().into(),
                    port: "".into(),
                    override_port: None,
                };
                let id = ClusterId {
                    backend: format!("{}/{}:{port}", key.namespace, service.name).into(),
                    settings: key.to_string().into(),
                };
                let endpoints = Arc::new(Fake.of(&source, snapshot));
                config.clusters.insert(id.clone(), Arc::new(cluster(id, source, endpoints)));
            }
        }
        outcome.config = Arc::new(config);
        outcome
    }

    fn endpoints(&self) -> Box<dyn Endpoints> {
        Box::new(Self)
    }
}

impl Endpoints for Fake {
    fn of(&self, source: &EndpointSource, snapshot: &Snapshot) -> EndpointSet {
        let EndpointSource::Service { namespace, name, .. } = source else { return EndpointSet::default() };
        let slices = snapshot.endpoint_slices.get(&Key::new(namespace.clone(), name.clone()));
        let endpoints = slices.into_iter().flatten().flat_map(|slice| {
            let port = slice.ports.iter().flatten().find_map(|port| port.port).unwrap_or(80);
            let addresses = slice.endpoints.iter().flat_map(|endpoint| &endpoint.addresses);
            addresses.filter_map(move |ip| format!("{ip}:{port}").parse().ok())
        });
        EndpointSet::new(endpoints.map(|address| Endpoint { address, host: None, weight: 1 }).collect())
    }
}

fn cluster(id: ClusterId, source: EndpointSource, endpoints: Arc<EndpointSet>) -> Cluster {
    Cluster {
        pool: id.backend.clone(),
        settings: id.settings.clone(),
        id,
        source,
        endpoints,
        protocol: Protocol::Http1,
        tls: None,
        balancing: Balancing::RoundRobin,
        slow_start: None,
        affinity: None,
        probe: None,
        draining: Draining { timeout: Duration::from_secs(30), spread: Duration::from_secs(3) },
        outlier: OutlierDetection::default(),
        limits: Limits::default(),
    }
}

/// The backends of a configuration.
pub(crate) fn backends(config: &Config) -> Vec<String> {
    config.clusters.keys().map(|id| id.backend.to_string()).collect()
}
