//! A gateway's whole status: what the translation knows, and what only the running process knows.

use penstock_api::ApplicationGatewayStatus;
use penstock_api::gateway::{BackendStatus, GatewayAddress, ListenerStatus, UnhealthyEndpoint};
use penstock_api::reasons::{ConditionType, GatewayReason, ListenerReason};
use penstock_model::{ClusterId, Config, EndpointSource, Listener, Observed, ObservedName};
use penstock_translate::{GatewayStatus, Key};

use super::conditions::{condition, is_true, set};

/// The limits of the schema.
const BACKENDS: usize = 256;
const UNHEALTHY: usize = 8;
/// In characters.
const LONGEST_REASON: usize = 256;

/// What is in front of a gateway.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Front {
    /// Nothing that is known: an address is not waited for.
    Unknown,
    /// A Service and its addresses so far.
    Service(Vec<GatewayAddress>),
    /// A Service that cannot be as it should be, and why.
    Refused(String),
}

/// Completes the status of one gateway.
pub(super) fn complete(
    key: &Key,
    status: &GatewayStatus,
    config: &Config,
    observed: &Observed,
    front: &Front,
) -> ApplicationGatewayStatus {
    let mut whole = status.status.clone();
    let generation = whole.conditions.iter().find_map(|condition| condition.observed_generation);
    let listeners: Vec<&Listener> = config
        .listeners
        .iter()
        .map(AsRef::as_ref)
        .filter(|listener| listener.id.gateway.namespace == key.namespace && listener.id.gateway.name == key.name)
        .collect();
    for listener in &mut whole.listeners {
        complete_listener(listener, &listeners, observed, generation);
    }
    if let Front::Service(addresses) = front {
        whole.addresses.clone_from(addresses);
    }
    let (programmed, reason, message) = programmed(&whole, &listeners, observed, front);
    set(&mut whole.conditions, condition(ConditionType::Programmed, programmed, reason.as_str(), message, generation));
    whole.backends = status.clusters.iter().filter_map(|id| backend(id, config, observed)).collect();
    let (healthy, total) =
        whole.backends.iter().fold((0, 0), |(healthy, total), b| (healthy + b.healthy, total + b.total));
    whole.summary.get_or_insert_default().healthy = format!("{healthy}/{total}");
    whole.backends.truncate(BACKENDS);
    whole
}

fn programmed(
    status: &ApplicationGatewayStatus,
    listeners: &[&Listener],
    observed: &Observed,
    front: &Front,
) -> (bool, GatewayReason, String) {
    let ports = || listeners.iter().map(|listener| (listener.port, observed.ports.get(&listener.bind_port)));
    if !is_true(&status.conditions, ConditionType::Accepted) {
        return (false, GatewayReason::Pending, "the gateway is not accepted".to_owned());
    }
    if let Front::Refused(message) = front {
        return (false, GatewayReason::AddressNotAssigned, message.clone());
    }
    if let Some((port, error)) = ports().find_map(|(port, bound)| Some((port, bound?.as_ref().err()?))) {
        return (false, GatewayReason::NoResources, format!("port {port} cannot be bound: {error}"));
    }
    if let Some((port, _)) = ports().find(|(_, bound)| bound.is_none()) {
        return (false, GatewayReason::Pending, format!("port {port} is not bound yet"));
    }
    if listeners.is_empty() {
        return (false, GatewayReason::Pending, "no listener is in force yet".to_owned());
    }
    if *front == Front::Service(Vec::new()) {
        let message =
            "the Service in front has no address yet; see its Events, and whether this cluster has load balancers";
        return (false, GatewayReason::AddressNotAssigned, message.to_owned());
    }
    (true, GatewayReason::Programmed, "every listener is bound".to_owned())
}

fn complete_listener(
    status: &mut ListenerStatus,
    listeners: &[&Listener],
    observed: &Observed,
    generation: Option<i64>,
) {
    let listener = listeners.iter().find(|listener| *listener.id.name == *status.name);
    let bound = listener.and_then(|listener| observed.ports.get(&listener.bind_port));
    let (programmed, reason, message) = match bound {
        Some(Err(error)) => {
            let message = format!("the port cannot be bound: {error}");
            let refused = condition(
                ConditionType::Accepted,
                false,
                ListenerReason::PortUnavailable.as_str(),
                message.clone(),
                generation,
            );
            set(&mut status.conditions, refused);
            (false, ListenerReason::PortUnavailable, message)
        }
        Some(Ok(())) if listener.is_some_and(|listener| !has_certificate(listener)) => {
            (false, ListenerReason::Pending, "no certificate can be used: see ResolvedRefs".to_owned())
        }
        Some(Ok(())) => (true, ListenerReason::Programmed, String::new()),
        None if listener.is_some() => (false, ListenerReason::Pending, "the port is not bound yet".to_owned()),
        None => (false, ListenerReason::Pending, "the listener is not in force".to_owned()),
    };
    set(&mut status.conditions, condition(ConditionType::Programmed, programmed, reason.as_str(), message, generation));
}

/// Whether clients can connect: without TLS always.
fn has_certificate(listener: &Listener) -> bool {
    listener.tls.as_ref().is_none_or(|tls| !tls.certificates.is_empty())
}

fn backend(id: &ClusterId, config: &Config, observed: &Observed) -> Option<BackendStatus> {
    let cluster = config.clusters.get(id)?;
    let endpoints = observed.clusters.get(id).map(|endpoints| &**endpoints).unwrap_or_default();
    let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    let down = endpoints.iter().filter(|endpoint| !endpoint.healthy);
    let down = down.map(|endpoint| unhealthy(endpoint.address.to_string(), &endpoint.reason));
    Some(BackendStatus {
        pool: cluster.pool.to_string(),
        settings: Some(cluster.settings.to_string()).filter(|settings| !settings.is_empty()),
        healthy: count(endpoints.iter().filter(|endpoint| endpoint.healthy).count()),
        total: count(endpoints.len()),
        unhealthy: name(&cluster.source, observed).into_iter().chain(down).take(UNHEALTHY).collect(),
    })
}

/// A DNS name that is not as it should be stands before its endpoints.
fn name(source: &EndpointSource, observed: &Observed) -> Option<UnhealthyEndpoint> {
    let EndpointSource::Name { name, port } = source else { return None };
    let ObservedName { reason, stale } = observed.names.get(name)?;
    let kept = if *stale { "; its last addresses are kept" } else { "" };
    Some(unhealthy(format!("{}:{port}", name.strip_suffix('.').unwrap_or(name)), &format!("{reason}{kept}")))
}

/// What a TLS library says has any length, and one reason too long would cost the whole status.
fn unhealthy(address: String, reason: &str) -> UnhealthyEndpoint {
    UnhealthyEndpoint { address, reason: reason.chars().take(LONGEST_REASON).collect() }
}
