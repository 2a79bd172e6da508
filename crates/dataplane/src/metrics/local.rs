//! The cells of one worker.

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use ahash::RandomState;
use hashbrown::HashMap;
use http::{Method, StatusCode};
use penstock_model::Name;

use super::Metrics;
use super::cells::{LocalCount, LocalTimes, Open};
use super::family::Series;
use crate::timer;

/// How often cells are added to the families, as long as anything was counted.
const FLUSH: Duration = Duration::from_millis(200);
/// Cells added in one go, those that wait longest first. Thousands would hold requests up, and each is cheaper the more it
/// has counted.
const FLUSHED_AT_ONCE: usize = 500;

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

/// Gateway and listener, and their cells.
type Durations = ([Arc<str>; 2], Rc<LocalTimes>);

#[derive(Debug)]
struct Inner {
    families: Metrics,
    routes: RefCell<HashMap<u64, Rc<RouteMetrics>, RandomState>>,
    /// Cells of `request_duration` without the rule, by gateway and listener: few, and used by all their routes.
    durations: RefCell<Vec<Durations>>,
    /// Cells of `refused`, by listener.
    refused: RefCell<HashMap<Box<str>, Vec<Reason>, RandomState>>,
    dirty: RefCell<VecDeque<Rc<RouteMetrics>>>,
    flushing: Cell<bool>,
}

/// The cells of one route.
#[derive(Debug)]
pub(crate) struct RouteMetrics {
    /// Answers with the code and method that were seen first, mostly all there are: beside the other cells in memory.
    first: OnceCell<Answers>,
    /// Few: as many as other codes and methods.
    others: RefCell<Vec<Answers>>,
    duration: Rc<LocalTimes>,
    pub(crate) received: LocalCount,
    pub(crate) sent: LocalCount,
    /// Of the pool and settings that the route last went to.
    backend: RefCell<Option<Backend>>,
    /// Most routes have none.
    websockets: OnceCell<Box<WebSockets>>,
    dirty: Cell<bool>,
}

/// Answers with one code to one method.
#[derive(Debug)]
struct Answers {
    code: u16,
    method: &'static str,
    count: LocalCount,
}

/// What was refused or failed for one reason, from a closed list.
#[derive(Debug)]
struct Reason {
    reason: &'static str,
    count: LocalCount,
}

impl Reason {
    /// Counts one; few reasons are ever met.
    fn inc(known: &mut Vec<Self>, reason: &'static str, new: impl FnOnce() -> LocalCount) {
        match known.iter().find(|one| one.reason == reason) {
            Some(one) => one.count.inc(),
            None => {
                let count = new();
                count.inc();
                known.push(Self { reason, count });
            }
        }
    }
}

/// Durations of one pool under one set of settings.
#[derive(Debug)]
struct Backend {
    pool: Name,
    settings: Name,
    duration: LocalTimes,
    errors: Vec<Reason>,
}

/// WebSockets of one route.
#[derive(Debug)]
struct WebSockets {
    /// Not a cell: what is open is seen at once.
    open: Arc<Series<Open>>,
    opened: LocalCount,
}

impl LocalMetrics {
    pub(crate) fn new(families: Metrics) -> Self {
        Self(Rc::new(Inner {
            families,
            routes: RefCell::default(),
            durations: RefCell::default(),
            refused: RefCell::default(),
            dirty: RefCell::default(),
            flushing: Cell::new(false),
        }))
    }

    /// The families, for what is rare.
    pub(crate) fn families(&self) -> &Metrics {
        &self.0.families
    }

    /// The cells of a route.
    pub(crate) fn route(&self, scope: Scope<'_>) -> Rc<RouteMetrics> {
        let mut routes = self.0.routes.borrow_mut();
        let new = || Rc::new(RouteMetrics::new(&self.0.families, scope, self.duration(scope)));
        Rc::clone(routes.entry(scope.number).or_insert_with(new))
    }

    fn duration(&self, scope: Scope<'_>) -> Rc<LocalTimes> {
        let family = &self.0.families.request_duration;
        if self.0.families.per_rule {
            return Rc::new(family.with_label_values(&[scope.gateway, scope.listener, scope.rule]).into());
        }
        let labels = [scope.gateway, scope.listener];
        let mut durations = self.0.durations.borrow_mut();
        if let Some((_, known)) = durations.iter().find(|(known, _)| known.each_ref().map(|label| &**label) == labels) {
            return Rc::clone(known);
        }
        let new = Rc::new(family.with_label_values(&labels).into());
        durations.push((labels.map(Into::into), Rc::clone(&new)));
        new
    }

    /// Counts an answer.
    pub(crate) fn answered(&self, route: &Rc<RouteMetrics>, method: &Method, status: StatusCode, took: Duration) {
        route.count(&self.0.families, method_label(method), status.as_u16());
        route.duration.observe(took);
        self.touch(route);
    }

    /// Observes how long a backend took to its response head.
    pub(crate) fn backend_answered(&self, route: &Rc<RouteMetrics>, pool: &Name, settings: &Name, took: Duration) {
        let mut backend = route.backend.borrow_mut();
        Backend::of(&mut backend, &self.0.families, pool, settings).duration.observe(took);
    }

    /// Counts an attempt that failed.
    pub(crate) fn backend_failed(&self, route: &Rc<RouteMetrics>, pool: &Name, settings: &Name, reason: &'static str) {
        let families = &self.0.families;
        let mut backend = route.backend.borrow_mut();
        let errors = &mut Backend::of(&mut backend, families, pool, settings).errors;
        Reason::inc(errors, reason, || families.backend_errors.with_label_values(&[pool, settings, reason]).into());
        drop(backend);
        self.touch(route);
    }

    /// Counts what is refused; the listener is `none` where no listener took it.
    pub(crate) fn refused(&self, listener: &str, reason: &'static str) {
        let mut refused = self.0.refused.borrow_mut();
        let new = || self.0.families.refused.with_label_values(&[listener, reason]).into();
        match refused.get_mut(listener) {
            Some(known) => Reason::inc(known, reason, new),
            None => Reason::inc(refused.entry(listener.into()).or_default(), reason, new),
        }
        self.flush_later();
    }

    /// A WebSocket is open; see [`websocket_closed`](Self::websocket_closed).
    pub(crate) fn websocket_opened(&self, route: &Rc<RouteMetrics>) {
        let websockets = route.websockets(&self.0.families);
        websockets.open.inc();
        websockets.opened.inc();
        self.touch(route);
    }

    /// It is no more.
    pub(crate) fn websocket_closed(&self, route: &RouteMetrics) {
        route.websockets(&self.0.families).open.dec();
    }

    /// Forgets cells of routes and listeners (by gateway and name) that are gone; the next use makes them anew. Their series
    /// may be gone by then, too, and what is added to a series that was removed shows nowhere.
    pub(crate) fn forget(&self, keep: impl Fn(u64) -> bool, keep_listener: impl Fn(&[Arc<str>; 2]) -> bool) {
        self.0.routes.borrow_mut().retain(|number, cells| {
            let kept = keep(*number);
            if !kept {
                cells.flush();
            }
            kept
        });
        // A request that is still under way adds what it has by itself.
        self.0.durations.borrow_mut().retain(|(labels, _)| &*labels[1] == "none" || keep_listener(labels));
        // These have no gateway in their labels, and are few enough to be made anew whenever something changes.
        self.flush_refused();
        self.0.refused.borrow_mut().clear();
    }

    /// Adds every cell to its family.
    pub(crate) fn flush(&self) {
        while !self.flush_some() {}
    }

    /// Adds those cells that wait longest; whether these were all.
    fn flush_some(&self) -> bool {
        let mut dirty = self.0.dirty.borrow_mut();
        let count = dirty.len().min(FLUSHED_AT_ONCE);
        dirty.drain(..count).for_each(|cells| cells.flush());
        self.0.durations.borrow().iter().for_each(|(_, duration)| duration.flush());
        self.flush_refused();
        dirty.is_empty()
    }

    fn flush_refused(&self) {
        self.0.refused.borrow().values().flatten().for_each(|one| one.count.flush());
    }

    fn touch(&self, route: &Rc<RouteMetrics>) {
        if route.dirty.replace(true) {
            return;
        }
        self.0.dirty.borrow_mut().push_back(Rc::clone(route));
        self.flush_later();
    }

    fn flush_later(&self) {
        if !self.0.flushing.replace(true) {
            let metrics = self.clone();
            tokio::task::spawn_local(async move {
                loop {
                    timer::sleep(FLUSH).await;
                    if metrics.flush_some() {
                        break;
                    }
                }
                metrics.0.flushing.set(false);
            });
        }
    }
}

impl Backend {
    /// The cells of a pool under settings, which are mostly those of the last time.
    fn of<'a>(last: &'a mut Option<Self>, families: &Metrics, pool: &Name, settings: &Name) -> &'a mut Self {
        // One name is mostly one allocation: to compare the pointers leaves the characters out of the cache.
        let same = |a: &Name, b: &Name| Arc::ptr_eq(a, b) || a == b;
        if let Some(other) = last.take_if(|last| !same(&last.pool, pool) || !same(&last.settings, settings)) {
            other.flush();
        }
        last.get_or_insert_with(|| Self {
            pool: Arc::clone(pool),
            settings: Arc::clone(settings),
            duration: families.backend_duration.with_label_values(&[pool, settings]).into(),
            errors: Vec::new(),
        })
    }

    fn flush(&self) {
        self.duration.flush();
        self.errors.iter().for_each(|one| one.count.flush());
    }
}

impl RouteMetrics {
    fn new(families: &Metrics, scope: Scope<'_>, duration: Rc<LocalTimes>) -> Self {
        let labels = [scope.gateway, scope.listener, scope.rule];
        let bytes =
            |direction| families.request_bytes.with_label_values(&[labels[0], labels[1], labels[2], direction]).into();
        Self {
            first: OnceCell::new(),
            others: RefCell::default(),
            duration,
            received: bytes("received"),
            sent: bytes("sent"),
            backend: RefCell::default(),
            websockets: OnceCell::new(),
            dirty: Cell::new(false),
        }
    }

    fn count(&self, families: &Metrics, method: &'static str, code: u16) {
        let is = |known: &&Answers| known.code == code && std::ptr::eq(known.method, method);
        let new = || {
            let text = code.to_string();
            let [gateway, listener, rule] = self.labels();
            let labels = [gateway, listener, rule, &text, method];
            Answers { code, method, count: families.requests.with_label_values(&labels).into() }
        };
        let first = self.first.get_or_init(new);
        if is(&first) {
            return first.count.inc();
        }
        let mut others = self.others.borrow_mut();
        if let Some(known) = others.iter().find(is) {
            return known.count.inc();
        }
        let other = new();
        other.count.inc();
        others.push(other);
    }

    fn flush(&self) {
        self.dirty.set(false);
        self.first.get().into_iter().chain(&*self.others.borrow()).for_each(|answers| answers.count.flush());
        self.duration.flush();
        self.received.flush();
        self.sent.flush();
        if let Some(last) = &*self.backend.borrow() {
            last.flush();
        }
        if let Some(websockets) = self.websockets.get() {
            websockets.opened.flush();
        }
    }

    fn websockets(&self, families: &Metrics) -> &WebSockets {
        self.websockets.get_or_init(|| {
            let labels = self.labels();
            let opened = families.websocket_opened.with_label_values(&labels).into();
            Box::new(WebSockets { open: families.websocket_open.with_label_values(&labels), opened })
        })
    }

    /// Gateway, listener and rule.
    fn labels(&self) -> [&str; 3] {
        let mut labels = self.received.series().labels();
        std::array::from_fn(|_| labels.next().unwrap_or_default())
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
