//! How the rest of a worker reaches into a live tunnel: ask it to close, cut it, read its counters.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::Waker;

/// Why a tunnel ended; also a label of the metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CloseReason {
    /// The client ended it first: a Close frame, a FIN or a reset.
    Client,
    /// The backend did.
    Backend,
    /// Nothing moved in either direction for the idle timeout.
    Idle,
    /// It was as old as tunnels may be.
    Duration,
    /// This goes away.
    Drain(Leaving),
    /// A side took nothing any more, or the network failed.
    Error,
}

/// What goes away and takes its tunnels along.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Leaving {
    /// The endpoint that they lead to left its cluster.
    Endpoint,
    /// The listener that they came by was removed.
    Listener,
    /// The process was told to stop.
    Process,
}

impl CloseReason {
    /// The value of the label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Backend => "backend",
            Self::Idle => "idle",
            Self::Duration => "duration",
            Self::Drain(_) => "drain",
            Self::Error => "error",
        }
    }
}

/// What a tunnel was asked to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    Nothing,
    /// Put a Close between two frames, wait for the answer, end.
    Close(CloseReason),
    /// End now.
    Cut(CloseReason),
}

/// A handle to a tunnel of this worker. Outlives the tunnel harmlessly.
#[derive(Clone, Debug)]
pub struct Control(Rc<Shared>);

#[derive(Debug)]
struct Shared {
    from_client: Cell<u64>,
    from_backend: Cell<u64>,
    waker: RefCell<Option<Waker>>,
    asked: Cell<Asked>,
}

impl Default for Control {
    fn default() -> Self {
        Self::new()
    }
}

impl Control {
    /// For a tunnel to be.
    pub fn new() -> Self {
        Self(Rc::new(Shared {
            from_client: Cell::new(0),
            from_backend: Cell::new(0),
            waker: RefCell::new(None),
            asked: Cell::new(Asked::Nothing),
        }))
    }

    /// Ends the tunnel with a Close 1001 between two frames, or just ends it if it is no WebSocket. The first reason counts.
    pub fn close(&self, reason: CloseReason) {
        if self.0.asked.get() == Asked::Nothing {
            self.0.asked.set(Asked::Close(reason));
            self.wake();
        }
    }

    /// Ends the tunnel at once, with a Close where one can be sent without waiting. `reason` counts unless a close was asked for before.
    pub fn cut(&self, reason: CloseReason) {
        let reason = match self.0.asked.get() {
            Asked::Nothing => reason,
            Asked::Close(first) => first,
            Asked::Cut(_) => return,
        };
        self.0.asked.set(Asked::Cut(reason));
        self.wake();
    }

    /// Whether it was asked to end.
    pub fn is_closing(&self) -> bool {
        self.0.asked.get() != Asked::Nothing
    }

    /// Bytes relayed to the backend so far.
    pub fn from_client(&self) -> u64 {
        self.0.from_client.get()
    }

    /// Bytes relayed to the client so far, without a Close of our own.
    pub fn from_backend(&self) -> u64 {
        self.0.from_backend.get()
    }

    pub(super) fn asked(&self) -> Asked {
        self.0.asked.get()
    }

    pub(super) fn client_counter(&self) -> &Cell<u64> {
        &self.0.from_client
    }

    pub(super) fn backend_counter(&self) -> &Cell<u64> {
        &self.0.from_backend
    }

    /// Remembers whom to wake.
    pub(super) fn register(&self, waker: &Waker) {
        let fresh = match &*self.0.waker.borrow() {
            Some(kept) if kept.will_wake(waker) => return,
            _ => waker.clone(),
        };
        // The old one is dropped after the borrow: it may be the last reference to a task that holds a clone of this.
        let old = self.0.waker.borrow_mut().replace(fresh);
        drop(old);
    }

    /// Forgets whom to wake: the tunnel is gone, its task need not stay in memory.
    pub(super) fn release(&self) {
        let old = self.0.waker.borrow_mut().take();
        drop(old);
    }

    fn wake(&self) {
        let waker = self.0.waker.borrow().clone();
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}
