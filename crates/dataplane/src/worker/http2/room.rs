//! What bounds the bodies that wait in memory for connections of HTTP/2, in either direction.
//!
//! h2 holds what clients send ahead, up to the window of the connection, and what they do not take, up to a buffer for each stream.
//! For a hundred streams both would be megabytes. So a connection begins with the window of a few streams, and gets that of more
//! as it has more request bodies, out of a [`Reserve`] of its worker: when that is used up, the streams of a connection share
//! what it has. And what its answers have waiting together is bounded by a [`Backlog`].

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

/// What a client may send ahead on one stream.
pub(super) const STREAM_WINDOW: u32 = 64 * 1024;
/// Streams whose window every connection has.
const OWN: u32 = 4;
/// Those of all connections of a worker beyond their own: 64 MB.
const RESERVE: u32 = 1024;
/// What may wait for a client before no answer adds to it. WebSockets, each of them small, may add as much again.
const ANSWERS: u64 = 256 * 1024;
const TUNNELS: u64 = 2 * ANSWERS;

/// How many streams' windows a worker has left to give.
#[derive(Clone, Debug)]
pub(crate) struct Reserve(Rc<Cell<u32>>);

impl Default for Reserve {
    fn default() -> Self {
        Self(Rc::new(Cell::new(RESERVE)))
    }
}

/// The window of one connection. It only grows: what a client was allowed cannot be taken back (RFC 9113 6.9), so it goes back
/// to the reserve with the connection.
#[derive(Debug)]
pub(super) struct Window {
    reserve: Reserve,
    taken: u32,
}

impl Window {
    /// What a connection begins with.
    pub(super) const FIRST: u32 = OWN * STREAM_WINDOW;

    pub(super) fn new(reserve: &Reserve) -> Self {
        Self { reserve: reserve.clone(), taken: 0 }
    }

    /// Makes room for as many bodies; the new size when it grew.
    pub(super) fn grow(&mut self, bodies: u32) -> Option<u32> {
        let left = &self.reserve.0;
        let more = bodies.saturating_sub(OWN + self.taken).min(left.get());
        if more == 0 {
            return None;
        }
        left.set(left.get() - more);
        self.taken += more;
        Some((OWN + self.taken) * STREAM_WINDOW)
    }
}

impl Drop for Window {
    fn drop(&mut self) {
        self.reserve.0.set(self.reserve.0.get() + self.taken);
    }
}

/// What h2 was given for a client and has not sent.
#[derive(Debug, Default)]
pub(super) struct Backlog {
    bytes: Cell<u64>,
    waiting: RefCell<Vec<Waker>>,
}

impl Backlog {
    /// Ready while an answer may add to it.
    pub(super) fn poll_answer(&self, cx: &Context<'_>) -> Poll<()> {
        self.poll_below(ANSWERS, cx)
    }

    /// The same for a WebSocket.
    pub(super) fn poll_tunnel(&self, cx: &Context<'_>) -> Poll<()> {
        self.poll_below(TUNNELS, cx)
    }

    fn poll_below(&self, limit: u64, cx: &Context<'_>) -> Poll<()> {
        if self.bytes.get() < limit {
            return Poll::Ready(());
        }
        let mut waiting = self.waiting.borrow_mut();
        if !waiting.iter().any(|waker| waker.will_wake(cx.waker())) {
            waiting.push(cx.waker().clone());
        }
        Poll::Pending
    }

    /// So many bytes more.
    pub(super) fn add(&self, bytes: u64) {
        self.bytes.set(self.bytes.get().saturating_add(bytes));
    }

    /// All of it is out.
    pub(super) fn clear(&self) {
        self.bytes.set(0);
        // Whoever is woken runs later, in a task of its own.
        self.waiting.borrow_mut().drain(..).for_each(Waker::wake);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::task::Wake;

    use super::*;

    #[derive(Default)]
    struct Woken(AtomicU32);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn the_reserve_is_given_once_and_comes_back() {
        let reserve = Reserve::default();
        let mut one = Window::new(&reserve);
        assert_eq!((one.grow(1), one.grow(OWN)), (None, None), "it has these");
        assert_eq!(one.grow(OWN + 2), Some(Window::FIRST + 2 * STREAM_WINDOW));
        assert_eq!((one.grow(1), one.grow(OWN + 2)), (None, None), "once given it stays");
        let mut others: Vec<_> = (0..20).map(|_| Window::new(&reserve)).collect();
        let given = others.iter_mut().filter_map(|window| window.grow(100)).map(|size| size / STREAM_WINDOW - OWN);
        assert_eq!(given.sum::<u32>(), RESERVE - 2);
        drop(one);
        assert_eq!(others[19].grow(100), Some(Window::FIRST + 2 * STREAM_WINDOW));
        drop(others);
        assert_eq!(reserve.0.get(), RESERVE);
    }

    #[test]
    fn answers_wait_before_websockets_do() {
        let (backlog, woken) = (Backlog::default(), Arc::new(Woken::default()));
        let waker = Waker::from(Arc::clone(&woken));
        let cx = Context::from_waker(&waker);
        backlog.add(ANSWERS - 1);
        assert!(backlog.poll_answer(&cx).is_ready());
        backlog.add(1);
        assert!(backlog.poll_answer(&cx).is_pending() && backlog.poll_tunnel(&cx).is_ready());
        backlog.add(ANSWERS);
        assert!(backlog.poll_tunnel(&cx).is_pending());
        backlog.clear();
        assert_eq!(woken.0.load(Ordering::Relaxed), 1, "a task waits once");
        assert!(backlog.poll_answer(&cx).is_ready());
    }
}
