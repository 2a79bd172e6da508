//! The futures that wait on the wheel: [`Sleep`] and [`Timeout`].

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use super::driver::{ensure_running, is_running, passed, real_now, with_wheel};
use super::tick::{Tick, clock};
use super::wheel::Key;

/// Ends `span` from now, at most two ticks late.
pub fn sleep(span: Duration) -> Sleep {
    sleep_until(tick_in(span))
}

/// Ends with the tick `due`.
pub fn sleep_until(due: Tick) -> Sleep {
    Sleep { due, armed: None }
}

/// Waits for `future`, at most for `span`.
///
/// Takes something that can be moved, mostly `pin!(future)`: a wrapper that owned the future would hold it twice, and futures
/// of connections are to be small.
pub fn timeout<F: Future + Unpin>(span: Duration, future: F) -> Timeout<F> {
    Timeout { sleep: sleep(span), future }
}

/// The span was over first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("timed out")]
pub struct Elapsed;

fn tick_in(span: Duration) -> Tick {
    clock().checked_add(span).map_or(Tick::NEVER, Tick::not_before)
}

/// A wait on the coarse clock. 20 bytes; in the wheel only from its first `Pending` on.
///
/// `Send` and `Sync` because hyper asks for it; polled on another thread it arms itself again there.
#[derive(Debug)]
#[must_use = "does nothing unless it is awaited"]
pub struct Sleep {
    due: Tick,
    armed: Option<Armed>,
}

#[derive(Clone, Copy, Debug)]
struct Armed {
    key: Key,
    thread: u32,
}

impl Sleep {
    /// When it ends.
    pub fn due(&self) -> Tick {
        self.due
    }

    /// Ends `span` from now instead. Also starts one again that is over.
    pub fn reset(&mut self, span: Duration) {
        self.reset_at(tick_in(span));
    }

    /// Ends at `instant` instead.
    pub fn reset_to(&mut self, instant: Instant) {
        self.reset_at(Tick::not_before(instant));
    }

    /// Ends with the tick `due` instead.
    pub fn reset_at(&mut self, due: Tick) {
        self.due = due;
        if let Some(armed) = self.here()
            && with_wheel(|wheel| wheel.rearm(armed.key, due)) != Some(true)
        {
            self.armed = None;
        }
    }

    /// What it has in this thread's wheel.
    fn here(&self) -> Option<Armed> {
        self.armed.filter(|armed| armed.thread == thread_number())
    }

    fn disarm(&mut self) {
        if let Some(armed) = self.here() {
            drop(with_wheel(|wheel| wheel.cancel(armed.key)));
        }
        self.armed = None;
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if passed(self.due) {
            self.disarm();
            return Poll::Ready(());
        }
        if let Some(armed) = self.here() {
            ensure_running();
            let waker = cx.waker();
            let kept = with_wheel(|wheel| wheel.waker(armed.key).map(|kept| kept.will_wake(waker))).flatten();
            match kept {
                Some(true) => return Poll::Pending,
                Some(false) => {
                    let waker = waker.clone();
                    drop(with_wheel(|wheel| wheel.waker(armed.key).map(|kept| std::mem::replace(kept, waker))));
                    return Poll::Pending;
                }
                None => {}
            }
        }
        // While the driver runs, what is due already comes with the next tick: that saves a look at the clock.
        if !is_running() && real_now() >= self.due {
            self.disarm();
            return Poll::Ready(());
        }
        ensure_running();
        let (due, waker) = (self.due, cx.waker().clone());
        self.armed = with_wheel(|wheel| wheel.arm(due, waker)).map(|key| Armed { key, thread: thread_number() });
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        self.disarm();
    }
}

/// The future of [`timeout`].
#[derive(Debug)]
#[must_use = "does nothing unless it is awaited"]
pub struct Timeout<F> {
    sleep: Sleep,
    future: F,
}

impl<F: Future + Unpin> Future for Timeout<F> {
    type Output = Result<F::Output, Elapsed>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if let Poll::Ready(value) = Pin::new(&mut self.future).poll(cx) {
            return Poll::Ready(Ok(value));
        }
        Pin::new(&mut self.sleep).poll(cx).map(|()| Err(Elapsed))
    }
}

/// A number for this thread, never given twice.
fn thread_number() -> u32 {
    use std::sync::atomic::{AtomicU32, Ordering};
    static NEXT: AtomicU32 = AtomicU32::new(0);
    thread_local!(static NUMBER: u32 = NEXT.fetch_add(1, Ordering::Relaxed));
    NUMBER.try_with(|number| *number).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use super::super::{TICK, armed, now};
    use super::*;

    async fn late(span: Duration) -> Duration {
        let start = clock();
        sleep(span).await;
        clock() - start
    }

    #[tokio::test(start_paused = true)]
    async fn is_never_early_and_at_most_two_ticks_late() {
        for millis in [1, 99, 100, 101, 6_399, 6_400, 6_401, 60_000, 409_650, 3_600_000] {
            tokio::time::advance(Duration::from_millis(37)).await;
            let span = Duration::from_millis(millis);
            let took = late(span).await;
            assert!(took >= span && took <= span + 2 * TICK, "{span:?} took {took:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn arms_at_first_pending_and_leaves_when_dropped() {
        let mut long = sleep(Duration::from_secs(5));
        assert_eq!(armed(), 0);
        assert!(timeout(Duration::from_secs(1), &mut long).await.is_err());
        assert_eq!(armed(), 1);
        drop(long);
        assert_eq!(armed(), 0);
        assert_eq!(timeout(Duration::from_secs(1), pin!(async { 7 })).await, Ok(7));
        assert_eq!(armed(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn reset_moves_an_armed_timer_both_ways() {
        let start = clock();
        let mut wait = sleep(Duration::from_secs(60));
        assert!(timeout(TICK, &mut wait).await.is_err());
        wait.reset(Duration::from_secs(1));
        (&mut wait).await;
        assert!(clock() - start < Duration::from_secs(2));
        wait.reset(Duration::from_secs(2));
        assert!(timeout(TICK, &mut wait).await.is_err());
        wait.reset(Duration::from_secs(30));
        wait.await;
        assert!(clock() - start > Duration::from_secs(31));
    }

    #[tokio::test(start_paused = true)]
    async fn the_driver_ends_when_nothing_is_armed_and_time_is_right_afterwards() {
        let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
        sleep(TICK).await;
        assert_eq!(tasks(), 1);
        tokio::time::sleep(Duration::from_secs(5)).await;
        assert_eq!(tasks(), 0);
        tokio::time::sleep(Duration::from_secs(100)).await;
        assert_eq!(now(), Tick::containing(clock()));
        let took = late(Duration::from_secs(1)).await;
        assert!(took <= Duration::from_secs(1) + 2 * TICK, "{took:?}");
    }

    #[test]
    fn survives_its_runtime() {
        let runtime = || tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let mut wait = sleep(Duration::from_millis(300));
        runtime().block_on(async { assert!(timeout(Duration::from_millis(50), &mut wait).await.is_err()) });
        runtime().block_on(&mut wait);
        assert_eq!(armed(), 0);
    }

    #[test]
    fn is_small_and_may_be_sent() {
        fn shared<T: Send + Sync>(_: &T) {}
        let wait = sleep(TICK);
        shared(&wait);
        assert!(size_of_val(&wait) <= 24, "{}", size_of_val(&wait));
    }
}
