//! The coarse timer as hyper takes it.

use std::pin::Pin;
use std::time::{Duration, Instant};

use super::sleep::{Sleep, sleep, sleep_until};
use super::tick::{Tick, clock};

/// Gives hyper's servers and clients the coarse timers of the thread that polls them.
#[derive(Clone, Copy, Debug, Default)]
pub struct CoarseTimer;

impl hyper::rt::Sleep for Sleep {}

impl hyper::rt::Timer for CoarseTimer {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn hyper::rt::Sleep>> {
        Box::pin(sleep(duration))
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn hyper::rt::Sleep>> {
        Box::pin(sleep_until(Tick::not_before(deadline)))
    }

    fn now(&self) -> Instant {
        clock()
    }

    fn reset(&self, sleep: &mut Pin<Box<dyn hyper::rt::Sleep>>, new_deadline: Instant) {
        match sleep.as_mut().downcast_mut_pin::<Sleep>() {
            Some(sleep) => sleep.get_mut().reset_to(new_deadline),
            None => *sleep = self.sleep_until(new_deadline),
        }
    }
}

#[cfg(test)]
mod tests {
    use hyper::rt::Timer;

    use super::super::armed;
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn hyper_resets_in_place() {
        let start = clock();
        let mut wait = CoarseTimer.sleep(Duration::from_secs(1));
        assert!(super::super::timeout(Duration::from_millis(100), &mut wait).await.is_err());
        CoarseTimer.reset(&mut wait, start + Duration::from_secs(9));
        assert_eq!(armed(), 1);
        wait.await;
        assert!(clock() - start >= Duration::from_secs(9));
    }
}
