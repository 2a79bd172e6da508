//! What is counted. The families are shared; each worker counts in cells of its own and adds them up five times a
//! second, so that counting costs no lock and no shared cache line.

mod cells;
mod endpoints;
mod family;
mod local;
mod orphans;

use prometheus::{HistogramOpts, HistogramVec, IntCounterVec, IntGaugeVec, Opts, Registry, core::Collector};

use cells::{Count, Open, Times};
pub(crate) use endpoints::Endpoints;
use family::{Cell, Family, Texts};
pub(crate) use local::{LocalMetrics, RouteMetrics, Scope};
pub(crate) use orphans::{Orphans, Series, orphans, remove};

/// Buckets of durations, in seconds: from what a backend on the same node takes to what hardly anybody waits for.
const SECONDS: [f64; 17] =
    [0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];
/// Buckets of how long WebSockets live, in seconds.
const LONG_SECONDS: [f64; 9] = [1.0, 10.0, 60.0, 300.0, 900.0, 3600.0, 14400.0, 43200.0, 86400.0];

/// All metric families of the data plane but those of single endpoints, see [`Endpoints`].
#[derive(Debug, Clone)]
pub(crate) struct Metrics {
    pub(crate) requests: Family<Count>,
    pub(crate) request_duration: Family<Times>,
    pub(crate) backend_duration: Family<Times>,
    pub(crate) request_bytes: Family<Count>,
    pub(crate) refused: Family<Count>,
    pub(crate) backend_errors: Family<Count>,
    pub(crate) websocket_open: Family<Open>,
    pub(crate) websocket_opened: Family<Count>,
    pub(crate) websocket_closed: Family<Count>,
    pub(crate) websocket_bytes: Family<Count>,
    pub(crate) websocket_duration: HistogramVec,
    pub(crate) connections_open: IntGaugeVec,
    pub(crate) connections: IntCounterVec,
    pub(crate) backend_ejections: IntCounterVec,
    pub(crate) backend_pending: IntGaugeVec,
    pub(crate) probe_duration: HistogramVec,
    pub(crate) probes: IntCounterVec,
    pub(crate) dns_lookups: IntCounterVec,
    pub(crate) dns_names_failing: IntGaugeVec,
    pub(crate) config_apply: HistogramVec,
    pub(crate) certificate_expiry: IntGaugeVec,
    pub(crate) access_log_lost: IntCounterVec,
    /// Whether duration histograms carry the rule.
    pub(crate) per_rule: bool,
}

fn registered<C: Collector + Clone + 'static>(
    registry: &Registry,
    family: prometheus::Result<C>,
) -> prometheus::Result<C> {
    let family = family?;
    registry.register(Box::new(family.clone()))?;
    Ok(family)
}

fn many<C: Cell>(
    registry: &Registry,
    name: &str,
    help: &str,
    labels: &[&str],
    texts: &Texts,
) -> prometheus::Result<Family<C>> {
    registered(registry, Family::new(&format!("penstock_{name}"), help, labels, texts))
}

impl Metrics {
    /// Registers every family.
    pub(crate) fn register(registry: &Registry, per_rule: bool) -> prometheus::Result<Self> {
        let counter = |name: &str, help: &str, labels: &[&str]| {
            registered(registry, IntCounterVec::new(Opts::new(format!("penstock_{name}"), help), labels))
        };
        let gauge = |name: &str, help: &str, labels: &[&str]| {
            registered(registry, IntGaugeVec::new(Opts::new(format!("penstock_{name}"), help), labels))
        };
        let histogram = |name: &str, help: &str, labels: &[&str], buckets: &[f64]| {
            let options = HistogramOpts::new(format!("penstock_{name}"), help).buckets(buckets.to_vec());
            registered(registry, HistogramVec::new(options, labels))
        };
        let texts = Texts::default();
        // Those that grow with rules.
        let counts = |name: &str, help: &str, labels: &[&str]| many::<Count>(registry, name, help, labels, &texts);
        let times = |name: &str, help: &str, labels: &[&str]| many::<Times>(registry, name, help, labels, &texts);
        let rule = ["gateway", "listener", "rule"];
        let duration: &[&str] = if per_rule { &rule } else { &rule[..2] };
        let config_apply =
            histogram("config_apply_seconds", "Time to bring a configuration into the traffic.", &["stage"], &SECONDS)?;
        // There before the first configuration, so that its arrival is an increase from 0.
        for stage in ["compile", "apply"] {
            config_apply.with_label_values(&[stage]);
        }
        Ok(Self {
            requests: counts(
                "requests_total",
                "Requests answered.",
                &["gateway", "listener", "rule", "code", "method"],
            )?,
            request_duration: times(
                "request_duration_seconds",
                "From the request head to the end of the answer.",
                duration,
            )?,
            backend_duration: times(
                "backend_duration_seconds",
                "From the choice of a backend to its response head.",
                &["pool", "settings"],
            )?,
            request_bytes: counts(
                "request_bytes_total",
                "Bytes of bodies.",
                &["gateway", "listener", "rule", "direction"],
            )?,
            refused: counts("refused_total", "Requests and connections refused.", &["listener", "reason"])?,
            backend_errors: counts("backend_errors_total", "Failed attempts.", &["pool", "settings", "reason"])?,
            websocket_open: many(registry, "websocket_open", "WebSockets open now.", &rule, &texts)?,
            websocket_opened: counts("websocket_opened_total", "WebSockets opened.", &rule)?,
            websocket_closed: counts(
                "websocket_closed_total",
                "WebSockets closed, by what closed them.",
                &["gateway", "listener", "rule", "reason"],
            )?,
            websocket_bytes: counts(
                "websocket_bytes_total",
                "Bytes relayed after the handshake, added when a WebSocket ends.",
                &["gateway", "listener", "rule", "direction"],
            )?,
            websocket_duration: histogram(
                "websocket_duration_seconds",
                "How long WebSockets were open.",
                &rule[..2],
                &LONG_SECONDS,
            )?,
            connections_open: gauge("connections_open", "Client connections open now.", &rule[..2])?,
            connections: counter("connections_total", "Client connections accepted.", &rule[..2])?,
            backend_ejections: counter(
                "backend_ejections_total",
                "Endpoints taken out for a while because their requests failed.",
                &["pool", "settings"],
            )?,
            backend_pending: gauge(
                "backend_pending",
                "Requests that wait because a backend has all the connections it may have.",
                &["pool", "settings"],
            )?,
            probe_duration: histogram(
                "probe_duration_seconds",
                "Duration of probes.",
                &["pool", "settings"],
                &SECONDS,
            )?,
            probes: counter("probes_total", "Probes made.", &["pool", "settings", "result"])?,
            dns_lookups: counter(
                "dns_lookups_total",
                "DNS names of backends looked up, by result: success, not_found, failure, timeout.",
                &["result"],
            )?,
            dns_names_failing: gauge(
                "dns_names_failing",
                "DNS names of backends whose last lookup brought no address that may be a backend.",
                &[],
            )?,
            config_apply,
            certificate_expiry: gauge(
                "certificate_expiry_timestamp_seconds",
                "When a certificate ends, in seconds since 1970; without gateway and listener it is one that is shown to backends.",
                &["gateway", "listener", "secret"],
            )?,
            access_log_lost: counter(
                "access_log_lost_total",
                "Access log lines dropped: nobody reads them fast enough.",
                &[],
            )?,
            per_rule,
        })
    }
}
