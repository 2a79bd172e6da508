//! A wait that is put off by every bit of progress: for limits on standing still.
//!
//! Putting it off is one store. The timer behind it stays where it is in the wheel, ends too early, and is armed again for
//! what is left then: a busy connection touches the wheel a few times a second, not with every request or piece of a body.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use super::driver::{now, real_now};
use super::sleep::{Sleep, sleep_until};
use super::tick::{Span, Tick};

/// Ends when it was not put off in time.
#[derive(Debug)]
pub struct PutOff {
    sleep: Sleep,
    due: Tick,
}

impl PutOff {
    /// Ends `span` from now.
    pub fn new(span: Span) -> Self {
        let due = now().after(span);
        Self { sleep: sleep_until(due), due }
    }

    /// Ends `span` from now instead.
    pub fn put_off(&mut self, span: Span) {
        self.due = now().after(span);
    }

    /// Ready when it is due. The task may be woken before, for nothing.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            if self.sleep.due() > self.due {
                self.sleep.reset_at(self.due);
            }
            if self.due == Tick::NEVER {
                return Poll::Pending;
            }
            ready!(Pin::new(&mut self.sleep).poll(cx));
            // The cached time may lie behind what the timer ended by.
            if real_now() >= self.due {
                return Poll::Ready(());
            }
            self.sleep.reset_at(self.due);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::time::Duration;

    use super::super::{TICK, armed, sleep, timeout};
    use super::*;

    const SPAN: Span = Span::at_least(Duration::from_secs(1));

    #[tokio::test(start_paused = true)]
    async fn ends_a_span_after_it_was_last_put_off() {
        let start = tokio::time::Instant::now();
        let mut limit = PutOff::new(SPAN);
        for _ in 0..20 {
            let early = std::pin::pin!(poll_fn(|cx| limit.poll(cx)));
            assert!(timeout(Duration::from_millis(300), early).await.is_err());
            limit.put_off(SPAN);
        }
        let moved = start.elapsed();
        poll_fn(|cx| limit.poll(cx)).await;
        let waited = start.elapsed() - moved;
        assert!(waited >= Duration::from_secs(1) && waited <= Duration::from_secs(1) + 3 * TICK, "{waited:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_shorter_span_ends_sooner_and_a_long_one_after_a_short_one_does_not() {
        let start = tokio::time::Instant::now();
        let mut limit = PutOff::new(Span::at_least(Duration::from_secs(60)));
        assert!(timeout(TICK, std::pin::pin!(poll_fn(|cx| limit.poll(cx)))).await.is_err());
        limit.put_off(SPAN);
        poll_fn(|cx| limit.poll(cx)).await;
        assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
        limit.put_off(SPAN);
        assert!(timeout(TICK, std::pin::pin!(poll_fn(|cx| limit.poll(cx)))).await.is_err());
        limit.put_off(Span::FOREVER);
        sleep(Duration::from_secs(5)).await;
        assert!(timeout(Duration::from_secs(5), std::pin::pin!(poll_fn(|cx| limit.poll(cx)))).await.is_err());
        drop(limit);
        assert_eq!(armed(), 0);
    }
}
