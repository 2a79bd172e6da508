//! When to act on changes: a few at once, a burst when it pauses, a flood after a maximum.

use std::time::Duration;

use tokio::time::Instant;

/// How long to collect changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delays {
    /// So long without a further change ends a burst.
    pub quiet: Duration,
    /// No change waits longer than this.
    pub max: Duration,
    /// How many changes after a quiet time go out at once: what follows them closely is a burst.
    pub at_once: u32,
}

/// Collects changes of one sort.
#[derive(Debug)]
pub(crate) struct Debounce {
    delays: Delays,
    /// The end of the time in which a further change belongs to the same burst.
    busy_until: Option<Instant>,
    /// How many of this burst went out at once.
    ahead: u32,
    /// When the changes that wait shall be acted on, and when the first of them came.
    waiting: Option<(Instant, Instant)>,
}

impl Debounce {
    pub(crate) fn new(delays: Delays) -> Self {
        Self { delays, busy_until: None, ahead: 0, waiting: None }
    }

    /// A change came.
    pub(crate) fn mark(&mut self, now: Instant) {
        let busy = self.busy_until.is_some_and(|end| now < end);
        self.busy_until = Some(now + self.delays.quiet);
        if !busy {
            self.ahead = 0;
        }
        self.waiting = Some(match self.waiting {
            None if self.ahead < self.delays.at_once => {
                self.ahead += 1;
                (now, now)
            }
            None => (now + self.delays.quiet, now),
            Some((due, first)) if due <= now => (due, first),
            Some((_, first)) => ((now + self.delays.quiet).min(first + self.delays.max), first),
        });
    }

    /// When to act; `None`: nothing changed.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.waiting.map(|(due, _)| due)
    }

    /// All changes so far are being acted on.
    pub(crate) fn clear(&mut self) {
        self.waiting = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn debounce() -> (Debounce, Instant) {
        (Debounce::new(Delays { quiet: 10 * MS, max: 100 * MS, at_once: 1 }), Instant::now())
    }

    #[test]
    fn a_lone_change_is_due_at_once() {
        let (mut d, start) = debounce();
        assert_eq!(d.due(), None);
        d.mark(start);
        assert_eq!(d.due(), Some(start));
        d.clear();
        assert_eq!(d.due(), None);
        d.mark(start + 50 * MS);
        assert_eq!(d.due(), Some(start + 50 * MS), "after a pause the next one is alone, too");
    }

    #[test]
    fn a_burst_is_due_when_it_pauses() {
        let (mut d, start) = debounce();
        d.mark(start);
        d.clear();
        d.mark(start + 2 * MS);
        d.mark(start + 5 * MS);
        assert_eq!(d.due(), Some(start + 15 * MS));
    }

    #[test]
    fn a_flood_is_due_after_the_maximum() {
        let (mut d, start) = debounce();
        d.mark(start);
        d.clear();
        for ms in 1..=99 {
            d.mark(start + ms * MS);
        }
        assert_eq!(d.due(), Some(start + 101 * MS));
    }

    #[test]
    fn what_is_due_does_not_move_away() {
        let (mut d, start) = debounce();
        d.mark(start);
        d.mark(start + MS);
        assert_eq!(d.due(), Some(start), "while the last translation still runs");
    }

    #[test]
    fn without_a_leading_edge_the_first_waits() {
        let now = Instant::now();
        let mut d = Debounce::new(Delays { quiet: 10 * MS, max: 100 * MS, at_once: 0 });
        d.mark(now);
        assert_eq!(d.due(), Some(now + 10 * MS));
    }

    #[test]
    fn a_few_close_together_are_due_at_once_and_more_are_a_burst() {
        let mut d = Debounce::new(Delays { at_once: 3, ..debounce().0.delays });
        let start = Instant::now();
        for n in 0..3 {
            let now = start + n * MS;
            d.mark(now);
            assert_eq!(d.due(), Some(now));
            d.clear();
        }
        d.mark(start + 3 * MS);
        assert_eq!(d.due(), Some(start + 13 * MS));
        d.clear();
        d.mark(start + 30 * MS);
        assert_eq!(d.due(), Some(start + 30 * MS), "after a pause they are counted anew");
    }
}
