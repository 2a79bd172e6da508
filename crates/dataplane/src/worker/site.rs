//! A worker for tests on a clock of their own.

use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use prometheus::{IntGauge, Registry};

use super::accept::Counted;
use super::{Limits, Totals, Worker};
use crate::access_log::WorkerLog;
use crate::metrics::{LocalMetrics, Metrics};
use crate::trace::Tracer;
use crate::upstream::Rooms;

/// A worker without a listener: it answers everything with 404.
pub(super) struct Site {
    worker: Rc<Worker>,
    metrics: Metrics,
}

impl Site {
    pub(super) fn new() -> Self {
        let metrics = Metrics::register(&Registry::new(), false).unwrap();
        let request_head = Duration::from_secs(60);
        let (max_connections, backends) = (10, Arc::new(Rooms::new(10)));
        let limits =
            Limits { max_connections, backends, per_listener: None, clients: None, request_head, collect: || {} };
        let log = WorkerLog::new(None, metrics.access_log_lost.with_label_values::<&str>(&[]));
        let failing = tokio::sync::mpsc::unbounded_channel().0;
        let live = Arc::new(ArcSwap::default());
        let local = LocalMetrics::new(metrics.clone());
        let (tracer, totals) = (Tracer::new(None), Arc::new(Totals::default()));
        Self { worker: Worker::new(live, local, log, tracer, totals, limits, failing), metrics }
    }

    pub(super) fn worker(&self) -> &Rc<Worker> {
        &self.worker
    }

    pub(super) fn peer(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, 1).into()
    }

    /// One more connection.
    pub(super) fn counted(&self) -> Counted {
        Counted::new(&self.worker, IntGauge::new("open", "open").unwrap(), None)
    }

    pub(super) fn refused(&self, reason: &str) -> u64 {
        self.worker.metrics.flush();
        self.metrics.refused.with_label_values(&["none", reason]).get()
    }
}
