//! The plane: one task on one thread that owns clusters, sockets and the table, and tells the workers.
//!
//! Everything slow happens here (compiling, PEM, probes, DNS), nothing of it on a worker. Workers see a new table by one
//! pointer; what a table replaces is dropped here, too.

mod certificates;
mod clusters;
mod ejections;
mod idle;
mod listeners;
mod names;
mod observe;
mod settling;
mod sockets;
mod sweep;
mod task;
mod tickets;
mod traffic;

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use penstock_model::{ClusterId, Config, EndpointUpdate, ListenerId, Name, Observed, Shared, TicketSecrets};
use prometheus::Registry;
use tokio::sync::{mpsc, oneshot, watch};

use crate::access_log::{AccessLog, WorkerLog};
use crate::cluster::{LiveCluster, LiveEndpoint};
use crate::metrics::{Endpoints, LocalMetrics, Metrics};
use crate::probe::{ProbeNow, Probed};
use crate::resolve::AddressRule;
use crate::trace::{Tracer, Tracing};
use crate::worker::{Clients, Command, Limits, Totals, Worker};

pub(crate) use ejections::Failing;
pub(crate) use idle::Closed;

/// What the process decides.
#[derive(Clone, Debug)]
pub struct Options {
    /// Threads.
    pub workers: usize,
    /// Where listeners bind; `None`: `::` with IPv4 mapped, else `0.0.0.0`.
    pub bind_address: Option<IpAddr>,
    /// Open files that the process may have.
    pub open_files: usize,
    /// Client connections that a listener's port may have; further ones are closed.
    pub max_connections_per_listener: Option<u32>,
    /// Client connections that one address (of IPv6: a /64) may have; further ones are closed. Trusted proxies have no limit.
    pub max_connections_per_client: Option<u32>,
    /// From the first byte of a request head to its last.
    pub request_head_timeout: Duration,
    /// How long the tunnels of a listener that is removed keep what they have.
    pub drain_timeout: Duration,
    /// The last part of it, over which they are closed.
    pub drain_spread: Duration,
    /// Servers to ask for DNS names of backends; none: as the system's configuration says.
    pub resolvers: Vec<SocketAddr>,
    /// Which of their addresses may be backends.
    pub backend_addresses: AddressRule,
    /// Where access logs go.
    pub access_log: Option<AccessLog>,
    /// How requests are traced; `None`: they are not, and headers about traces go on as they came.
    pub tracing: Option<Tracing>,
    /// Duration histograms carry the rule.
    pub metrics_per_rule: bool,
    /// How long series stay whose rule, listener or backend is gone.
    pub metrics_retention: Duration,
    /// Gives memory of the calling thread back to the system: called by a worker some time after connections became idle.
    pub collect: fn(),
}

/// What comes in.
#[derive(Debug)]
pub struct Inputs {
    /// Configurations; `None` until the first one is complete.
    pub config: watch::Receiver<Option<Arc<Config>>>,
    /// Endpoints, on the fast way. An update of a source is sent after the configuration that names it.
    pub endpoints: mpsc::UnboundedReceiver<EndpointUpdate>,
    /// What session tickets are sealed with, the same for all replicas; `None`: this process makes its own.
    pub tickets: watch::Receiver<Option<TicketSecrets>>,
}

/// Why the data plane does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// No thread or no runtime.
    #[error("cannot start a data plane thread: {0}")]
    Thread(#[from] std::io::Error),
    /// A metric is there twice.
    #[error("cannot register metrics: {0}")]
    Metrics(#[from] prometheus::Error),
}

/// Orders for the plane.
#[derive(Debug)]
pub(crate) enum Order {
    Close,
    SpreadClose(Duration),
    Probe(ProbeNow, oneshot::Sender<Vec<Probed>>),
    Stop,
}

/// What workers report to the plane.
#[derive(Debug)]
pub(crate) enum Noticed {
    Failing(Failing),
    Closed(Closed),
}

/// A running data plane. It ends with [`DataPlane::stop`].
#[derive(Debug)]
pub struct DataPlane {
    orders: mpsc::UnboundedSender<Order>,
    observed: watch::Receiver<Arc<Observed>>,
    view: watch::Receiver<View>,
    totals: Arc<Totals>,
    metrics: Metrics,
    workers: Vec<mpsc::UnboundedSender<Command>>,
    threads: Mutex<Vec<std::thread::JoinHandle<()>>>,
    access_log: Option<AccessLog>,
}

/// Clusters and listeners as they are, for `/status`.
#[derive(Clone, Debug, Default)]
pub struct View {
    /// Every cluster.
    pub clusters: Shared<HashMap<ClusterId, Arc<LiveCluster>>>,
    /// Endpoints that left, and keep what they have until their drain is over.
    pub draining: Vec<DrainingEndpoint>,
    /// The configuration in the traffic.
    pub config: Arc<Config>,
}

/// An endpoint that left its cluster.
#[derive(Clone, Debug)]
pub struct DrainingEndpoint {
    /// Label `pool` of the cluster.
    pub pool: Name,
    /// Label `settings` of the cluster.
    pub settings: Name,
    /// What all workers know of it.
    pub endpoint: Arc<LiveEndpoint>,
    /// When what is left is cut.
    pub until: Instant,
}

impl DataPlane {
    /// Starts threads and gives back at once; nothing is served before the first configuration.
    pub fn start(options: &Options, registry: &Registry, inputs: Inputs) -> Result<Self, StartError> {
        let metrics = Metrics::register(registry, options.metrics_per_rule)?;
        let (view_sender, view) = watch::channel(View::default());
        registry.register(Box::new(Endpoints::new(view.clone())?))?;
        let totals = Arc::new(Totals::default());
        let live = Arc::default();
        let (noticed, noticed_receiver) = mpsc::unbounded_channel();
        let clients = options.max_connections_per_client.map(|limit| Arc::new(Clients::new(limit)));
        let mut threads = Vec::new();
        let mut workers = Vec::new();
        for number in 0..options.workers.max(1) {
            let (sender, receiver) = mpsc::unbounded_channel::<Command>();
            workers.push(sender);
            let (live, metrics, totals) = (Arc::clone(&live), metrics.clone(), Arc::clone(&totals));
            let noticed = noticed.clone();
            let (log, tracing) = (options.access_log.clone(), options.tracing.clone());
            let limits = Limits {
                max_connections: (options.open_files / 10 * 9 / 2).max(16),
                per_listener: options.max_connections_per_listener,
                clients: clients.clone(),
                request_head: options.request_head_timeout,
                collect: options.collect,
            };
            threads.push(spawn(format!("worker-{number}"), move || async move {
                let lost = metrics.access_log_lost.with_label_values::<&str>(&[]);
                let log = WorkerLog::new(log.as_ref(), lost);
                let tracer = Tracer::new(tracing.as_ref());
                let worker = Worker::new(live, LocalMetrics::new(metrics), log, tracer, totals, limits, noticed);
                worker.run(receiver).await;
            })?);
        }
        let told = workers.clone();
        let (orders, order_receiver) = mpsc::unbounded_channel();
        let (observed_sender, observed) = watch::channel(Arc::default());
        let (options, families, access_log) = (options.clone(), metrics.clone(), options.access_log.clone());
        threads.push(spawn("plane".into(), move || async move {
            let tickets = tickets::Tickets::new(inputs.tickets.clone());
            let publish = task::Publish { observed: observed_sender, view: view_sender };
            let plane = task::Plane::new(options, metrics, live, workers, noticed_receiver, tickets, publish);
            plane.run(inputs, order_receiver).await;
        })?);
        Ok(Self {
            orders,
            observed,
            view,
            totals,
            metrics: families,
            workers: told,
            threads: Mutex::new(threads),
            access_log,
        })
    }

    /// Ports and health, each time they change. `generation` is 0 until the first configuration is served.
    pub fn observed(&self) -> watch::Receiver<Arc<Observed>> {
        self.observed.clone()
    }

    /// Clusters and listeners, each time they change.
    pub fn view(&self) -> watch::Receiver<View> {
        self.view.clone()
    }

    /// Client connections, tunnels included.
    pub fn totals(&self) -> Arc<Totals> {
        Arc::clone(&self.totals)
    }

    /// Client connections of a listener that are open; listeners that share a port count under the first of them.
    pub fn connections(&self, listener: &ListenerId) -> i64 {
        let labels = [&*listener.gateway.to_string(), &*listener.name];
        self.metrics.connections_open.get_metric_with_label_values(&labels).map_or(0, |gauge| gauge.get())
    }

    /// Accepts no more; every answer is the last one of its connection.
    pub fn close(&self) {
        let _ = self.orders.send(Order::Close);
    }

    /// Closes tunnels, evenly over a time.
    pub fn spread_close(&self, window: Duration) {
        let _ = self.orders.send(Order::SpreadClose(window));
    }

    /// Asks endpoints once, and gives back what was found of each, sorted by pool, settings and address. Nothing follows from it.
    /// `None`: other such probes are under way, began within the last second, or the plane has ended.
    pub async fn probe(&self, asked: ProbeNow) -> Option<Vec<Probed>> {
        let (to, answer) = oneshot::channel();
        let _ = self.orders.send(Order::Probe(asked, to));
        answer.await.ok()
    }

    /// Ends every thread and waits for it, and for the last lines of the access log.
    pub fn stop(&self) {
        let _ = self.orders.send(Order::Stop);
        let threads = std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        for thread in threads {
            // A thread that panicked has said so already.
            let _ = thread.join();
        }
        if let Some(log) = &self.access_log {
            log.finish();
        }
    }
}

/// A thread with a runtime of its own.
fn spawn<F>(name: String, task: impl FnOnce() -> F + Send + 'static) -> std::io::Result<std::thread::JoinHandle<()>>
where
    F: Future<Output = ()> + 'static,
{
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build_local(Default::default());
    std::thread::Builder::new().name(name).spawn(move || match runtime() {
        Ok(runtime) => runtime.block_on(task()),
        Err(error) => tracing::error!(%error, "cannot build the runtime of a data plane thread"),
    })
}

/// Ends at that moment, or never.
async fn until(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment.into()).await,
        None => std::future::pending().await,
    }
}
