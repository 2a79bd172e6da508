//! Series of what is gone: which of the families' series belong to no rule, listener or backend of a configuration.

use std::collections::{BTreeMap, HashMap, HashSet};

use penstock_model::{Action, Config};
use prometheus::core::{Collector, MetricVec, MetricVecBuilder};
use prometheus::proto::MetricFamily;

use super::Metrics;
use super::family::{Cell, Family};

/// One series: its family, as a place among [`families`], and its labels.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Series {
    family: usize,
    labels: BTreeMap<String, String>,
}

/// Whose series there may be: label values of a configuration.
#[derive(Debug, Default)]
struct Owners {
    rules: HashSet<[String; 3]>,
    listeners: HashSet<[String; 2]>,
    /// Of `penstock_refused_total`, which has no gateway.
    names: HashSet<String>,
    backends: HashSet<[String; 2]>,
}

impl Owners {
    fn of(config: &Config) -> Self {
        let mut owners = Self::default();
        for cluster in config.clusters.values() {
            owners.backends.insert([cluster.pool.to_string(), cluster.settings.to_string()]);
        }
        for listener in &config.listeners {
            let (gateway, name) = (listener.id.gateway.to_string(), listener.id.name.to_string());
            for route in &listener.routes {
                owners.rules.insert([gateway.clone(), name.clone(), route.rule.to_string()]);
                if let Action::Forward(forward) = &*route.action {
                    owners.backends.insert([forward.pool.to_string(), forward.settings.to_string()]);
                }
            }
            owners.names.insert(name.clone());
            owners.listeners.insert([gateway, name]);
        }
        owners
    }

    fn have(&self, labels: &BTreeMap<String, String>) -> bool {
        let label = |name: &str| labels.get(name).cloned();
        match (label("gateway"), label("listener"), label("rule"), label("pool"), label("settings")) {
            // What no listener took.
            (_, Some(listener), ..) if listener == "none" => true,
            (Some(gateway), Some(listener), Some(rule), ..) if rule != "none" => {
                self.rules.contains(&[gateway, listener, rule])
            }
            (Some(gateway), Some(listener), ..) => self.listeners.contains(&[gateway, listener]),
            (None, Some(listener), ..) => self.names.contains(&listener),
            (_, _, _, Some(pool), Some(settings)) => self.backends.contains(&[pool, settings]),
            _ => true,
        }
    }
}

/// A family whose series can be listed and removed.
trait Swept {
    /// Each with its value where it is a gauge: what is still open keeps its series.
    fn series(&self) -> Vec<(BTreeMap<String, String>, f64)>;
    fn remove(&self, labels: &BTreeMap<String, String>);
}

impl<B: MetricVecBuilder> Swept for MetricVec<B>
where
    Self: Collector,
{
    fn series(&self) -> Vec<(BTreeMap<String, String>, f64)> {
        listed(self)
    }

    fn remove(&self, labels: &BTreeMap<String, String>) {
        let labels: HashMap<&str, &str> = labels.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        // Absent when somebody else removed it.
        let _ = MetricVec::remove(self, &labels);
    }
}

impl<C: Cell> Swept for Family<C> {
    fn series(&self) -> Vec<(BTreeMap<String, String>, f64)> {
        listed(self)
    }

    fn remove(&self, labels: &BTreeMap<String, String>) {
        Family::remove(self, labels);
    }
}

fn listed(family: &impl Collector) -> Vec<(BTreeMap<String, String>, f64)> {
    let families = family.collect();
    let series = families.iter().flat_map(MetricFamily::get_metric);
    series
        .map(|metric| {
            let labels = metric.get_label().iter().map(|pair| (pair.name().to_owned(), pair.value().to_owned()));
            (labels.collect(), metric.get_gauge().get_value())
        })
        .collect()
}

/// Those that grow with rules, listeners and backends. Series of single endpoints are there as long as those are.
fn families(metrics: &Metrics) -> [&dyn Swept; 17] {
    [
        &metrics.requests,
        &metrics.request_duration,
        &metrics.request_bytes,
        &metrics.refused,
        &metrics.websocket_open,
        &metrics.websocket_opened,
        &metrics.websocket_closed,
        &metrics.websocket_bytes,
        &metrics.websocket_duration,
        &metrics.connections_open,
        &metrics.connections,
        &metrics.backend_duration,
        &metrics.backend_errors,
        &metrics.backend_ejections,
        &metrics.backend_pending,
        &metrics.probe_duration,
        &metrics.probes,
    ]
}

/// What belongs to nothing in a configuration.
#[derive(Debug, Default)]
pub(crate) struct Orphans {
    /// Series that count nothing any more.
    pub(crate) series: HashSet<Series>,
    /// Something is still open, and makes series when it ends.
    pub(crate) open: bool,
}

/// Looks at every series. Slow where there are many.
pub(crate) fn orphans(metrics: &Metrics, config: &Config) -> Orphans {
    let owners = Owners::of(config);
    let mut found = Orphans::default();
    for (family, one) in families(metrics).into_iter().enumerate() {
        for (labels, open) in one.series().into_iter().filter(|(labels, _)| !owners.have(labels)) {
            if open > 0.0 {
                found.open = true;
            } else {
                found.series.insert(Series { family, labels });
            }
        }
    }
    found
}

/// Removes series, but for those that belong to something again.
pub(crate) fn remove<'s>(metrics: &Metrics, config: &Config, series: impl Iterator<Item = &'s Series>) {
    let owners = Owners::of(config);
    let families = families(metrics);
    for Series { family, labels } in series.filter(|series| !owners.have(&series.labels)) {
        families[*family].remove(labels);
    }
}
