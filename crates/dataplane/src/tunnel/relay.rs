//! The relay: both directions of a tunnel, its timers and its end, in one small future of exact type.
//!
//! Spawned by itself (`spawn_local`), not awaited inside a larger future: a future is as large as its largest branch, and an
//! idle tunnel is to be two sockets and little more.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite};

use super::control::{Asked, CloseReason, Control};
use super::direction::{Direction, Failure, Progress, is_closed};
use super::frames::Sender;
use crate::timer::{self, Sleep, Span, Tick};

/// How long a side may take nothing of what it is sent.
pub const STALLED: Duration = Duration::from_secs(60);
/// How long a tunnel that ends waits for the other side: for its Close, or for what it has still sent.
pub const CLOSE_WAIT: Duration = Duration::from_secs(2);

/// What a tunnel is and how long it may live.
#[derive(Clone, Copy, Debug, Default)]
pub struct Limits {
    /// Ends when nothing has moved in either direction for so long.
    pub idle: Option<Duration>,
    /// Ends at that age.
    pub duration: Option<Duration>,
    /// The bytes are RFC 6455 frames: a close puts a Close between two of them.
    pub websocket: bool,
}

/// How a tunnel ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Closed {
    /// Who or what ended it first.
    pub reason: CloseReason,
    /// Bytes relayed to the backend.
    pub from_client: u64,
    /// Bytes relayed to the client.
    pub from_backend: u64,
}

/// A live tunnel. Ends when both directions have ended, or one of the reasons is met.
#[derive(Debug)]
#[must_use = "does nothing unless it is polled"]
pub struct Relay<C, B> {
    client: C,
    backend: B,
    up: Direction,
    down: Direction,
    control: Control,
    timer: Sleep,
    /// When something last moved.
    active: Tick,
    idle: Span,
    /// When it is as old as it may be.
    expires: Tick,
    /// Set once it ends: it is over by then.
    deadline: Tick,
    reason: Option<CloseReason>,
    /// A Close was asked for in both directions.
    closing: bool,
}

impl<C, B> Relay<C, B>
where
    C: AsyncRead + AsyncWrite + Unpin,
    B: AsyncRead + AsyncWrite + Unpin,
{
    /// Joins two connections behind their heads; the bytes are what was read past them from the client and from the backend.
    pub fn new(
        client: C,
        backend: B,
        from_client: Bytes,
        from_backend: Bytes,
        limits: &Limits,
        control: Control,
    ) -> Self {
        let span = |limit: Option<Duration>| limit.map_or(Span::FOREVER, Span::at_least);
        let now = timer::now();
        Self {
            client,
            backend,
            up: Direction::new(Sender::Client, from_client, limits.websocket),
            down: Direction::new(Sender::Server, from_backend, limits.websocket),
            control,
            timer: timer::sleep_until(Tick::NEVER),
            active: now,
            idle: span(limits.idle),
            expires: now.after(span(limits.duration)),
            deadline: Tick::NEVER,
            reason: None,
            closing: false,
        }
    }

    /// Relays; whether it is over.
    fn poll_directions(&mut self, cx: &mut Context<'_>) -> bool {
        let mut active = false;
        let counter = self.control.client_counter();
        let up = self.up.poll(cx, &mut self.client, &mut self.backend, counter, &mut active);
        let counter = self.control.backend_counter();
        let down = self.down.poll(cx, &mut self.backend, &mut self.client, counter, &mut active);
        if active {
            self.active = timer::now();
        }
        if self.up.source_ended() {
            self.reason.get_or_insert(CloseReason::Client);
        }
        if self.down.source_ended() {
            self.reason.get_or_insert(CloseReason::Backend);
        }
        if self.up.close_passed() && self.down.close_passed() {
            // Nothing may follow two Closes but the end of the connections.
            self.hurry();
        }
        let (up, up_lost) = self.settle(up, CloseReason::Client, CloseReason::Backend);
        let (down, down_lost) = self.settle(down, CloseReason::Backend, CloseReason::Client);
        if up == Progress::Yielded || down == Progress::Yielded {
            cx.waker().wake_by_ref();
        }
        up_lost
            || down_lost
            || (up == Progress::Done && down == Progress::Done)
            || self.up.cannot_close()
            || self.down.cannot_close()
    }

    /// Turns a failure of the direction from `source` to `destination` into what follows; and whether the tunnel is lost.
    fn settle(
        &mut self,
        result: Result<Progress, Failure>,
        source: CloseReason,
        destination: CloseReason,
    ) -> (Progress, bool) {
        let blame = |error: &std::io::Error, side| if is_closed(error) { side } else { CloseReason::Error };
        match result {
            Ok(progress) => (progress, false),
            // What it sent before has been passed on, and nothing can be said to it any more.
            Err(Failure::Source(error)) => {
                self.reason.get_or_insert(blame(&error, source));
                (Progress::Done, true)
            }
            // It may have said something before it went, a Close perhaps: that is still passed on.
            Err(Failure::Destination(error)) => {
                self.reason.get_or_insert(blame(&error, destination));
                let direction = if source == CloseReason::Client { &mut self.up } else { &mut self.down };
                direction.abandon();
                self.hurry();
                (Progress::Done, false)
            }
        }
    }

    /// Looks at the timers; whether it is over.
    fn poll_timers(&mut self, cx: &mut Context<'_>) -> bool {
        loop {
            let stalled = self.up.blocked().min(self.down.blocked()).after(const { Span::at_least(STALLED) });
            let idle = self.active.after(self.idle);
            let due = stalled.min(idle).min(self.deadline).min(self.expires);
            // Traffic moves `due` on without a touch of the timer, which then ends too early and is armed again.
            if self.timer.due() > due {
                self.timer.reset_at(due);
            }
            if due == Tick::NEVER || Pin::new(&mut self.timer).poll(cx).is_pending() {
                return false;
            }
            // The cached time may lie behind what the timer ended by.
            let now = timer::real_now();
            if now < due {
                self.timer.reset_at(due);
                continue;
            }
            if now >= self.expires {
                self.expires = Tick::NEVER;
                if self.close(CloseReason::Duration) {
                    return true;
                }
                // The Close goes out in the next poll.
                cx.waker().wake_by_ref();
                self.timer.reset_at(Tick::NEVER);
                continue;
            }
            let reason = if now >= idle { CloseReason::Idle } else { CloseReason::Error };
            self.reason.get_or_insert(reason);
            return true;
        }
    }

    /// Starts to end the tunnel well; whether it is over because there is no such way.
    fn close(&mut self, reason: CloseReason) -> bool {
        self.reason.get_or_insert(reason);
        self.closing = true;
        self.up.begin_close();
        self.down.begin_close();
        self.hurry();
        self.up.cannot_close() || self.down.cannot_close()
    }

    fn hurry(&mut self) {
        if self.deadline == Tick::NEVER {
            self.deadline = timer::now().after(const { Span::at_least(CLOSE_WAIT) });
        }
    }

    /// Sends a FIN (close_notify) both ways if that can be done at once.
    fn end(&mut self, cx: &mut Context<'_>) -> Closed {
        let _ = Pin::new(&mut self.client).poll_shutdown(cx);
        let _ = Pin::new(&mut self.backend).poll_shutdown(cx);
        Closed {
            reason: self.reason.unwrap_or(CloseReason::Error),
            from_client: self.control.from_client(),
            from_backend: self.control.from_backend(),
        }
    }
}

impl<C, B> Future for Relay<C, B>
where
    C: AsyncRead + AsyncWrite + Unpin,
    B: AsyncRead + AsyncWrite + Unpin,
{
    type Output = Closed;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Closed> {
        self.control.register(cx.waker());
        let over = match self.control.asked() {
            Asked::Cut(reason) => {
                // Its Close goes out if that can be done at once.
                if self.closing || !self.close(reason) {
                    self.poll_directions(cx);
                }
                true
            }
            Asked::Close(reason) if !self.closing => self.close(reason),
            _ => false,
        };
        if over || self.poll_directions(cx) || self.poll_timers(cx) {
            return Poll::Ready(self.end(cx));
        }
        Poll::Pending
    }
}

impl<C, B> Drop for Relay<C, B> {
    fn drop(&mut self) {
        self.control.release();
    }
}
