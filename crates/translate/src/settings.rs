//! Backend settings as parsed: named ones of the gateway, inline ones of a rule, and the defaults.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use http::uri::Authority;
use penstock_api::gateway::{self, BackendSettings, CaRef, LoadBalancing, SecretRef, SubjectAltNameType};
use penstock_api::reasons::RuleReason;
use penstock_model::{
    Affinity, Balancing, Draining, HostRewrite, Limits, Name, ObjectRef, OutlierDetection, Probe, Protocol, Question,
    Retry, SettingsOrigin, SubjectAltName, UpstreamTls, WebSocketTimeouts,
};

use crate::finding::Finding;
use crate::probe::NamedProbe;
use crate::probe_host;

/// Settings as parsed.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Settings {
    /// The part that they have in the identity of a cluster.
    pub(crate) id: Name,
    /// Label for metrics and status; empty for the defaults and for inline ones.
    pub(crate) label: Name,
    /// In place of the Service's target port.
    pub(crate) port: Option<u16>,
    /// What is spoken to backends without TLS.
    pub(crate) protocol: Protocol,
    /// With protocol HTTPS. The authorities are filled in by the rule, which knows the objects.
    pub(crate) tls: Option<UpstreamTls>,
    /// Where those authorities are.
    pub(crate) authorities: Vec<CaRef>,
    /// Where our own certificate is, which is filled in with them.
    pub(crate) client_certificate: Option<SecretRef>,
    /// The port of an address that names none.
    pub(crate) default_port: u16,
    pub(crate) request_timeout: Option<Duration>,
    pub(crate) connect_timeout: Option<Duration>,
    pub(crate) stream_idle_timeout: Option<Duration>,
    pub(crate) websocket: WebSocketTimeouts,
    /// Where they stand.
    pub(crate) origin: Arc<SettingsOrigin>,
    pub(crate) draining: Draining,
    pub(crate) affinity: Option<Affinity>,
    pub(crate) balancing: Balancing,
    pub(crate) retry: Retry,
    pub(crate) outlier: OutlierDetection,
    pub(crate) slow_start: Option<Duration>,
    pub(crate) limits: Limits,
    /// Largest request body, in bytes.
    pub(crate) max_body: Option<u64>,
    pub(crate) host: HostRewrite,
    /// In place of the matched literal prefix.
    pub(crate) path: Option<Arc<str>>,
    pub(crate) probe: ProbeChoice,
}

/// Which probe the settings ask for.
#[derive(Clone, Debug, PartialEq)]
#[allow(clippy::large_enum_variant, reason = "one for each settings, beside a part that is much larger")]
pub(crate) enum ProbeChoice {
    /// This one, and whether it says itself what it speaks.
    Named(Probe, bool),
    /// The Pod's readinessProbe, else the default.
    Unnamed,
    /// A name that the gateway does not have.
    Missing(String),
}

/// Probes of a gateway by name.
pub(crate) type Probes = BTreeMap<String, NamedProbe>;

/// Parses settings. `field` of `object` is where they stand, for messages.
pub(crate) fn parse(
    settings: &BackendSettings,
    (id, label, session_key): (Name, Name, Name),
    (object, field): (ObjectRef, &str),
    probes: &Probes,
    findings: &mut Vec<Finding>,
) -> Settings {
    let BackendSettings {
        protocol,
        port,
        request_timeout,
        web_socket,
        connect_timeout,
        stream_idle_timeout,
        connection_draining,
        cookie_affinity,
        load_balancing,
        retry,
        outlier_detection,
        slow_start,
        limits,
        host_name,
        pick_host_name_from_backend,
        path,
        probe,
        tls,
    } = settings;
    let at = |rest: &str| format!("{field}.{rest}");
    let request_timeout = limit(duration(request_timeout, &at("requestTimeout"), 20, findings));
    let web_socket = web_socket.clone().unwrap_or_default();
    let idle = if web_socket.idle_timeout.is_some() { "webSocket.idleTimeout" } else { "requestTimeout" };
    let origin = Arc::new(SettingsOrigin { object, field: format!("spec.{field}").into(), idle });
    let mut optional = |value: Option<&penstock_api::Duration>, rest: &str, default: Option<Duration>| match value {
        Some(value) => limit(duration(value, &at(rest), 0, findings)),
        None => default,
    };
    let websocket = WebSocketTimeouts {
        idle: optional(web_socket.idle_timeout.as_ref(), "webSocket.idleTimeout", request_timeout),
        max_duration: optional(web_socket.max_duration.as_ref(), "webSocket.maxDuration", None),
    };
    let connect_timeout = limit(duration(connect_timeout, &at("connectTimeout"), 5, findings));
    let stream_idle_timeout = limit(duration(stream_idle_timeout, &at("streamIdleTimeout"), 300, findings));
    let timeout = duration(&connection_draining.timeout, &at("connectionDraining.timeout"), 30, findings);
    let spread = match &connection_draining.spread {
        Some(spread) => duration(spread, &at("connectionDraining.spread"), 3, findings).min(timeout),
        None => timeout / 10,
    };
    let base = &outlier_detection.base_ejection_time;
    let outlier = OutlierDetection {
        consecutive_failures: outlier_detection.consecutive_5xx_errors,
        ejection_time: duration(base, &at("outlierDetection.baseEjectionTime"), 30, findings),
        max_percent: outlier_detection.max_ejection_percent.min(100),
    };
    let slow_start = slow_start.as_ref().map(|slow| duration(&slow.window, &at("slowStart.window"), 30, findings));
    let max_body = limits.as_ref().and_then(|limits| {
        let text = limits.max_request_body_size.as_deref()?;
        let bytes = gateway::parse_bytes(text);
        if bytes.is_none() {
            let at = at("limits.maxRequestBodySize");
            let message = format!("{at} {text:?} is no size such as 512Ki or 10Mi; there is no limit until then");
            findings.push(Finding::partial(RuleReason::InvalidValue.as_str(), message));
        }
        bytes
    });
    let host = match (host_name, pick_host_name_from_backend.unwrap_or_default()) {
        (Some(name), _) => match name.parse::<Authority>() {
            Ok(authority) => HostRewrite::Set(authority),
            Err(error) => {
                let message = format!("{} {name:?} is no host: {error}; the client's is sent", at("hostName"));
                findings.push(Finding::partial(RuleReason::InvalidValue.as_str(), message));
                HostRewrite::Keep
            }
        },
        (None, true) => HostRewrite::FromBackend,
        (None, false) => HostRewrite::Keep,
    };
    let tls = tls.clone();
    let https = *protocol == gateway::BackendProtocol::Https;
    if tls.is_some() && !https {
        let message = format!("{} has no effect without protocol HTTPS: set that, or remove it", at("tls"));
        findings.push(Finding::partial(RuleReason::InvalidValue.as_str(), message));
    }
    let tls = tls.unwrap_or_default();
    let unused = [
        ("caCertificateRefs", tls.ca_certificate_refs.is_empty()),
        ("subjectAltNames", tls.subject_alt_names.is_empty()),
    ];
    for (field, _) in unused.iter().filter(|(_, empty)| https && !tls.verify && !empty) {
        let message = format!("{0}.{field} has no effect with {0}.verify false: remove one of them", at("tls"));
        findings.push(Finding::partial(RuleReason::InvalidValue.as_str(), message));
    }
    let gateway::BackendTls { ca_certificate_refs, client_certificate_ref, sni_name, subject_alt_names, verify, http2 } =
        tls;
    let authorities = if https && verify { ca_certificate_refs } else { Vec::new() };
    let upstream_tls = https.then(|| UpstreamTls {
        verify,
        authorities: None,
        server_name: match (&sni_name, &host) {
            (Some(name), _) => Some(name.as_str().into()),
            (None, HostRewrite::Set(authority)) => Some(authority.host().into()),
            (None, _) => None,
        },
        subject_alt_names: if verify { names(&subject_alt_names) } else { Vec::new() },
        http2,
        identity: None,
    });
    let probe = match probe {
        None => ProbeChoice::Unnamed,
        Some(name) => match probes.get(name) {
            None => ProbeChoice::Missing(name.clone()),
            Some(NamedProbe { probe, protocol: own, picks_host }) => {
                let spoken = own.unwrap_or(*protocol);
                let tls = (spoken == gateway::BackendProtocol::Https).then(|| match &upstream_tls {
                    // Its own host goes before the settings' one, in the certificate as well.
                    Some(tls) => UpstreamTls { server_name: sni_name.as_deref().map(Into::into), ..tls.clone() },
                    // What requests do not trust, a probe has no reason to.
                    None => UpstreamTls::UNVERIFIED,
                });
                let picked = probe_host::picked(probe, *picks_host || tls.is_some(), &host);
                if *picks_host && tls.is_none() && host == HostRewrite::Keep {
                    let message = format!(
                        "{}: probes[{name}].pickHostNameFromBackendSettings finds no host in these settings: set hostName or \
                         pickHostNameFromBackend; {} is sent until then",
                        at("probe"),
                        probe_host::LOCALHOST
                    );
                    findings.push(Finding::partial(RuleReason::InvalidValue.as_str(), message));
                }
                let http2 = spoken == gateway::BackendProtocol::H2c || matches!(probe.question, Question::Grpc { .. });
                let protocol = if http2 { Protocol::Http2 } else { Protocol::Http1 };
                ProbeChoice::Named(Probe { tls, protocol, host: picked, ..probe.clone() }, own.is_some())
            }
        },
    };
    Settings {
        id,
        label,
        port: *port,
        protocol: if *protocol == gateway::BackendProtocol::H2c { Protocol::Http2 } else { Protocol::Http1 },
        tls: upstream_tls,
        authorities,
        client_certificate: client_certificate_ref.filter(|_| https),
        default_port: if *protocol == gateway::BackendProtocol::Https { 443 } else { 80 },
        request_timeout,
        connect_timeout,
        stream_idle_timeout,
        websocket,
        origin,
        draining: Draining { timeout, spread },
        affinity: cookie_affinity.as_ref().map(|affinity| Affinity {
            cookie: affinity.cookie_name.as_str().into(),
            key: session_key,
            secure: affinity.secure.unwrap_or_default(),
        }),
        balancing: match load_balancing {
            LoadBalancing::RoundRobin => Balancing::RoundRobin,
            LoadBalancing::LeastConnections => Balancing::LeastConnections,
            LoadBalancing::IpHash => Balancing::IpHash,
        },
        retry: Retry { attempts: u8::try_from(retry.attempts.min(5)).unwrap_or(5), on_timeout: retry.on_timeout },
        outlier,
        slow_start,
        max_body,
        limits: Limits {
            max_connections: limits.as_ref().and_then(|limits| limits.max_connections),
            max_pending: limits
                .as_ref()
                .and_then(|limits| limits.max_pending_requests)
                .unwrap_or(Limits::default().max_pending),
        },
        host,
        path: path.as_deref().filter(|path| !path.is_empty()).map(Into::into),
        probe,
    }
}

/// A gateway that has settings.
pub(crate) fn gateway_ref(namespace: impl Into<Name>, name: impl Into<Name>) -> ObjectRef {
    ObjectRef { kind: "ApplicationGateway", namespace: namespace.into(), name: name.into() }
}

/// Subject alternative names. The schema sees to it that each has what goes with its type; the empty one is in no certificate.
fn names(names: &[gateway::SubjectAltName]) -> Vec<SubjectAltName> {
    let name = |name: &gateway::SubjectAltName| match name.type_ {
        SubjectAltNameType::Hostname => SubjectAltName::Dns(name.hostname.as_deref().unwrap_or_default().into()),
        SubjectAltNameType::Uri => SubjectAltName::Uri(name.uri.as_deref().unwrap_or_default().into()),
    };
    names.iter().map(name).collect()
}

/// A duration, or its default in seconds where it cannot be read (only a file can have one that the schema refuses).
pub(crate) fn duration(
    value: &penstock_api::Duration,
    field: &str,
    default: u64,
    findings: &mut Vec<Finding>,
) -> Duration {
    value.parse().unwrap_or_else(|error| {
        let message = format!("{field}: {error}; {default}s is used");
        findings.push(Finding::partial(RuleReason::InvalidValue.as_str(), message));
        Duration::from_secs(default)
    })
}

/// `0s` turns a timeout off.
fn limit(value: Duration) -> Option<Duration> {
    Some(value).filter(|value| !value.is_zero())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(yaml: &str) -> (Settings, Vec<Finding>) {
        let settings: BackendSettings = serde_yaml::from_str(yaml).expect("settings");
        let mut findings = Vec::new();
        let parsed = parse(
            &settings,
            ("id".into(), "s".into(), "key".into()),
            (gateway_ref("edge", "shop"), "backendSettings[s]"),
            &Probes::new(),
            &mut findings,
        );
        (parsed, findings)
    }

    const fn seconds(seconds: u64) -> Option<Duration> {
        Some(Duration::from_secs(seconds))
    }

    #[test]
    fn the_defaults_of_the_table() {
        let (settings, findings) = parsed("{}");
        assert_eq!(findings, []);
        assert_eq!((settings.request_timeout, settings.connect_timeout), (seconds(20), seconds(5)));
        assert_eq!(settings.stream_idle_timeout, seconds(300));
        assert_eq!(settings.websocket, WebSocketTimeouts { idle: seconds(20), max_duration: None });
        assert_eq!((settings.draining.timeout.as_secs(), settings.draining.spread.as_secs()), (30, 3));
        assert_eq!(settings.retry, Retry { attempts: 1, on_timeout: false });
        assert_eq!((settings.outlier, settings.limits), (OutlierDetection::default(), Limits::default()));
        assert_eq!((settings.host, settings.probe), (HostRewrite::Keep, ProbeChoice::Unnamed));
        assert_eq!((settings.balancing, settings.affinity, settings.default_port), (Balancing::RoundRobin, None, 80));
    }

    #[test]
    fn a_websocket_idles_as_long_as_a_request_takes_unless_said() {
        assert_eq!(parsed("requestTimeout: 7s").0.websocket.idle, seconds(7));
        assert_eq!(parsed("{requestTimeout: 7s, webSocket: {idleTimeout: 1h}}").0.websocket.idle, seconds(3600));
        assert_eq!(parsed("{requestTimeout: 0s}").0.websocket.idle, None);
        assert_eq!(parsed("{webSocket: {idleTimeout: 0s}}").0.websocket.idle, None);
    }

    #[test]
    fn the_field_that_limits_a_websocket_is_known() {
        let idle = |yaml: &str| {
            let origin = parsed(yaml).0.origin;
            format!("{} {}", origin.object, origin.path(origin.idle))
        };
        let of_request = "ApplicationGateway edge/shop spec.backendSettings[s].requestTimeout";
        assert_eq!(idle("{}"), of_request);
        assert_eq!(idle("{webSocket: {maxDuration: 1h}}"), of_request);
        let own = "ApplicationGateway edge/shop spec.backendSettings[s].webSocket.idleTimeout";
        assert_eq!(idle("{webSocket: {idleTimeout: 1h}}"), own);
    }

    #[test]
    fn zero_turns_a_timeout_off() {
        let (settings, _) = parsed("{requestTimeout: 0s, connectTimeout: 0s, streamIdleTimeout: 0s}");
        assert_eq!(
            (settings.request_timeout, settings.connect_timeout, settings.stream_idle_timeout),
            (None, None, None)
        );
    }

    #[test]
    fn the_spread_is_a_tenth_and_never_longer_than_the_timeout() {
        let spread = |yaml: &str| parsed(&format!("connectionDraining: {yaml}")).0.draining.spread.as_millis();
        assert_eq!(spread("{timeout: 100s}"), 10_000);
        assert_eq!(spread("{timeout: 10s, spread: 5s}"), 5000);
        assert_eq!(spread("{timeout: 10s, spread: 50s}"), 10_000);
        assert_eq!(spread("{timeout: 0s}"), 0);
    }

    #[test]
    fn a_missing_probe_is_told_from_none() {
        assert_eq!(parsed("probe: ready").0.probe, ProbeChoice::Missing("ready".into()));
    }

    #[test]
    fn what_cannot_be_read_is_said_and_replaced() {
        let (settings, findings) = parsed("requestTimeout: soon");
        assert_eq!(settings.request_timeout, seconds(20));
        assert!(findings[0].message.starts_with("backendSettings[s].requestTimeout: "), "{findings:?}");
    }
}
