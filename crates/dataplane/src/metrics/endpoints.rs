//! Series of single endpoints: read from the clusters when somebody asks, under the names that those have now. So they are
//! there for as long as their endpoints are, whoever made connections to them, and nobody has to remove them.

use std::time::Instant;

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{IntGaugeVec, Opts};
use tokio::sync::watch;

use crate::plane::View;

/// `penstock_backend_up` and `penstock_backend_connections`.
#[derive(Debug)]
pub(crate) struct Endpoints {
    view: watch::Receiver<View>,
    /// Without series: each look makes its own.
    empty: Gauges,
}

#[derive(Debug)]
struct Gauges {
    up: IntGaugeVec,
    connections: IntGaugeVec,
}

impl Gauges {
    fn new() -> prometheus::Result<Self> {
        let gauge = |name: &str, help: &str| {
            IntGaugeVec::new(Opts::new(format!("penstock_{name}"), help), &["pool", "settings", "endpoint"])
        };
        Ok(Self {
            up: gauge(
                "backend_up",
                "1: takes traffic; 0: its probes fail, or it is ejected because its requests did.",
            )?,
            connections: gauge(
                "backend_connections",
                "Connections to an endpoint, idle ones and WebSockets included.",
            )?,
        })
    }
}

impl Endpoints {
    /// Those of the clusters in view.
    pub(crate) fn new(view: watch::Receiver<View>) -> prometheus::Result<Self> {
        Ok(Self { view, empty: Gauges::new()? })
    }
}

impl Collector for Endpoints {
    fn desc(&self) -> Vec<&Desc> {
        [self.empty.up.desc(), self.empty.connections.desc()].concat()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        // It was made once before.
        let Ok(Gauges { up, connections }) = Gauges::new() else { return Vec::new() };
        let View { clusters, draining, .. } = self.view.borrow().clone();
        for cluster in clusters.values() {
            let config = cluster.config();
            for (endpoint, takes_traffic) in cluster.members() {
                let labels = [&*config.pool, &*config.settings, &*endpoint.address];
                let up = up.with_label_values(&labels);
                // Two backends of a rule may have one name, and then an endpoint one series.
                if takes_traffic {
                    up.set(1);
                }
                connections.with_label_values(&labels).add(i64::from(endpoint.connections()));
            }
        }
        // One that has left is shown for as long as it has something.
        let now = Instant::now();
        for left in draining.iter().filter(|left| left.until > now && left.endpoint.is_departing()) {
            let open = i64::from(left.endpoint.connections());
            if open > 0 {
                let labels = [&*left.pool, &*left.settings, &*left.endpoint.address];
                connections.with_label_values(&labels).add(open);
            }
        }
        [up.collect(), connections.collect()].concat()
    }
}
