//! Probes: is an endpoint alive? One task for each endpoint and probe definition, shared by clusters that use the same.

mod check;
mod grpc;
mod now;
mod way;

use std::cell::RefCell;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use penstock_model::{ClusterId, Name, Probe};
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::cluster::{Health, LastProbe, LiveCluster};
use crate::metrics::Metrics;
use way::{Way, Ways};

pub use now::{Found, ProbeNow, Probed, Spoken};

/// First probes are spread over the interval, but over no more than this.
const FIRST_SPREAD: Duration = Duration::from_secs(5);

/// The least time from one order for probes on demand to the next.
const PAUSE: Duration = Duration::from_secs(1);

/// A probe changed its mind.
#[derive(Debug)]
pub(crate) struct Report {
    /// Clusters that asked for this probe.
    pub(crate) clusters: Vec<ClusterId>,
    pub(crate) address: SocketAddr,
    pub(crate) health: Health,
    /// Why it is down.
    pub(crate) reason: Option<String>,
}

/// What makes two probes the same one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    way: Arc<Way>,
    address: SocketAddr,
    /// Whose name is sent: an address may have several.
    host: Name,
}

/// All probes under way. Lives on the plane's thread.
#[derive(Debug)]
pub(crate) struct Probes {
    told: Rc<Told>,
    ways: Ways,
    running: HashMap<Key, Running>,
    /// In the order of addresses, of which each is there once.
    by_cluster: HashMap<ClusterId, Vec<Key>>,
    on_demand: Option<OnDemand>,
}

/// Who hears of results: the same for every probe.
#[derive(Debug)]
struct Told {
    reports: UnboundedSender<Report>,
    metrics: Metrics,
}

/// The last probes that somebody asked for.
#[derive(Debug)]
struct OnDemand {
    since: Instant,
    task: JoinHandle<()>,
}

#[derive(Debug)]
struct Running {
    task: JoinHandle<()>,
    state: Rc<RefCell<State>>,
    probed: Arc<LastProbe>,
}

/// What the task of a probe shares with those who ask for it.
struct Known {
    state: Rc<RefCell<State>>,
    probed: Arc<LastProbe>,
}

/// What a probe knows of its endpoint.
#[derive(Debug)]
struct State {
    clusters: Vec<ClusterId>,
    /// Label values of its metrics: those of the first cluster that asked.
    labels: [Arc<str>; 2],
    health: Health,
    reason: Option<String>,
    failures: u32,
}

impl Probes {
    pub(crate) fn new(reports: UnboundedSender<Report>, metrics: Metrics) -> Self {
        Self {
            told: Rc::new(Told { reports, metrics }),
            ways: Ways::default(),
            running: HashMap::new(),
            by_cluster: HashMap::new(),
            on_demand: None,
        }
    }

    /// Probes what a cluster has now: starts what is missing, ends what nobody needs, tells the cluster what is known.
    pub(crate) fn sync(&mut self, cluster: &LiveCluster) {
        let (config, id) = (cluster.config(), cluster.id());
        let before = self.by_cluster.remove(&id).unwrap_or_default();
        let mut now = Vec::new();
        let endpoints = cluster.endpoints();
        if let Some(probe) = &config.probe {
            let way = self.ways.of(probe);
            now.reserve_exact(endpoints.len());
            now.extend(endpoints.iter().map(|live| {
                let (address, host) = (live.endpoint.address, probe.host.of(&live.endpoint));
                Key { way: Arc::clone(&way), address, host }
            }));
        }
        for (key, endpoint) in now.iter().zip(&endpoints) {
            let running = self
                .running
                .entry(key.clone())
                .or_insert_with(|| start(key, [&config.pool, &config.settings].map(Arc::clone), &self.told));
            let mut state = running.state.borrow_mut();
            if !contains(&before, key) {
                state.clusters.push(id.clone());
            }
            // What another cluster's probes found out already holds here, too.
            endpoint.set_health(state.health);
            endpoint.probed_by(Some(&running.probed));
        }
        if config.probe.is_none() {
            endpoints.iter().for_each(|endpoint| {
                endpoint.set_health(Health::Unknown);
                endpoint.probed_by(None);
            });
        }
        self.release(&id, before.into_iter().filter(|key| !contains(&now, key)));
        if !now.is_empty() {
            self.by_cluster.insert(id, now);
        }
        cluster.refresh();
    }

    /// Asks the endpoints of these clusters once, beside all that runs. Not while somebody else's order is under way, nor
    /// within [`PAUSE`] of its beginning: whoever may ask must not make endpoints busy. Dropping `to` then says so.
    pub(crate) fn now(
        &mut self,
        asked: ProbeNow,
        clusters: impl Iterator<Item = Arc<LiveCluster>>,
        to: oneshot::Sender<Vec<Probed>>,
    ) {
        if self.on_demand.as_ref().is_some_and(|last| !last.task.is_finished() || last.since.elapsed() < PAUSE) {
            return;
        }
        let task = tokio::task::spawn_local(now::answer(asked, clusters.collect(), to));
        self.on_demand = Some(OnDemand { since: Instant::now(), task });
    }

    /// The cluster is gone.
    pub(crate) fn forget(&mut self, id: &ClusterId) {
        let keys = self.by_cluster.remove(id).unwrap_or_default();
        self.release(id, keys.into_iter());
    }

    fn release(&mut self, id: &ClusterId, keys: impl Iterator<Item = Key>) {
        for key in keys {
            let Some(running) = self.running.get(&key) else { continue };
            running.state.borrow_mut().clusters.retain(|other| other != id);
            if running.state.borrow().clusters.is_empty() {
                running.task.abort();
                self.running.remove(&key);
            }
        }
    }
}

/// Whether a cluster's keys have this one.
fn contains(keys: &[Key], key: &Key) -> bool {
    let place = keys.binary_search_by(|other| other.address.cmp(&key.address)).ok();
    place.and_then(|place| keys.get(place)) == Some(key)
}

fn start(key: &Key, labels: [Arc<str>; 2], told: &Rc<Told>) -> Running {
    // Most have one cluster, and lists that grow begin with more.
    let clusters = Vec::with_capacity(1);
    let state = State { clusters, labels, health: Health::Unknown, reason: None, failures: 0 };
    let state = Rc::new(RefCell::new(state));
    let probed = Arc::new(LastProbe::default());
    let known = Known { state: Rc::clone(&state), probed: Arc::clone(&probed) };
    let task = tokio::task::spawn_local(run(key.clone(), known, Rc::clone(told)));
    Running { task, state, probed }
}

/// Probes an endpoint for ever. Probes of one endpoint never overlap: the next one starts an interval after the start of
/// the last, or at its end.
async fn run(key: Key, known: Known, told: Rc<Told>) {
    let Key { way, address, host } = key;
    let Known { state, probed } = known;
    let probe = &way.probe;
    let target = SocketAddr::new(address.ip(), probe.port.unwrap_or(address.port()));
    tokio::time::sleep(first_delay(probe, address)).await;
    loop {
        let started = Instant::now();
        // In a box: connecting and asking take some KB, and most of the time a probe only waits for the next one.
        let result = Box::pin(check::within(probe, &host, way.connector.as_ref(), target)).await;
        let took = started.elapsed();
        probed.now();
        let report = {
            let mut state = state.borrow_mut();
            let [pool, settings] = &state.labels;
            let label = if result.is_ok() { "success" } else { "failure" };
            told.metrics.probes.with_label_values(&[&**pool, &**settings, label]).inc();
            told.metrics.probe_duration.with_label_values(&[&**pool, &**settings]).observe(took.as_secs_f64());
            state.take(probe, address, result)
        };
        if let Some(report) = report {
            // Nobody listens any more when the plane ends.
            let _ = told.reports.send(report);
        }
        tokio::time::sleep(probe.interval.saturating_sub(took)).await;
    }
}

impl State {
    /// One success makes it Up; so many failures in a row make it Down.
    fn take(
        &mut self,
        probe: &Probe,
        address: SocketAddr,
        result: Result<Option<u16>, check::Unhealthy>,
    ) -> Option<Report> {
        let (health, reason) = match result {
            Ok(_) => {
                self.failures = 0;
                (Health::Up, None)
            }
            Err(why) => {
                self.failures = self.failures.saturating_add(1);
                let down = self.failures >= probe.unhealthy_threshold;
                (if down { Health::Down } else { self.health }, down.then(|| why.to_string()))
            }
        };
        if (health, &reason) == (self.health, &self.reason) {
            return None;
        }
        self.health = health;
        self.reason.clone_from(&reason);
        Some(Report { clusters: self.clusters.clone(), address, health, reason })
    }
}

/// A part of the interval that depends on the address: endpoints are not all probed in one instant.
fn first_delay(probe: &Probe, address: SocketAddr) -> Duration {
    let share = ahash::RandomState::new().hash_one(address) % 1000;
    probe.interval.min(FIRST_SPREAD).mul_f64(f64::from(u32::try_from(share).unwrap_or(0)) / 1000.0)
}
