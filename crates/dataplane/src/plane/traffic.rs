//! What WebSockets relay, for those who look on: nothing of it is counted for them alone.

use std::collections::HashMap;
use std::time::Duration;

use prometheus::core::Collector as _;
use tokio::sync::mpsc;

use super::{DataPlane, View};
use crate::cluster::Traffic;
use crate::worker::Command;

/// How long workers may take to say what their tunnels have relayed.
const LOOK: Duration = Duration::from_millis(500);

impl DataPlane {
    /// WebSockets that are open now, by gateway, listener and rule as the metrics name them.
    pub fn open_websockets(&self) -> HashMap<[String; 3], u64> {
        let families = self.metrics.websocket_open.collect();
        let series = families.iter().flat_map(prometheus::proto::MetricFamily::get_metric);
        let one = |metric: &prometheus::proto::Metric| {
            let label = |name: &str| {
                let found = metric.get_label().iter().find(|label| label.name() == name);
                found.map(|label| label.value().to_owned()).unwrap_or_default()
            };
            // A gauge of whole things; no fewer than none.
            let open = metric.get_gauge().get_value().max(0.0) as u64;
            (["gateway", "listener", "rule"].map(label), open)
        };
        series.map(one).filter(|(_, open)| *open > 0).collect()
    }

    /// What was relayed to and from every endpoint that is there or drains, since it is there. Numbers only grow but for what
    /// ends while this looks: that is in the next look.
    pub async fn traffic(&self) -> Traffic {
        let View { clusters, draining, .. } = self.view.borrow().clone();
        let endpoints = clusters.values().flat_map(|cluster| cluster.endpoints());
        let endpoints = endpoints.chain(draining.into_iter().map(|left| left.endpoint));
        // What is over first: a tunnel that ends meanwhile must not count twice.
        let mut traffic: Traffic = endpoints.map(|endpoint| (endpoint.number, endpoint.moved())).collect();
        let (counted, mut counts) = mpsc::unbounded_channel();
        for worker in &self.workers {
            // A worker that is gone has no tunnels.
            let _ = worker.send(Command::Count(counted.clone()));
        }
        drop(counted);
        let add = async {
            while let Some(open) = counts.recv().await {
                for (number, moved) in open {
                    *traffic.entry(number).or_default() += moved;
                }
            }
        };
        // A worker that is that busy is in the next look, too.
        let _ = tokio::time::timeout(LOOK, add).await;
        traffic
    }
}
