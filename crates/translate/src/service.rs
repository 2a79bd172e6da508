//! A Service and one of its ports: found, permitted, and made a cluster of.

use std::cell::RefCell;
use std::sync::Arc;

use penstock_api::gateway::ServiceRef;
use penstock_api::k8s::{IntOrString, Service, ServicePort};
use penstock_api::reasons::RuleReason;
use penstock_model::{Cluster, ClusterId, EndpointSet, EndpointSource, Name, Probe, Protocol};

use crate::dns_name;
use crate::endpoints::endpoints;
use crate::finding::Finding;
use crate::grant::{Referrer, permitted};
use crate::probe::{self, Readiness};
use crate::probe_host;
use crate::settings::{ProbeChoice, Settings};
use crate::snapshot::{Key, Options, Snapshot};
use crate::upstream::Known;

/// What a result was made from: when one of these changes, it is made again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Dependencies {
    /// Services, with their EndpointSlices and Pods; also those that are not there.
    pub(crate) services: Keys,
    /// ReferenceGrants.
    pub(crate) grants: bool,
    /// Services of which a Pod is wanted.
    pub(crate) pods: Keys,
    /// ConfigMaps with authorities of backends, wanted as well.
    pub(crate) config_maps: Keys,
    /// Secrets with authorities of backends or our own certificate for them, wanted as well.
    pub(crate) secrets: Keys,
}

/// A few keys, each once. Of most rules it is one: a tree would take ten times its memory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Keys(Box<[Key]>);

impl Keys {
    pub(crate) fn insert(&mut self, key: &Key) {
        if !self.0.contains(key) {
            self.0 = self.0.iter().chain([key]).cloned().collect();
        }
    }

    pub(crate) fn iter(&self) -> std::slice::Iter<'_, Key> {
        self.0.iter()
    }
}

/// A port of a Service.
#[derive(Debug)]
pub(crate) struct Resolved {
    key: Key,
    number: u16,
    /// Empty when it has none.
    port_name: Name,
    target: IntOrString,
    /// A complete DNS name: nobody's search list is meant for it.
    external_name: Option<Name>,
    /// The Service says that the port speaks HTTP/2 without TLS (KEP-3726).
    h2c: bool,
}

/// Finds the port that a reference names. `field` is where the reference stands, for messages.
///
/// # Errors
/// Why requests for it are answered with 502.
pub(crate) fn resolve(
    (snapshot, options): (&Snapshot, &Options),
    from: Referrer<'_>,
    field: &str,
    reference: &ServiceRef,
    dependencies: &mut Dependencies,
) -> Result<Resolved, Finding> {
    let key = Key::new(reference.namespace.as_deref().unwrap_or(from.namespace), reference.name.as_str());
    dependencies.services.insert(&key);
    dependencies.grants |= *key.namespace != *from.namespace;
    let refuse =
        |reason: RuleReason, message: String| Finding::unresolved(reason.as_str(), format!("{field}: {message}"));
    permitted(snapshot, from, "Service", &key).map_err(|why| refuse(RuleReason::RefNotPermitted, why))?;
    let Some(service) = snapshot.services.get(&key) else {
        let message = format!("Service {key} does not exist: create it, or correct the name");
        return Err(refuse(RuleReason::ServiceNotFound, message));
    };
    let spec = service.spec.as_ref();
    let external_name = spec.filter(|spec| spec.type_.as_deref() == Some("ExternalName"));
    let external_name = external_name.and_then(|spec| spec.external_name.as_deref());
    if external_name.is_some() && !options.allow_external_name {
        let message = format!(
            "Service {key} is of type ExternalName, which is not allowed: start Penstock with --allow-external-name"
        );
        return Err(refuse(RuleReason::RefNotPermitted, message));
    }
    let external_name = external_name.map(|name| {
        dns_name::parse(name).map(|name| dns_name::complete(&name)).map_err(|what| {
            let message = format!("Service {key} has the externalName {name:?}, which {what}: correct it");
            refuse(RuleReason::InvalidValue, message)
        })
    });
    let external_name = external_name.transpose()?;
    let port = find_port(service, &reference.port);
    // An ExternalName Service need not list its ports.
    let number = match (port, &external_name, &reference.port) {
        (Some(port), ..) => u16::try_from(port.port).ok(),
        (None, Some(_), IntOrString::Int(number)) => u16::try_from(*number).ok(),
        _ => None,
    };
    let Some(number) = number else {
        let wanted = match &reference.port {
            IntOrString::Int(number) => number.to_string(),
            IntOrString::String(name) => format!("{name:?}"),
        };
        let message = format!("Service {key} has no TCP port {wanted}: it has {}", ports(service));
        return Err(refuse(RuleReason::PortNotFound, message));
    };
    Ok(Resolved {
        key,
        number,
        port_name: port.and_then(|port| port.name.as_deref()).unwrap_or_default().into(),
        target: port.and_then(|port| port.target_port.clone()).unwrap_or(IntOrString::Int(i32::from(number))),
        external_name,
        h2c: port.is_some_and(|port| port.app_protocol.as_deref() == Some("kubernetes.io/h2c")),
    })
}

fn tcp(port: &ServicePort) -> bool {
    port.protocol.as_deref().is_none_or(|protocol| protocol == "TCP")
}

fn find_port<'a>(service: &'a Service, wanted: &IntOrString) -> Option<&'a ServicePort> {
    let ports = service.spec.as_ref()?.ports.as_deref()?;
    ports.iter().filter(|port| tcp(port)).find(|port| match wanted {
        IntOrString::Int(number) => port.port == *number,
        IntOrString::String(name) => port.name.as_ref() == Some(name),
    })
}

fn ports(service: &Service) -> String {
    let listed = service.spec.iter().flat_map(|spec| spec.ports.iter().flatten()).filter(|port| tcp(port));
    let listed: Vec<String> = listed
        .map(|port| match &port.name {
            Some(name) => format!("{} ({name})", port.port),
            None => port.port.to_string(),
        })
        .collect();
    if listed.is_empty() { "none".to_owned() } else { listed.join(", ") }
}

/// The cluster of a port under some settings.
pub(crate) fn cluster(
    (snapshot, options, known): (&Snapshot, &Options, &RefCell<Known>),
    field: &str,
    port: &Resolved,
    pool: &Name,
    settings: &Settings,
    dependencies: &mut Dependencies,
    findings: &mut Vec<Finding>,
) -> Cluster {
    let Resolved { key, number, port_name, target, external_name, h2c } = port;
    let target = settings.port.map_or_else(|| target.clone(), |port| IntOrString::Int(i32::from(port)));
    let (source, set) = match external_name {
        Some(name) => {
            let port = settings.port.unwrap_or(*number);
            (EndpointSource::Name { name: name.clone(), port }, Arc::default())
        }
        None => {
            let source = EndpointSource::Service {
                namespace: key.namespace.clone(),
                name: key.name.clone(),
                port: port_name.clone(),
                override_port: settings.port,
            };
            let slices = snapshot.endpoint_slices.get(key).map(Vec::as_slice).unwrap_or_default();
            let read = || endpoints(slices, port_name, settings.port, options);
            let set = known.borrow_mut().endpoints(&source, read);
            if set.as_slice().is_empty() {
                let message = format!(
                    "{field}: Service {key} has no ready endpoints for port {number}: requests are answered with 502"
                );
                findings.push(Finding::note(RuleReason::NoEndpoints.as_str(), message));
            }
            (source, set)
        }
    };
    // Settings that ask for TLS get it: what the Service says is the way without.
    let h2c = *h2c && settings.tls.is_none();
    let protocol = if h2c { Protocol::Http2 } else { settings.protocol };
    let probe = match &settings.probe {
        ProbeChoice::Unnamed if external_name.is_none() => {
            dependencies.pods.insert(key);
            Some(match snapshot.pods.get(key).map(|pod| probe::readiness(pod, &target)) {
                Some(Readiness::Probe(probe)) => probe,
                Some(Readiness::None) | None => default_probe(settings, protocol),
            })
        }
        _ => chosen_probe(settings, protocol),
    };
    let id = ClusterId { backend: format!("{key}:{number}").into(), settings: settings.id.clone() };
    Cluster { protocol, ..build(id, pool, settings, source, set, probe) }
}

/// The probe of a cluster without Pods, whose endpoints speak this.
pub(crate) fn chosen_probe(settings: &Settings, protocol: Protocol) -> Option<Probe> {
    match &settings.probe {
        ProbeChoice::Named(probe, true) => Some(probe.clone()),
        // Of the two only the Service may know that it is HTTP/2.
        ProbeChoice::Named(probe, false) if protocol == Protocol::Http2 => Some(Probe { protocol, ..probe.clone() }),
        ProbeChoice::Named(probe, false) => Some(probe.clone()),
        ProbeChoice::Missing(_) => None,
        ProbeChoice::Unnamed => Some(default_probe(settings, protocol)),
    }
}

/// The default asks for the host that the settings send, as Azure's does.
fn default_probe(settings: &Settings, protocol: Protocol) -> Probe {
    probe::default(probe_host::of_settings(&settings.host), settings.tls.as_ref(), protocol)
}

/// A cluster from its parts.
pub(crate) fn build(
    id: ClusterId,
    pool: &Name,
    settings: &Settings,
    source: EndpointSource,
    endpoints: Arc<EndpointSet>,
    probe: Option<Probe>,
) -> Cluster {
    let probe = match (&source, probe) {
        (EndpointSource::Name { name, .. }, Some(probe)) => Some(probe_host::ask_for(probe, name)),
        (_, probe) => probe,
    };
    Cluster {
        id,
        pool: pool.clone(),
        settings: settings.label.clone(),
        source,
        endpoints,
        protocol: settings.protocol,
        tls: settings.tls.clone(),
        balancing: settings.balancing,
        slow_start: settings.slow_start,
        affinity: settings.affinity.as_ref().map(|affinity| Arc::clone(&affinity.key)),
        probe,
        draining: settings.draining,
        outlier: settings.outlier,
        limits: settings.limits,
    }
}
