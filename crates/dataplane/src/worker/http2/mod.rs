//! Clients that speak HTTP/2 (RFC 9113): their connections, and in [`stream`] their requests.
//!
//! A connection is one task that reads and writes frames; each request is another, in which everything happens as for a
//! request of HTTP/1. Between two requests a connection is not parked: h2 keeps its tables and 20 KB or so, for a client that
//! would need several connections of HTTP/1.

mod date;
mod meter;
mod room;
mod session;
mod stream;
#[cfg(test)]
mod tests;
mod websocket;

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use h2::Reason;
use h2::server::{Builder, Connection};

use self::meter::{Meter, Metered};
pub(super) use self::room::Reserve;
use self::room::{STREAM_WINDOW, Window};
use self::session::{Open, Session};
use super::Port;
use super::accept::Counted;
use super::io::{Flow, Io};
use super::serve::{LINGER, Parked, STALLED_WRITE};
use crate::exchange::{Downstream, Guard};
use crate::timer::{self, Sleep, Span, Tick};

/// A connection without a request.
const IDLE: Duration = Duration::from_secs(180);
/// Requests at the same time.
const STREAMS: u32 = 100;
/// What waits for the client on one stream.
const SEND_BUFFER: usize = 64 * 1024;
/// Room for a head of 32 KiB and some more, so that it is we who refuse it.
const HEADER_LIST: u32 = 96 * 1024;

/// Serves a connection. `early` is what was read of it already.
pub(super) async fn connection<S>(
    downstream: Rc<Downstream>,
    port: Rc<Port>,
    stream: S,
    early: Bytes,
    _counted: Counted,
) where
    S: Parked,
{
    let flow = Rc::new(Flow::default());
    let meter = Rc::new(Meter::new());
    let io = Metered::new(Io::new(stream, early, Rc::clone(&flow)), Rc::clone(&meter));
    let mut builder = Builder::new();
    builder
        .max_concurrent_streams(STREAMS)
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(Window::FIRST)
        .max_send_buffer_size(SEND_BUFFER)
        .max_header_list_size(HEADER_LIST)
        .enable_connect_protocol();
    let connection = match timer::timeout(downstream.worker.limits.request_head, pin!(builder.handshake(io))).await {
        Ok(Ok(connection)) => connection,
        Ok(Err(error)) => return failed(&downstream, &meter, &error),
        Err(timer::Elapsed) => return downstream.count_refused("none", "timeout"),
    };
    let worker = Rc::clone(&downstream.worker);
    let session = Session::new(downstream, meter);
    let clock = timer::sleep_until(Tick::NEVER);
    let window = Window::new(&worker.reserve);
    let mut driver = Driver { connection, session, flow, window, clock, state: State::Open };
    let mut closed = pin!(port.closed());
    poll_fn(|cx| driver.poll(cx, closed.as_mut())).await;
    worker.collect_later();
}

/// A connection at work.
struct Driver<S> {
    connection: Connection<Metered<Io<S>>, Bytes>,
    session: Rc<Session>,
    flow: Rc<Flow>,
    window: Window,
    clock: Sleep,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Open,
    /// The port closes: no new requests beyond those on their way.
    Draining,
    /// GOAWAY is going out, whatever is under way.
    Ending,
}

impl<S: Parked> Driver<S> {
    fn poll<C: Future<Output = ()>>(&mut self, cx: &mut Context<'_>, mut closed: Pin<&mut C>) -> Poll<()> {
        loop {
            if self.poll_streams(cx).is_ready() {
                return Poll::Ready(());
            }
            if let Some(reason) = self.session.meter.flood().filter(|_| self.state != State::Ending) {
                self.session.downstream.count_refused("none", reason);
                tracing::debug!(peer = %self.session.downstream.peer, reason, "HTTP/2 connection refused");
                self.end(Reason::ENHANCE_YOUR_CALM);
                continue;
            }
            if self.state == State::Open && closed.as_mut().poll(cx).is_ready() {
                self.state = State::Draining;
                self.session.downstream.last.set(true);
                self.session.touch();
                // GOAWAY, and another one when the client has seen it (RFC 9113 6.8).
                self.connection.graceful_shutdown();
                continue;
            }
            match self.poll_clock(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(true) => {}
                Poll::Ready(false) => return Poll::Ready(()),
            }
        }
    }

    /// Says goodbye; streams under way end with it.
    fn end(&mut self, reason: Reason) {
        self.state = State::Ending;
        self.session.touch();
        self.connection.abrupt_shutdown(reason);
    }

    /// Reads and writes frames, and begins requests; ready when the connection is over.
    fn poll_streams(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            match self.connection.poll_accept(cx) {
                Poll::Ready(Some(Ok((request, respond)))) => {
                    let guard = Guard::new(&self.session.downstream);
                    self.session.touch();
                    let open = (!request.body().is_end_stream()).then(|| Open::new(&self.session));
                    if let Some(size) = self.window.grow(self.session.bodies.get()) {
                        self.connection.set_target_window_size(size);
                    }
                    tokio::task::spawn_local(stream::serve(Rc::clone(&self.session), guard, open, request, respond));
                }
                Poll::Ready(Some(Err(error))) => {
                    failed(&self.session.downstream, &self.session.meter, &error);
                    return Poll::Ready(());
                }
                Poll::Ready(None) => return Poll::Ready(()),
                Poll::Pending => {
                    if self.flow.blocked() == Tick::NEVER {
                        self.session.backlog.clear();
                    }
                    return Poll::Pending;
                }
            }
        }
    }

    /// Ready when time is over: with `true` the connection is to be polled once more, for it has something to say.
    fn poll_clock(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        loop {
            let due = self.due();
            if self.clock.due() > due {
                self.clock.reset_at(due);
            }
            std::task::ready!(Pin::new(&mut self.clock).poll(cx));
            // What moved meanwhile has put it off.
            let (now, due) = (timer::real_now(), self.due());
            if now < due {
                self.clock.reset_at(due);
                continue;
            }
            self.clock.reset_at(Tick::NEVER);
            return Poll::Ready(self.time_is_over());
        }
    }

    /// When patience ends. A request under way has timers of its own: then it is only looked again.
    fn due(&self) -> Tick {
        let blocked = self.flow.blocked().after(const { Span::at_least(STALLED_WRITE) });
        let moved = self.session.moved.get();
        let soon = match self.state {
            State::Open => false,
            State::Draining => self.session.downstream.active.get() == 0,
            State::Ending => true,
        };
        blocked.min(moved.after(if soon { const { Span::at_least(LINGER) } } else { const { Span::at_least(IDLE) } }))
    }

    /// Whether there is something to be said to the client.
    fn time_is_over(&mut self) -> bool {
        if self.flow.blocked() != Tick::NEVER {
            self.session.downstream.count_refused("none", "slow_reader");
            return false;
        }
        if self.state == State::Ending {
            return false;
        }
        self.session.touch();
        if self.session.downstream.active.get() == 0 {
            if self.connection.has_streams() {
                // Answers that it asked for and never let in.
                self.session.downstream.count_refused("none", "slow_reader");
            }
            self.end(Reason::NO_ERROR);
        }
        true
    }
}

/// A connection that ended badly: a breach of the protocol is counted, a client that went away is not.
fn failed(downstream: &Downstream, meter: &Meter, error: &h2::Error) {
    if error.is_library() {
        let limit = error.reason() == Some(Reason::ENHANCE_YOUR_CALM);
        downstream.count_refused("none", if limit { meter.blame() } else { "bad_request" });
    }
    tracing::debug!(peer = %downstream.peer, %error, "HTTP/2 connection ended");
}
