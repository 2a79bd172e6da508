//! Traces: whether, where to, and who says so.

use anyhow::Context as _;
use penstock_dataplane::Tracing;
use penstock_otlp::{Counters, Endpoint, Exporter};
use prometheus::Registry;

use crate::args::RunArgs;

/// Where collectors are, to everything that speaks OTLP
/// (<https://opentelemetry.io/docs/specs/otel/protocol/exporter/>). Our own flag goes before it.
const STANDARD: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";

/// Traces that are sent.
pub(super) struct Traces {
    exporter: Exporter,
    /// For the data plane.
    pub(super) tracing: Tracing,
}

/// Starts to send traces, where somebody wants them. The counters are there in any case.
pub(super) fn start(args: &RunArgs, registry: &Registry) -> anyhow::Result<Option<Traces>> {
    let counters = Counters::register(registry)?;
    let Some(endpoint) = endpoint(args.otlp_endpoint.as_ref())? else { return Ok(None) };
    tracing::info!(%endpoint, share = args.trace_sample, "traces are sent");
    let (exporter, spans) = Exporter::start(endpoint, resource(), counters)?;
    Ok(Some(Traces { exporter, tracing: Tracing { spans, share: args.trace_sample } }))
}

impl Traces {
    /// Sends what is left; does not wait for long.
    pub(super) fn finish(self) {
        self.exporter.finish();
    }
}

fn endpoint(flag: Option<&Endpoint>) -> anyhow::Result<Option<Endpoint>> {
    match (flag, std::env::var(STANDARD)) {
        (Some(endpoint), _) => Ok(Some(endpoint.clone())),
        (None, Ok(text)) if !text.is_empty() => {
            text.parse().map(Some).with_context(|| format!("the environment variable {STANDARD} {text:?}"))
        }
        (None, _) => Ok(None),
    }
}

/// Who makes the spans: this replica, by the names of the semantic conventions.
fn resource() -> Vec<(&'static str, String)> {
    let mut all =
        vec![("service.name", "penstock".to_owned()), ("service.version", env!("CARGO_PKG_VERSION").to_owned())];
    for (key, variable) in
        [("k8s.namespace.name", "POD_NAMESPACE"), ("k8s.pod.name", "POD_NAME"), ("service.instance.id", "POD_NAME")]
    {
        all.extend(std::env::var(variable).ok().map(|value| (key, value)));
    }
    all
}
