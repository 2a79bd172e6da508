//! How the health of a backend is found out: a probe by name, the Pod's readinessProbe, or the default.

use std::time::Duration;

use http::header::HOST;
use http::{HeaderName, HeaderValue};
use penstock_api::gateway;
use penstock_api::k8s::{Container, GRPCAction, HTTPGetAction, IntOrString, Pod};
use penstock_api::reasons::RuleReason;
use penstock_model::{HealthMatch, Name, Probe, ProbeHost, Protocol, Question, StatusRange, UpstreamTls};

use crate::finding::Finding;
use crate::probe_host::LOCALHOST;
use crate::settings::duration;

/// A probe by name, with what it leaves to the settings that use it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct NamedProbe {
    /// As the gateway declares it.
    pub(crate) probe: Probe,
    /// What it speaks. Default: what the settings say.
    pub(crate) protocol: Option<gateway::BackendProtocol>,
    /// Whether its host is theirs.
    pub(crate) picks_host: bool,
}

/// A probe by name, as the gateway declares it.
pub(crate) fn named(probe: &gateway::Probe, gateway: &str, findings: &mut Vec<Finding>) -> NamedProbe {
    let gateway::Probe {
        name,
        protocol,
        host,
        pick_host_name_from_backend_settings,
        grpc,
        path,
        port,
        interval,
        timeout,
        unhealthy_threshold,
        match_,
        min_servers,
    } = probe;
    let field = |rest: &str| format!("probes[{name}].{rest}");
    let statuses = match_.status_codes.iter().filter_map(|codes| match codes.parse::<StatusRange>() {
        Ok(range) => Some(range),
        Err(error) => {
            let message = format!("{}: {error}", field("match.statusCodes"));
            findings.push(Finding::partial(RuleReason::InvalidValue.as_str(), message));
            None
        }
    });
    let statuses = statuses.collect();
    let question = match grpc {
        Some(grpc) => Question::Grpc { service: grpc.service.as_deref().unwrap_or_default().into() },
        None => Question::Get {
            path: path.as_str().into(),
            accept: HealthMatch { statuses, body: match_.body.as_deref().map(Into::into) },
        },
    };
    let probe = Probe {
        name: format!("{gateway}/{name}").into(),
        tls: None,
        protocol: Protocol::Http1,
        host: ProbeHost::Named(host.as_str().into()),
        headers: Vec::new(),
        question,
        port: *port,
        interval: duration(interval, &field("interval"), 30, findings),
        timeout: duration(timeout, &field("timeout"), 30, findings),
        unhealthy_threshold: (*unhealthy_threshold).clamp(1, 20),
        min_servers: *min_servers,
    };
    NamedProbe { probe, protocol: *protocol, picks_host: pick_host_name_from_backend_settings.unwrap_or_default() }
}

/// What is asked where nobody says anything. A healthy server of gRPC has a status of 404, 405 or 415 for a GET, 200 with a
/// `grpc-status`, or a reset.
pub(crate) fn default(host: Option<ProbeHost>, tls: Option<&UpstreamTls>, protocol: Protocol) -> Probe {
    Probe {
        name: "default".into(),
        tls: tls.map(|tls| UpstreamTls { http2: tls.http2, identity: tls.identity.clone(), ..UpstreamTls::UNVERIFIED }),
        protocol,
        host: host.unwrap_or_else(|| ProbeHost::Named(LOCALHOST.into())),
        headers: Vec::new(),
        question: Question::Lives,
        port: None,
        interval: Duration::from_secs(30),
        timeout: Duration::from_secs(30),
        unhealthy_threshold: 3,
        min_servers: 0,
    }
}

fn get(path: Name, first: u16, last: u16) -> Question {
    Question::Get { path, accept: HealthMatch { statuses: vec![StatusRange { first, last }], body: None } }
}

/// What a Pod's readinessProbe says.
#[derive(Debug, PartialEq)]
#[allow(clippy::large_enum_variant, reason = "one at a time, on its way into settings")]
pub(crate) enum Readiness {
    /// Ask this.
    Probe(Probe),
    /// The container that owns the port has neither `httpGet` nor `grpc`.
    None,
}

/// The readinessProbe of the container that owns a port of a Pod: the target port of the Service, or the port that the
/// settings name. It is asked as the kubelet asks it, whatever the settings speak: `httpGet` in HTTP/1.1 or over TLS, `grpc`
/// without TLS.
pub(crate) fn readiness(pod: &Pod, target: &IntOrString) -> Readiness {
    let containers = pod.spec.as_ref().map(|spec| spec.containers.as_slice()).unwrap_or_default();
    // Ports of containers need not be listed: a Pod with one container leaves no doubt.
    let only = if let [only] = containers { Some(only) } else { None };
    let Some(container) = containers.iter().find(|c| container_port(c, target).is_some()).or(only) else {
        return Readiness::None;
    };
    let Some(probe) = &container.readiness_probe else { return Readiness::None };
    let number = |port: &IntOrString| match port {
        IntOrString::Int(number) => u16::try_from(*number).ok(),
        IntOrString::String(_) => container_port(container, port),
    };
    let seconds = |value: Option<i32>, default: u64| {
        Duration::from_secs(value.and_then(|value| u64::try_from(value).ok()).filter(|&v| v > 0).unwrap_or(default))
    };
    let threshold = probe.failure_threshold.and_then(|value| u32::try_from(value).ok()).unwrap_or(3);
    let asks = match (&probe.http_get, &probe.grpc) {
        (Some(get), _) => asks_http(get, number(&get.port)),
        (None, Some(grpc)) => asks_grpc(grpc),
        (None, None) => return Readiness::None,
    };
    let served = number(target);
    Readiness::Probe(Probe {
        name: "readinessProbe".into(),
        tls: asks.tls,
        protocol: asks.protocol,
        host: ProbeHost::Named(asks.host),
        headers: asks.headers,
        question: asks.question,
        port: asks.port.filter(|_| asks.port != served),
        interval: seconds(probe.period_seconds, 10),
        timeout: seconds(probe.timeout_seconds, 1),
        unhealthy_threshold: threshold.clamp(1, 20),
        min_servers: 0,
    })
}

/// The part of a readinessProbe that depends on its kind.
struct Asks {
    tls: Option<UpstreamTls>,
    protocol: Protocol,
    host: Name,
    headers: Vec<(HeaderName, HeaderValue)>,
    question: Question,
    port: Option<u16>,
}

fn asks_http(action: &HTTPGetAction, port: Option<u16>) -> Asks {
    let https = action.scheme.as_deref().is_some_and(|scheme| scheme.eq_ignore_ascii_case("HTTPS"));
    let header = action.http_headers.iter().flatten().find(|header| header.name.eq_ignore_ascii_case("host"));
    let host = header.map(|header| header.value.as_str()).or(action.host.as_deref()).filter(|host| !host.is_empty());
    let path: Name = match action.path.as_deref().unwrap_or_default() {
        path if path.starts_with('/') => path.into(),
        path => format!("/{path}").into(),
    };
    let (tls, host) = (https.then_some(UpstreamTls::UNVERIFIED), host.unwrap_or(LOCALHOST).into());
    let question = get(path, 200, 399);
    Asks { tls, protocol: Protocol::Http1, host, headers: headers(action), question, port }
}

fn asks_grpc(action: &GRPCAction) -> Asks {
    let service = action.service.as_deref().unwrap_or_default().into();
    let question = Question::Grpc { service };
    Asks {
        tls: None,
        protocol: Protocol::Http2,
        host: LOCALHOST.into(),
        headers: Vec::new(),
        question,
        port: u16::try_from(action.port).ok(),
    }
}

/// Headers that are asked for, beside Host. A probe whose headers cannot be sent fails for the kubelet, too, and its Pod is never
/// ready.
fn headers(get: &HTTPGetAction) -> Vec<(HeaderName, HeaderValue)> {
    let all = get.http_headers.iter().flatten();
    let sent = all.filter_map(|h| Some((h.name.parse().ok()?, HeaderValue::from_bytes(h.value.as_bytes()).ok()?)));
    sent.filter(|(name, _)| *name != HOST).collect()
}

fn container_port(container: &Container, wanted: &IntOrString) -> Option<u16> {
    let ports = container.ports.as_deref().unwrap_or_default();
    let found = ports.iter().find(|port| match wanted {
        IntOrString::Int(number) => port.container_port == *number,
        IntOrString::String(name) => port.name.as_ref() == Some(name),
    })?;
    u16::try_from(found.container_port).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const POD: &str = "
metadata: {name: p}
spec:
  containers:
  - name: sidecar
    ports: [{containerPort: 15000}]
    readinessProbe: {httpGet: {port: 15000, path: /sidecar}}
  - name: app
    ports: [{name: http, containerPort: 8080}, {name: admin, containerPort: 9000}]
    readinessProbe: {httpGet: {port: admin, path: ready, host: app.local}, periodSeconds: 5, timeoutSeconds: 2, failureThreshold: 50}
";

    fn pod(yaml: &str) -> Pod {
        serde_yaml::from_str(yaml).expect("a Pod")
    }

    fn path(probe: &Probe) -> &str {
        let Question::Get { path, .. } = &probe.question else { panic!("{probe:?} is no GET") };
        path
    }

    #[test]
    fn of_the_container_that_owns_the_port() {
        for target in [IntOrString::Int(8080), IntOrString::String("http".into())] {
            let Readiness::Probe(probe) = readiness(&pod(POD), &target) else { panic!("no probe for {target:?}") };
            assert_eq!((path(&probe), probe.port), ("/ready", Some(9000)));
            assert_eq!(probe.host, ProbeHost::Named("app.local".into()));
            assert_eq!((probe.interval.as_secs(), probe.timeout.as_secs(), probe.unhealthy_threshold), (5, 2, 20));
        }
    }

    #[test]
    fn a_port_that_no_container_lists_has_none() {
        assert_eq!(readiness(&pod(POD), &IntOrString::Int(1)), Readiness::None);
    }

    #[test]
    fn the_only_container_owns_every_port() {
        let pod =
            pod("{metadata: {name: p}, spec: {containers: [{name: a, readinessProbe: {httpGet: {port: 8080}}}]}}");
        let Readiness::Probe(probe) = readiness(&pod, &IntOrString::Int(8080)) else { panic!("no probe") };
        assert_eq!((path(&probe), probe.port), ("/", None));
    }

    #[test]
    fn grpc_asks_for_its_service_without_tls() {
        let pod = pod(
            "{metadata: {name: p}, spec: {containers: [{name: a, readinessProbe: {grpc: {port: 9000, service: chat}}}]}}",
        );
        for (target, port) in [(9000, None), (8080, Some(9000))] {
            let Readiness::Probe(probe) = readiness(&pod, &IntOrString::Int(target)) else { panic!("no probe") };
            assert_eq!((probe.tls, probe.protocol, probe.port), (None, Protocol::Http2, port));
            assert_eq!(probe.question, Question::Grpc { service: "chat".into() });
        }
    }

    #[test]
    fn its_headers_are_sent() {
        let headers = "[{name: Host, value: a}, {name: X-Probe, value: b}, {name: x-probe, value: c}, {name: 'no name', value: d}]";
        let pod = format!(
            "{{metadata: {{name: p}}, spec: {{containers: [{{name: a, readinessProbe: {{httpGet: {{port: 1, httpHeaders: {headers}}}}}}}]}}}}"
        );
        let Readiness::Probe(probe) = readiness(&self::pod(&pod), &IntOrString::Int(1)) else { panic!("no probe") };
        let headers: Vec<_> = probe.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
        assert_eq!(
            (probe.host, headers),
            (ProbeHost::Named("a".into()), vec![("x-probe", &b"b"[..]), ("x-probe", b"c")])
        );
    }

    #[test]
    fn https_is_told_apart() {
        let pod = pod(
            "{metadata: {name: p}, spec: {containers: [{name: a, readinessProbe: {httpGet: {port: 1, scheme: HTTPS}}}]}}",
        );
        let Readiness::Probe(probe) = readiness(&pod, &IntOrString::Int(1)) else { panic!("no probe") };
        assert_eq!(probe.tls, Some(UpstreamTls::UNVERIFIED));
    }
}
