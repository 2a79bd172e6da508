//! Who makes the next connection, and who waits for it: requests that come while there is none must not open one each when
//! they could share it.

use std::cell::Cell;
use std::rc::Rc;

use tokio::sync::watch;

use super::{STREAMS, Sessions};
use crate::cluster::LiveEndpoint;
use crate::upstream::tls::{Secured, serves};

/// A connection that is being made.
#[derive(Debug)]
pub(super) struct Handshake {
    secured: Option<Secured>,
    /// So many requests want to be on it.
    expected: Cell<usize>,
    ended: watch::Receiver<End>,
}

/// How it ended. One that was given up by its request has neither.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Pending,
    Failed,
}

/// Whose turn it is.
#[derive(Debug)]
pub(crate) enum Turn {
    /// Nobody makes a connection: you do.
    First(Opening),
    /// Somebody does.
    Wait(Waiting),
}

/// The right to make a connection that others wait for. When it is dropped, they look again for what they can use.
#[derive(Debug)]
pub(crate) struct Opening {
    sessions: Sessions,
    endpoint: u64,
    handshake: Rc<Handshake>,
    end: watch::Sender<End>,
}

/// The wait for the connection of another request.
#[derive(Debug)]
pub(crate) struct Waiting(watch::Receiver<End>);

impl Sessions {
    /// Waits for a connection of this kind that is being made and will have room, or begins one.
    pub(crate) fn turn(&self, endpoint: &LiveEndpoint, wanted: Option<&Secured>) -> Turn {
        let mut slots = self.0.borrow_mut();
        let handshakes = &mut slots.entry(endpoint.number).or_default().handshakes;
        let fits = |handshake: &&Rc<Handshake>| {
            handshake.expected.get() < STREAMS && serves(handshake.secured.as_ref(), wanted)
        };
        if let Some(handshake) = handshakes.iter().find(fits) {
            handshake.expected.set(handshake.expected.get() + 1);
            return Turn::Wait(Waiting(handshake.ended.clone()));
        }
        let (end, ended) = watch::channel(End::Pending);
        let handshake = Rc::new(Handshake { secured: wanted.cloned(), expected: Cell::new(1), ended });
        handshakes.push(Rc::clone(&handshake));
        Turn::First(Opening { sessions: self.clone(), endpoint: endpoint.number, handshake, end })
    }
}

impl Opening {
    /// There is no connection: the others must not wait for each other's failures in turn.
    pub(crate) fn failed(self) {
        self.end.send_replace(End::Failed);
    }
}

impl Drop for Opening {
    fn drop(&mut self) {
        self.sessions.sweep(self.endpoint, |other| !Rc::ptr_eq(other, &self.handshake));
    }
}

impl Waiting {
    /// Waits for the end, and says whether another look is worth it.
    pub(crate) async fn ended(mut self) -> bool {
        // An error: it was dropped without a word.
        self.0.changed().await.is_err() || *self.0.borrow() != End::Failed
    }
}
