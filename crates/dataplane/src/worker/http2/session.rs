//! What the requests of a connection of HTTP/2 share with it, and what they tell it.

use std::cell::Cell;
use std::rc::Rc;

use super::meter::Meter;
use super::room::Backlog;
use crate::exchange::Downstream;
use crate::timer::{self, Tick};
use crate::worker::serve::STALLED_WRITE;

/// What the streams of a connection share with it.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) downstream: Rc<Downstream>,
    pub(super) meter: Rc<Meter>,
    pub(super) backlog: Backlog,
    /// Streams on which the client may still send.
    pub(super) bodies: Cell<u32>,
    /// When something last moved on a stream.
    pub(super) moved: Cell<Tick>,
}

/// Held while the client may send on a stream.
#[derive(Debug)]
pub(super) struct Open(pub(super) Rc<Session>);

impl Open {
    pub(super) fn new(session: &Rc<Session>) -> Self {
        session.bodies.set(session.bodies.get() + 1);
        Self(Rc::clone(session))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.bodies.set(self.0.bodies.get() - 1);
        // What its connection waits for may begin with its end.
        self.0.touch();
    }
}

impl Session {
    pub(super) fn new(downstream: Rc<Downstream>, meter: Rc<Meter>) -> Rc<Self> {
        let (backlog, bodies) = (Backlog::default(), Cell::new(0));
        Rc::new(Self { downstream, meter, backlog, bodies, moved: Cell::new(timer::now()) })
    }

    /// Something moved.
    pub(super) fn touch(&self) {
        self.moved.set(timer::now());
    }

    /// The client took nothing of an answer for too long: that stream ends. Its connection ends with it when there is no other
    /// and nothing moved: others may be WebSockets, and how long those may be quiet is a matter of their own.
    pub(super) fn stalled(&self) {
        // The stream in question still counts.
        let alone = self.downstream.active.get() <= 1;
        if alone && timer::real_now().since(self.moved.get()) >= STALLED_WRITE {
            self.meter.give_up("slow_reader");
        } else {
            self.downstream.count_refused("none", "slow_reader");
        }
    }
}
