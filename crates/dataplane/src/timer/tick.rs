//! A point on the coarse clock, four bytes long: tenths of a second since the process first asked.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// The grain of the coarse clock.
pub const TICK: Duration = Duration::from_millis(100);

/// A point in time on the coarse clock. Lasts for 13 years of uptime, the same on every thread.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tick(u32);

/// A length of time in ticks, rounded up and one more, so that it is never short from wherever in a tick it is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(u32);

impl Span {
    /// Longer than every other.
    pub const FOREVER: Self = Self(u32::MAX);

    /// At least `length`.
    pub const fn at_least(length: Duration) -> Self {
        let part = length.subsec_nanos().div_ceil(TICK.subsec_nanos());
        Self(ticks(length.as_secs(), part).saturating_add(1))
    }
}

/// Where the coarse clock starts. One for all threads, so that a tick means the same on each.
fn epoch() -> Instant {
    static EPOCH: OnceLock<Instant> = OnceLock::new();
    *EPOCH.get_or_init(clock)
}

/// The real clock; in tests tokio's, which can be paused.
pub(super) fn clock() -> Instant {
    tokio::time::Instant::now().into_std()
}

impl Tick {
    /// Later than every timer.
    pub const NEVER: Self = Self(u32::MAX);

    /// The tick that `instant` lies in.
    pub fn containing(instant: Instant) -> Self {
        let since = instant.saturating_duration_since(epoch());
        Self(ticks(since.as_secs(), since.subsec_nanos() / TICK.subsec_nanos()))
    }

    /// The first tick that begins at or after `instant`: due then, a timer is not early.
    pub fn not_before(instant: Instant) -> Self {
        let since = instant.saturating_duration_since(epoch());
        Self(ticks(since.as_secs(), since.subsec_nanos().div_ceil(TICK.subsec_nanos())))
    }

    /// The first tick of which it is certain that `span` has passed since any moment within this one.
    pub fn after(self, span: Span) -> Self {
        Self(self.0.saturating_add(span.0))
    }

    /// The time from `earlier` to here, to the tick; zero if `earlier` is later.
    pub fn since(self, earlier: Self) -> Duration {
        TICK * self.0.saturating_sub(earlier.0)
    }

    /// When the tick begins.
    pub(super) fn start(self) -> Instant {
        epoch() + TICK * self.0
    }

    /// The next one.
    pub(super) fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }

    /// Its number, for the wheel.
    pub(super) fn number(self) -> u32 {
        self.0
    }

    #[cfg(test)]
    pub(super) fn from_number(number: u32) -> Self {
        Self(number)
    }
}

/// Seconds and a part of one, in ticks. Without a division of 128 bits, which every request would pay several times.
const fn ticks(seconds: u64, part: u32) -> u32 {
    const A_SECOND: u32 = 1_000_000_000 / TICK.subsec_nanos();
    let count = seconds.saturating_mul(A_SECOND as u64).saturating_add(part as u64);
    if count > u32::MAX as u64 { u32::MAX } else { count as u32 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_so_that_nothing_is_early() {
        let start = epoch();
        let at = |millis| start + Duration::from_millis(millis);
        assert_eq!(Tick::containing(at(0)), Tick(0));
        assert_eq!(Tick::containing(at(199)), Tick(1));
        assert_eq!(Tick::not_before(at(100)), Tick(1));
        assert_eq!(Tick::not_before(at(101)), Tick(2));
        assert!(
            Tick(1).after(Span::at_least(Duration::from_millis(250))).start() >= at(199) + Duration::from_millis(250)
        );
        assert_eq!(Tick(7).since(Tick(5)), Duration::from_millis(200));
        assert_eq!(Tick(5).since(Tick(7)), Duration::ZERO);
        assert_eq!(Tick(5).after(Span::at_least(Duration::MAX)), Tick::NEVER);
    }
}
