//! The record of one request: begun with its head, written when its answer (or its WebSocket) is over.

mod written;

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{Method, StatusCode};
use penstock_model::{ErrorPage, Forward, Name};

use crate::access_log::Client;
use crate::cluster::LiveEndpoint;
use crate::metrics::{RouteMetrics, Scope};
use crate::route_state::{ListenerState, RouteState};
use crate::trace::{Context, Onward, Trace, Tried};
use crate::tunnel::CloseReason;
use crate::worker::Worker;

/// What becomes metrics, a line of the access log, and spans. Written once, when dropped.
#[derive(Debug)]
pub(crate) struct Record {
    worker: Rc<Worker>,
    started: Instant,
    method: Method,
    /// Who took it.
    listener: Option<Arc<ListenerState>>,
    route: Option<Arc<RouteState>>,
    metrics: Option<Rc<RouteMetrics>>,
    /// What the client gets; a request that ends without is 499, as nginx says it.
    pub(crate) status: Option<StatusCode>,
    pub(crate) received: u64,
    pub(crate) sent: u64,
    endpoint: Option<Arc<LiveEndpoint>>,
    pub(crate) backend_time: Option<Duration>,
    /// From its head to that of the answer.
    answered: Option<Duration>,
    /// How long it took in all, where that is known before the record is dropped.
    took: Option<Duration>,
    pub(crate) attempts: u8,
    pub(crate) websocket: bool,
    pub(crate) close_reason: Option<CloseReason>,
    /// From a closed list.
    pub(crate) error: Option<&'static str>,
    /// Only where somebody reads it.
    client: Option<Box<Client>>,
    /// Only where it is sampled; then there is a client.
    trace: Option<Box<Trace>>,
}

impl Record {
    pub(crate) fn new(
        worker: &Rc<Worker>,
        method: Method,
        client: Option<Box<Client>>,
        trace: Option<Box<Trace>>,
    ) -> Self {
        Self {
            worker: Rc::clone(worker),
            started: Instant::now(),
            method,
            listener: None,
            route: None,
            metrics: None,
            status: None,
            received: 0,
            sent: 0,
            endpoint: None,
            backend_time: None,
            answered: None,
            took: None,
            attempts: 0,
            websocket: false,
            close_reason: None,
            error: None,
            client,
            trace,
        }
    }

    /// A listener takes it, and maybe a route.
    pub(crate) fn routed(&mut self, listener: &Arc<ListenerState>, route: Option<&Arc<RouteState>>) {
        let scope = Scope {
            number: route.map_or(listener.number, |route| route.number),
            gateway: &listener.gateway,
            listener: &listener.listener.id.name,
            rule: route.map_or("none", |route| &route.rule),
        };
        self.metrics = Some(self.worker.metrics.route(scope));
        self.listener = Some(Arc::clone(listener));
        self.route = route.cloned();
    }

    /// What the log will say of the client's side, where there is a log.
    pub(crate) fn client(&mut self) -> Option<&mut Client> {
        self.client.as_deref_mut()
    }

    /// The name of its listener, for counters.
    pub(crate) fn listener_name(&self) -> &str {
        self.listener.as_ref().map_or("none", |listener| &listener.listener.id.name)
    }

    /// Its listener took it, and it is refused all the same.
    pub(crate) fn refused(&self, reason: &'static str) {
        self.worker.metrics.refused(self.listener_name(), reason);
    }

    /// An attempt to reach a backend failed.
    pub(crate) fn backend_failed(&self, pool: &Name, settings: &Name, reason: &'static str) {
        self.worker.metrics.backend_failed(&self.cells(), pool, settings, reason);
    }

    /// The page that its listener's owner wants sent with this status.
    pub(crate) fn error_page(&self, status: StatusCode) -> Option<&ErrorPage> {
        self.listener.as_ref()?.listener.error_pages.get(&status.as_u16())
    }

    /// Label values of gateway, listener and rule.
    pub(crate) fn labels(&self) -> [&str; 3] {
        let gateway = self.listener.as_ref().map_or("none", |listener| &*listener.gateway);
        [gateway, self.listener_name(), self.route.as_ref().map_or("none", |route| &*route.rule)]
    }

    /// The number of its listener.
    pub(crate) fn listener_number(&self) -> u64 {
        self.listener.as_ref().map_or(0, |listener| listener.number)
    }

    /// It goes to this endpoint.
    pub(crate) fn sent_to(&mut self, endpoint: &Arc<LiveEndpoint>) {
        // For the log alone: without one, no counter that other workers share is touched for it.
        self.endpoint = self.client.is_some().then(|| Arc::clone(endpoint));
    }

    /// An attempt begins, at an endpoint that was chosen at that time: what goes on to it says where in the trace it is.
    pub(crate) fn tried(&mut self, context: &Context, to: &Forward, address: SocketAddr, chosen: Instant) -> Onward {
        let Some(trace) = &mut self.trace else { return context.onward(context.span) };
        let span = self.worker.tracer.span_id();
        let began = chosen.saturating_duration_since(self.started);
        let (pool, settings) = (Name::clone(&to.pool), Name::clone(&to.settings));
        let (failed, status, error) = (None, None, None);
        trace.attempts.begin(Tried { span, pool, settings, address, began, failed, status, error });
        context.onward(span)
    }

    /// The attempt is over, without an answer.
    pub(crate) fn attempt_failed(&mut self, reason: &'static str) {
        if let Some(trace) = &mut self.trace {
            trace.attempts.failed(self.started.elapsed(), reason);
        }
    }

    /// When its head was read.
    pub(crate) fn started(&self) -> Instant {
        self.started
    }

    /// The response head of the backend, chosen at that time, is there.
    pub(crate) fn backend_answered(&mut self, pool: &Name, settings: &Name, chosen: Instant, status: StatusCode) {
        let now = Instant::now();
        let took = now.saturating_duration_since(chosen);
        self.answered = Some(now.saturating_duration_since(self.started));
        self.backend_time = Some(took);
        if let Some(metrics) = &self.metrics {
            self.worker.metrics.backend_answered(metrics, pool, settings, took);
        }
        if let Some(trace) = &mut self.trace {
            trace.attempts.answered(status);
        }
    }

    /// The whole answer came with its head: it goes out within this poll, which needs no other look at the clock.
    pub(crate) fn ended(&mut self) {
        self.took = self.answered;
    }

    fn took(&self) -> Duration {
        self.took.unwrap_or_else(|| self.started.elapsed())
    }

    /// Its WebSocket is open: counted as answered now, logged when it closes.
    pub(crate) fn opened(&mut self) {
        self.websocket = true;
        self.count(self.status.unwrap_or(StatusCode::SWITCHING_PROTOCOLS));
    }

    /// Its tunnel begins.
    pub(crate) fn tunnel_began(&self) {
        self.worker.metrics.websocket_opened(&self.cells());
    }

    /// Its tunnel is over.
    pub(crate) fn tunnel_ended(&self) {
        self.worker.metrics.websocket_closed(&self.cells());
    }

    /// Its route.
    pub(crate) fn route(&self) -> Option<&Arc<RouteState>> {
        self.route.as_ref()
    }

    /// The cells of its route, or of its listener.
    fn cells(&self) -> Rc<RouteMetrics> {
        let none = || self.worker.metrics.route(Scope { number: 0, gateway: "none", listener: "none", rule: "none" });
        self.metrics.clone().unwrap_or_else(none)
    }

    fn count(&self, status: StatusCode) {
        let metrics = self.cells();
        metrics.received.inc_by(self.received);
        metrics.sent.inc_by(self.sent);
        self.worker.metrics.answered(&metrics, &self.method, status, self.took());
    }
}
