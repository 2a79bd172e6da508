//! What WebSockets relay, for those who look on: nothing of it is counted for them alone.

use std::time::Duration;

use tokio::sync::mpsc;

use super::{DataPlane, View};
use crate::cluster::Traffic;
use crate::worker::Command;

/// How long workers may take to say what their tunnels have relayed.
const LOOK: Duration = Duration::from_millis(500);

impl DataPlane {
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
