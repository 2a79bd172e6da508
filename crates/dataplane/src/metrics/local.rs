//! The cells of one worker.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use ahash::RandomState;
use hashbrown::HashMap;
use http::{Method, StatusCode};
use prometheus::local::{LocalHistogram, LocalIntCounter};

use super::Metrics;
use crate::timer;

/// How often cells are added to the families, as long as anything was counted.
const FLUSH: Duration = Duration::from_millis(200);

/// Whose request it is: label values of the families that have gateway, listener and rule.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scope<'a> {
    /// Unique number of the route, or of the listener when no rule took the request.
    pub(crate) number: u64,
    pub(crate) gateway: &'a str,
    pub(crate) listener: &'a str,
    pub(crate) rule: &'a str,
}

/// The metrics of a worker; clones are the same.
#[derive(Clone, Debug)]
pub(crate) struct LocalMetrics(Rc<Inner>);

#[derive(Debug)]
struct Inner {
    families: Metrics,
    routes: RefCell<HashMap<u64, Rc<RouteMetrics>, RandomState>>,
    dirty: RefCell<Vec<Rc<RouteMetrics>>>,
}

/// The cells of one route.
#[derive(Debug)]
pub(crate) struct RouteMetrics {
    labels: [Box<str>; 3],
    /// Few: as many as codes and methods that were seen.
    requests: RefCell<Vec<(u16, &'static str, LocalIntCounter)>>,
    pub(crate) duration: LocalHistogram,
    pub(crate) received: LocalIntCounter,
    pub(crate) sent: LocalIntCounter,
    /// Of the pool and settings that the route last went to.
    backend: RefCell<Option<Backend>>,
    dirty: Cell<bool>,
}

/// Durations of one pool under one set of settings.
#[derive(Debug)]
struct Backend {
    pool: Box<str>,
    settings: Box<str>,
    duration: LocalHistogram,
}

impl LocalMetrics {
    pub(crate) fn new(families: Metrics) -> Self {
        Self(Rc::new(Inner { families, routes: RefCell::default(), dirty: RefCell::default() }))
    }

    /// The families, for what is rare.
    pub(crate) fn families(&self) -> &Metrics {
        &self.0.families
    }

    /// The cells of a route.
    pub(crate) fn route(&self, scope: Scope<'_>) -> Rc<RouteMetrics> {
        let mut routes = self.0.routes.borrow_mut();
        Rc::clone(routes.entry(scope.number).or_insert_with(|| Rc::new(RouteMetrics::new(&self.0.families, scope))))
    }

    /// Counts an answer.
    pub(crate) fn answered(&self, route: &Rc<RouteMetrics>, method: &Method, status: StatusCode, took: Duration) {
        route.count(&self.0.families, method_label(method), status.as_u16());
        route.duration.observe(took.as_secs_f64());
        self.touch(route);
    }

    /// Observes how long a backend took to its response head.
    pub(crate) fn backend_answered(&self, route: &Rc<RouteMetrics>, pool: &str, settings: &str, took: Duration) {
        let mut backend = route.backend.borrow_mut();
        if backend.as_ref().is_none_or(|last| *last.pool != *pool || *last.settings != *settings) {
            let duration = self.0.families.backend_duration.with_label_values(&[pool, settings]).local();
            *backend = Some(Backend { pool: pool.into(), settings: settings.into(), duration });
        }
        if let Some(last) = &*backend {
            last.duration.observe(took.as_secs_f64());
        }
    }

    /// Forgets cells of routes that are gone; the next use makes them anew.
    pub(crate) fn forget(&self, keep: impl Fn(u64) -> bool) {
        self.0.routes.borrow_mut().retain(|number, cells| {
            let kept = keep(*number);
            if !kept {
                cells.flush();
            }
            kept
        });
    }

    /// Adds every cell to its family.
    pub(crate) fn flush(&self) {
        for cells in self.0.dirty.take() {
            cells.flush();
        }
    }

    fn touch(&self, route: &Rc<RouteMetrics>) {
        if route.dirty.replace(true) {
            return;
        }
        let mut dirty = self.0.dirty.borrow_mut();
        dirty.push(Rc::clone(route));
        if dirty.len() == 1 {
            let metrics = self.clone();
            tokio::task::spawn_local(async move {
                timer::sleep(FLUSH).await;
                metrics.flush();
            });
        }
    }
}

impl RouteMetrics {
    fn new(families: &Metrics, scope: Scope<'_>) -> Self {
        let labels = [scope.gateway, scope.listener, scope.rule];
        let duration = if families.per_rule { &labels[..] } else { &labels[..2] };
        let bytes =
            |direction| families.request_bytes.with_label_values(&[labels[0], labels[1], labels[2], direction]).local();
        Self {
            labels: labels.map(Into::into),
            requests: RefCell::default(),
            duration: families.request_duration.with_label_values(duration).local(),
            received: bytes("received"),
            sent: bytes("sent"),
            backend: RefCell::default(),
            dirty: Cell::new(false),
        }
    }

    fn count(&self, families: &Metrics, method: &'static str, code: u16) {
        let mut requests = self.requests.borrow_mut();
        if let Some((_, _, counter)) = requests.iter().find(|(c, m, _)| *c == code && std::ptr::eq(*m, method)) {
            return counter.inc();
        }
        let text = code.to_string();
        let [gateway, listener, rule] = &self.labels;
        let labels = [&**gateway, &**listener, &**rule, &text, method];
        let counter = families.requests.with_label_values(&labels).local();
        counter.inc();
        requests.push((code, method, counter));
    }

    fn flush(&self) {
        self.dirty.set(false);
        self.requests.borrow().iter().for_each(|(_, _, counter)| counter.flush());
        self.duration.flush();
        self.received.flush();
        self.sent.flush();
        if let Some(last) = &*self.backend.borrow() {
            last.duration.flush();
        }
    }
}

/// The methods of RFC 9110 and PATCH by name: a client cannot invent label values.
fn method_label(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        Method::PATCH => "PATCH",
        _ => "other",
    }
}
