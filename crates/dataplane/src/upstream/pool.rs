//! Idle connections of one worker, by endpoint, the most recently used first.

use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Duration;

use ahash::RandomState;
use hashbrown::HashMap;

use super::link::{Cut, Link};
use super::tls::{Secured, serves};
use crate::cluster::LiveEndpoint;
use crate::timer;

/// Idle connections that one worker keeps to one endpoint.
const MAX_IDLE: usize = 256;
/// How often idle connections are looked through, as long as there are any.
const SWEEP: Duration = Duration::from_secs(1);

/// The pool of a worker; clones are the same pool.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pool(Rc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    endpoints: RefCell<HashMap<u64, Slot, RandomState>>,
    sweeping: Cell<bool>,
    /// No connection has become idle since the last one was looked for in vain.
    none_idle: Cell<bool>,
}

#[derive(Debug, Default)]
struct Slot {
    // Boxed: a link moves between pool and request as one pointer.
    #[allow(clippy::vec_box, reason = "links are large and move often")]
    idle: Vec<Box<Link>>,
    /// Every connection of the endpoint, idle or not.
    open: Vec<Weak<Cut>>,
}

impl Pool {
    /// An idle connection that is still good, and was made as is `wanted` now: with the same TLS, or none.
    pub(crate) fn take(&self, endpoint: &LiveEndpoint, wanted: Option<&Secured>) -> Option<Box<Link>> {
        let mut endpoints = self.0.endpoints.borrow_mut();
        let idle = &mut endpoints.get_mut(&endpoint.number)?.idle;
        let fits = |link: &Link| serves(link.secured.as_deref(), wanted);
        while let Some(at) = idle.iter().rposition(|link| fits(link)) {
            let mut link = idle.remove(at);
            // A closed or talking connection is known by a poll; it needs no waker, nobody waits.
            if link.is_fresh() && link.connection.poll_idle(&mut Context::from_waker(Waker::noop())).is_pending() {
                return Some(link);
            }
        }
        None
    }

    /// Takes back a connection whose exchange is over.
    pub(crate) fn put(&self, mut link: Box<Link>) {
        if !link.connection.is_reusable() || link.endpoint.is_departing() {
            return;
        }
        link.park();
        let mut endpoints = self.0.endpoints.borrow_mut();
        let slot = endpoints.entry(link.endpoint.number).or_default();
        if slot.idle.len() < MAX_IDLE {
            slot.idle.push(link);
            self.0.none_idle.set(false);
        }
        drop(endpoints);
        self.sweep_later();
    }

    /// Enters a new connection, so that [`Pool::cut`] reaches it.
    pub(crate) fn enter(&self, endpoint: &LiveEndpoint) -> Rc<Cut> {
        let mut endpoints = self.0.endpoints.borrow_mut();
        let open = &mut endpoints.entry(endpoint.number).or_default().open;
        if open.len() == open.capacity() {
            open.retain(|cut| cut.strong_count() > 0);
        }
        let cut = Rc::new(Cut::default());
        open.push(Rc::downgrade(&cut));
        cut
    }

    /// The endpoint has left: idle connections go at once.
    pub(crate) fn forget_idle(&self, endpoint: &Arc<LiveEndpoint>) {
        if let Some(slot) = self.0.endpoints.borrow_mut().get_mut(&endpoint.number) {
            slot.idle.clear();
        }
    }

    /// Lets an idle connection go, the one of an endpoint that was not used for longest. False when there is none. For when
    /// there is no room for another one: it may look at every endpoint, once until another connection becomes idle.
    pub(crate) fn forget_one(&self) -> bool {
        if self.0.none_idle.get() {
            return false;
        }
        let mut endpoints = self.0.endpoints.borrow_mut();
        let idle = endpoints.values_mut().map(|slot| &mut slot.idle).find(|idle| !idle.is_empty());
        let found = idle.map(|idle| idle.remove(0)).is_some();
        self.0.none_idle.set(!found);
        found
    }

    /// The drain of an endpoint is over: what it still has ends now.
    pub(crate) fn cut(&self, endpoint: &Arc<LiveEndpoint>) {
        let slot = self.0.endpoints.borrow_mut().remove(&endpoint.number);
        for cut in slot.iter().flat_map(|slot| &slot.open).filter_map(Weak::upgrade) {
            cut.cut();
        }
    }

    /// Idle connections must not outlive their limit, also when nobody asks for them.
    fn sweep_later(&self) {
        if self.0.sweeping.replace(true) {
            return;
        }
        let pool = self.clone();
        tokio::task::spawn_local(async move {
            while pool.0.sweeping.get() {
                timer::sleep(SWEEP).await;
                let mut endpoints = pool.0.endpoints.borrow_mut();
                let mut idle = 0;
                endpoints.retain(|_, slot| {
                    slot.idle.retain(|link| link.is_fresh());
                    idle += slot.idle.len();
                    slot.open.retain(|cut| cut.strong_count() > 0);
                    !slot.open.is_empty()
                });
                pool.0.sweeping.set(idle > 0);
            }
        });
    }
}
