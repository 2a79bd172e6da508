//! A connection to an endpoint and what the worker knows about it.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Duration;

use prometheus::IntGauge;

use super::exchange::Carrier;
use super::tls::Secured;
use crate::cluster::{Connected, LiveEndpoint};
use crate::timer::{self, Span, Tick};

/// How long an idle connection is kept when the backend does not say (Node.js closes after 5 s).
const IDLE: Duration = Duration::from_secs(4);

/// A connection to an endpoint. Boxed wherever it is kept, so that it moves as one pointer.
#[derive(Debug)]
pub(crate) struct Link {
    /// HTTP on it.
    pub(crate) connection: Carrier,
    /// Where it goes.
    pub(crate) endpoint: Arc<LiveEndpoint>,
    /// With TLS: what it was made with.
    pub(crate) secured: Option<Box<Secured>>,
    /// Whether a request went over it before: then the backend may have closed it meanwhile.
    pub(crate) reused: bool,
    /// Ends it from elsewhere.
    pub(crate) cut: Rc<Cut>,
    /// Counts it for as long as it is open.
    pub(crate) counted: Option<Connected>,
    idle_until: Tick,
    idle_limit: Span,
}

/// A request in `penstock_backend_pending`.
#[derive(Debug)]
pub(crate) struct Counted(IntGauge);

impl Counted {
    pub(crate) fn new(gauge: IntGauge) -> Self {
        gauge.inc();
        Self(gauge)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// Ends a connection from elsewhere on its worker: set when the drain of its endpoint is over.
#[derive(Debug, Default)]
pub(crate) struct Cut {
    done: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

impl Cut {
    /// Ends whoever polls it.
    pub(crate) fn cut(&self) {
        self.done.set(true);
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    /// Whether it is over; otherwise the task is woken when it is.
    pub(crate) fn is_cut(&self, cx: &Context<'_>) -> bool {
        if self.done.get() {
            return true;
        }
        let mut waker = self.waker.borrow_mut();
        if !waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            *waker = Some(cx.waker().clone());
        }
        false
    }
}

impl Link {
    pub(crate) fn new(
        connection: Carrier,
        endpoint: Arc<LiveEndpoint>,
        cut: Rc<Cut>,
        counted: Option<Connected>,
    ) -> Self {
        let idle_limit = Span::at_least(IDLE);
        Self { connection, endpoint, secured: None, reused: false, cut, counted, idle_until: Tick::NEVER, idle_limit }
    }

    /// What the backend says about idle connections; one second of grace for the way.
    pub(crate) fn keep_idle(&mut self, limit: Duration) {
        self.idle_limit = Span::at_least(limit.saturating_sub(Duration::from_secs(1)));
    }

    /// It is idle from now on.
    pub(crate) fn park(&mut self) {
        self.reused = true;
        self.idle_until = timer::now().after(self.idle_limit);
    }

    /// Whether an idle connection may still be used.
    pub(crate) fn is_fresh(&self) -> bool {
        timer::now() < self.idle_until
    }
}
