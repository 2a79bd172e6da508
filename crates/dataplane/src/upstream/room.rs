//! Room for connections to backends: so many over all workers as open files are set aside for them.
//!
//! Requests of HTTP/2 bring no descriptor of their own, so clients that are counted do not bound them. Without this they would
//! take what accepting, probes and the admin server need, and a process that answers no probe of the kubelet is ended with
//! every WebSocket that it has.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// All there is.
#[derive(Debug)]
pub(crate) struct Rooms {
    taken: AtomicUsize,
    most: usize,
}

/// That of one connection, until it is dropped.
#[derive(Debug)]
pub(crate) struct Room(Arc<Rooms>);

impl Rooms {
    pub(crate) fn new(most: usize) -> Self {
        Self { taken: AtomicUsize::new(0), most }
    }

    /// None when all is taken.
    pub(crate) fn take(self: &Arc<Self>) -> Option<Room> {
        let more = |taken| (taken < self.most).then_some(taken + 1);
        let taken = self.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
        taken.is_ok().then(|| Room(Arc::clone(self)))
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.0.taken.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_given_back_can_be_taken_again() {
        let rooms = Arc::new(Rooms::new(2));
        let (first, _second) = (rooms.take().unwrap(), rooms.take().unwrap());
        assert!(rooms.take().is_none());
        drop(first);
        assert!(rooms.take().is_some());
    }
}
