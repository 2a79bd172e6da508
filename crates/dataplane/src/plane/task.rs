//! The plane's loop: one event at a time, nothing shared.

mod health;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use penstock_model::{ClusterId, Config, EndpointSet, EndpointSource, Name, Observed};
use penstock_routing::RouteTable;
use tokio::sync::{mpsc, watch};

use super::certificates::Expiries;
use super::clusters::Clusters;
use super::ejections::Ejections;
use super::idle::IdleCloses;
use super::listeners::Leaving;
use super::names::FirstAnswers;
use super::observe::{Ports, Reasons, Seen};
use super::settling::Settling;
use super::sweep::Sweep;
use super::tickets::Tickets;
use super::{Inputs, Noticed, Options, Order, View, listeners, names, sockets, until};
use crate::metrics::Metrics;
use crate::probe::{Probes, Report};
use crate::resolve::Names;
use crate::route_state::{Live, RouteState};
use crate::worker::{Command, Departure};

/// Where the plane reports to.
pub(super) struct Publish {
    pub(super) observed: watch::Sender<Arc<Observed>>,
    pub(super) view: watch::Sender<View>,
}

/// Everything that the plane owns.
pub(super) struct Plane {
    options: Options,
    metrics: Metrics,
    live: Arc<ArcSwap<Live>>,
    workers: Vec<mpsc::UnboundedSender<Command>>,
    publish: Publish,
    config: Arc<Config>,
    clusters: Clusters,
    ports: Ports,
    generation: u64,
    probes: Probes,
    reports: mpsc::UnboundedReceiver<Report>,
    names: Names,
    resolved: mpsc::UnboundedReceiver<Name>,
    first_answers: FirstAnswers,
    reasons: Reasons,
    seen: Seen,
    /// Clusters with results of probes that are not in `seen` yet, and when they will be.
    unseen: BTreeSet<ClusterId>,
    look_at: Option<Instant>,
    noticed: mpsc::UnboundedReceiver<Noticed>,
    ejections: Ejections,
    idle: IdleCloses,
    leaving: Leaving,
    sweep: Sweep,
    expiries: Expiries,
    tickets: Tickets,
    /// Tables that workers may still look at: the last one to let go must not be a worker.
    old: Vec<Arc<Live>>,
    closing: bool,
    /// When ports that could not be bound are tried again.
    bind_again: Option<Instant>,
    settling: Settling,
}

/// How often old tables are looked at while there are any.
const CLEAN_UP: Duration = Duration::from_millis(500);
/// How often a port is tried that somebody else has.
const BIND_AGAIN: Duration = Duration::from_secs(1);

impl Plane {
    pub(super) fn new(
        options: Options,
        metrics: Metrics,
        live: Arc<ArcSwap<Live>>,
        workers: Vec<mpsc::UnboundedSender<Command>>,
        noticed: mpsc::UnboundedReceiver<Noticed>,
        tickets: Tickets,
        publish: Publish,
    ) -> Self {
        let (report_sender, reports) = mpsc::unbounded_channel();
        let (resolved_sender, resolved) = mpsc::unbounded_channel();
        let (resolvers, addresses) = (options.resolvers.clone(), options.backend_addresses.clone());
        let sweep = Sweep::new(options.metrics_retention);
        Self {
            probes: Probes::new(report_sender, metrics.clone()),
            names: Names::new(resolvers, addresses, metrics.clone(), resolved_sender),
            resolved,
            first_answers: FirstAnswers::default(),
            options,
            metrics,
            live,
            workers,
            publish,
            config: Arc::default(),
            clusters: Clusters::default(),
            ports: Ports::new(),
            generation: 0,
            reports,
            reasons: Reasons::default(),
            seen: Seen::default(),
            unseen: BTreeSet::new(),
            look_at: None,
            noticed,
            ejections: Ejections::default(),
            idle: IdleCloses::default(),
            leaving: Leaving::default(),
            sweep,
            expiries: Expiries::default(),
            tickets,
            old: Vec::new(),
            closing: false,
            bind_again: None,
            settling: Settling::default(),
        }
    }

    /// Runs until it is told to stop, or nobody is left to tell it anything.
    pub(super) async fn run(mut self, mut inputs: Inputs, mut orders: mpsc::UnboundedReceiver<Order>) {
        loop {
            tokio::select! {
                biased;
                order = orders.recv() => match order {
                    Some(Order::Close) => {
                        self.closing = true;
                        self.tell(|| Command::Close);
                    }
                    Some(Order::SpreadClose(window)) => self.tell(|| Command::SpreadClose(window)),
                    Some(Order::Probe(asked, to)) => self.probes.now(asked, self.clusters.all().values().cloned(), to),
                    Some(Order::Stop) | None => break,
                },
                Ok(()) = inputs.config.changed() => self.take_config(&mut inputs.config),
                Some(update) = inputs.endpoints.recv() => {
                    // An update is sent after the configuration that names its source: that one goes first.
                    if inputs.config.has_changed().unwrap_or(false) {
                        self.take_config(&mut inputs.config);
                    }
                    self.endpoints(&update.source, &update.endpoints);
                }
                Some(name) = self.resolved.recv() => self.name_changed(&name),
                () = until(self.first_answers.deadline()) => {
                    self.first_answers.give_up();
                    self.publish_observed(&[]);
                }
                Some(report) = self.reports.recv() => self.report(&report),
                () = until(self.look_at) => self.look(),
                Some(noticed) = self.noticed.recv() => match noticed {
                    Noticed::Failing(failing) => self.eject(&failing),
                    Noticed::Closed(closed) => {
                        if self.idle.closed(&closed, &self.config, Instant::now()) {
                            self.publish_observed(&[]);
                        }
                    }
                },
                () = until(self.idle.next()) => {
                    self.idle.forget_old(Instant::now());
                    self.publish_observed(&[]);
                }
                () = self.tickets.changed() => self.exchange_tickets(),
                () = until(self.ejections.next()) => self.take_back(),
                () = until(self.bind_again) => self.bind_again(),
                () = until(self.settling.due()) => {
                    (self.options.collect)();
                    self.settling.settled(Instant::now());
                }
                found = self.sweep.found(&self.metrics, &self.config) => {
                    self.sweep.remove(found, &self.metrics, &self.config);
                }
                () = tokio::time::sleep(CLEAN_UP), if !self.old.is_empty() => {}
            }
            self.old.retain(|table| Arc::strong_count(table) > 1);
        }
        self.tell(|| Command::Stop);
    }

    /// Other secrets of session tickets: every listener derives its keys anew.
    fn exchange_tickets(&mut self) {
        let secrets = self.tickets.renewed();
        for tls in self.live.load().listeners.values().filter_map(|listener| listener.tls.as_ref()) {
            tls.tickets.use_secrets(&secrets);
        }
    }

    fn tell(&self, command: impl Fn() -> Command) {
        for worker in &self.workers {
            // A worker that is gone has nothing left to do.
            let _ = worker.send(command());
        }
    }

    fn tell_all(&self, commands: Vec<Command>) {
        for command in commands {
            match command {
                Command::Departed(endpoint, departure) => {
                    self.tell(|| Command::Departed(Arc::clone(&endpoint), departure));
                }
                Command::Returned(endpoint) => self.tell(|| Command::Returned(Arc::clone(&endpoint))),
                // The clusters say nothing else.
                _ => {}
            }
        }
    }

    fn take_config(&mut self, receiver: &mut watch::Receiver<Option<Arc<Config>>>) {
        let config = receiver.borrow_and_update().clone();
        if let Some(config) = config {
            self.apply(config);
        }
    }

    /// Brings a configuration into the traffic: clusters first, then sockets, then the table, then what is gone.
    fn apply(&mut self, config: Arc<Config>) {
        let started = Instant::now();
        let before = self.live.load_full();
        let configured = Arc::clone(&self.config);
        let changes = config.cluster_changes(&configured);
        let (mut changed, commands) = self.clusters.update(&changes, |source| self.names.endpoints(source));
        let clusters = &self.clusters;
        let routes = RouteTable::compile(&config, &before.routes, |_, route| {
            Arc::new(RouteState::new(route, |id| clusters.get(id).cloned()))
        });
        let listeners = listeners::build(&config, &before, &self.leaving, &self.tickets.current());
        let ports = listeners::ports(&config, &listeners, &self.metrics);
        self.observe_stage("compile", started);
        let departure = Departure { timeout: self.options.drain_timeout, spread: self.options.drain_spread };
        let back = self.leaving.come_back(&listeners);
        let gone = self.leaving.leave(&before, &listeners, started + departure.timeout);
        let sockets = self.bind(&config);
        self.old.push(self.live.swap(Arc::new(Live { routes, listeners, ports })));
        drop(before);
        self.listen(sockets);
        self.unlisten(&config);
        self.tell(|| Command::RoutesChanged);
        if !back.is_empty() {
            self.tell(|| Command::ListenersBack(back.clone()));
        }
        if !gone.is_empty() {
            self.tell(|| Command::ListenersGone(gone.clone(), departure));
        }
        self.tell_all(commands);
        changed.extend(self.clusters.remove_missing(&changes));
        names::follow(&mut self.names, &self.clusters, &changes);
        self.first_answers.begin(self.names.are_pending());
        self.expiries.show(&config, &self.metrics);
        drop(changes);
        self.idle.follow(&config, started);
        self.config = config;
        self.generation += 1;
        self.refresh(&changed);
        self.publish_view();
        self.observe_stage("apply", started);
    }

    fn observe_stage(&self, stage: &str, started: Instant) {
        self.metrics.config_apply.with_label_values(&[stage]).observe(started.elapsed().as_secs_f64());
    }

    /// Sockets for ports that are new, or could not be bound before.
    fn bind(&mut self, config: &Config) -> Vec<(u16, Vec<std::net::TcpListener>)> {
        let mut wanted: Vec<u16> = config.listeners.iter().map(|listener| listener.bind_port).collect();
        wanted.sort_unstable();
        wanted.dedup();
        let mut bound = Vec::new();
        for &port in &wanted {
            if self.closing || matches!(self.ports.get(&port), Some(Ok(()))) {
                continue;
            }
            match sockets::bind(self.options.bind_address, port, self.workers.len()) {
                Ok(sockets) => {
                    tracing::info!(port, "listening");
                    self.ports.insert(port, Ok(()));
                    bound.push((port, sockets));
                }
                Err(error) => {
                    let error = error.to_string();
                    if self.ports.get(&port) != Some(&Err(error.clone())) {
                        tracing::error!(port, %error, "cannot listen; free the port or map it to another one");
                    }
                    self.ports.insert(port, Err(error));
                }
            }
        }
        let missing = !self.closing && wanted.iter().any(|port| matches!(self.ports.get(port), Some(Err(_))));
        self.bind_again = missing.then(|| Instant::now() + BIND_AGAIN);
        bound
    }

    /// Whoever had a port may have let it go.
    fn bind_again(&mut self) {
        let sockets = self.bind(&Arc::clone(&self.config));
        self.listen(sockets);
        self.publish_observed(&[]);
    }

    fn listen(&self, bound: Vec<(u16, Vec<std::net::TcpListener>)>) {
        for (port, sockets) in bound {
            for (worker, socket) in self.workers.iter().zip(sockets) {
                let _ = worker.send(Command::Listen(port, socket));
            }
        }
    }

    fn unlisten(&mut self, config: &Config) {
        let wanted = |port: u16| config.listeners.iter().any(|listener| listener.bind_port == port);
        let gone: Vec<u16> = self.ports.keys().copied().filter(|&port| !wanted(port)).collect();
        for port in gone {
            self.ports.remove(&port);
            self.tell(|| Command::Unlisten(port));
        }
    }

    /// New endpoints of a source.
    fn endpoints(&mut self, source: &EndpointSource, set: &EndpointSet) {
        let (changed, commands) = self.clusters.endpoints(source, set);
        if !commands.is_empty() {
            let draining = self.clusters.draining();
            self.publish.view.send_modify(|view| view.draining = draining);
        }
        self.tell_all(commands);
        self.refresh(&changed);
    }

    /// A DNS name has other addresses, or is wrong in another way.
    fn name_changed(&mut self, name: &Name) {
        self.names.look(name);
        let sources = self.clusters.names().filter(|(of, _)| *of == name).map(|(_, source)| source.clone());
        for source in sources.collect::<Vec<_>>() {
            if let Some(set) = self.names.endpoints(&source) {
                self.endpoints(&source, &set);
            }
        }
        self.first_answers.are_in(!self.names.are_pending());
        self.publish_observed(&[]);
    }

    /// Probes and the picture of clusters that changed.
    fn refresh(&mut self, changed: &[ClusterId]) {
        for id in changed {
            if let Some(cluster) = self.clusters.get(id) {
                self.probes.sync(cluster);
            } else {
                self.probes.forget(id);
                self.reasons.retain(|(of, _), _| of != id);
            }
        }
        self.publish_observed(changed);
    }

    fn publish_observed(&mut self, changed: &[ClusterId]) {
        self.settling.disturbed(Instant::now());
        self.seen.look(changed, &self.clusters, &self.reasons, &self.ejections);
        let observed = Arc::new(Observed {
            generation: self.generation,
            ports: self.ports.clone(),
            clusters: self.seen.clusters(),
            names: self.names.problems().clone(),
            idle: self.idle.warned(),
            resolving: self.first_answers.deadline().is_some(),
        });
        self.publish.observed.send_if_modified(|current| {
            let differs = **current != *observed;
            if differs {
                *current = observed;
            }
            differs
        });
    }

    fn publish_view(&self) {
        let clusters = self.clusters.all();
        let draining = self.clusters.draining();
        self.publish.view.send_replace(View { clusters, draining, config: Arc::clone(&self.config) });
    }
}
