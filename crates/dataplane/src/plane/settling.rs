//! When the plane gives memory back: some time after a change, of which it needs much more than what is kept.

use std::time::{Duration, Instant};

/// The allocator gives back only what has been free for a while.
const WAIT: Duration = Duration::from_millis(1500);

/// The time until then.
#[derive(Debug, Default)]
pub(super) struct Settling {
    due: Option<Instant>,
    /// Something happened while it waited.
    again: bool,
}

impl Settling {
    /// Something happens.
    pub(super) fn disturbed(&mut self, now: Instant) {
        match self.due {
            None => self.due = Some(now + WAIT),
            Some(_) => self.again = true,
        }
    }

    /// When memory is to be given back.
    pub(super) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// That was done.
    pub(super) fn settled(&mut self, now: Instant) {
        self.due = std::mem::take(&mut self.again).then(|| now + WAIT);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_time_is_after_the_last_change() {
        let (mut settling, start) = (Settling::default(), Instant::now());
        assert_eq!(settling.due(), None);
        settling.disturbed(start);
        settling.disturbed(start + WAIT / 2);
        assert_eq!(settling.due(), Some(start + WAIT));
        settling.settled(start + WAIT);
        assert_eq!(settling.due(), Some(start + WAIT * 2));
        settling.settled(start + WAIT * 2);
        assert_eq!(settling.due(), None);
    }
}
