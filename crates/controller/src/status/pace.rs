//! How often is written: an object once a second, and everything together twenty times.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::Duration;

use tokio::time::Instant;

/// Between two writes of one object.
const OBJECT: Duration = Duration::from_secs(1);
/// Writes a second in all, and how many may come at once after a quiet time.
const ALL: u32 = 20;

/// Permits writes.
#[derive(Debug)]
pub(super) struct Pace<K> {
    last: HashMap<K, Instant>,
    /// When the bucket is full again.
    full: Instant,
}

impl<K: Eq + Hash + Clone> Pace<K> {
    pub(super) fn new(now: Instant) -> Self {
        Self { last: HashMap::new(), full: now }
    }

    /// Permits a write now, or says when to ask again.
    pub(super) fn take(&mut self, key: &K, now: Instant) -> Result<(), Instant> {
        if let Some(next) = self.last.get(key).map(|last| *last + OBJECT).filter(|next| *next > now) {
            return Err(next);
        }
        self.take_any(now)?;
        self.last.insert(key.clone(), now);
        Ok(())
    }

    /// Whether nothing more may be written now, whatever it is.
    pub(super) fn is_spent(&self, now: Instant) -> bool {
        self.next(now).is_err()
    }

    /// The same for what is written once and never again.
    pub(super) fn take_any(&mut self, now: Instant) -> Result<(), Instant> {
        self.full = self.next(now)?;
        self.last.retain(|_, last| *last + OBJECT > now);
        Ok(())
    }

    /// When the bucket would be full after one more write, or when to ask again.
    fn next(&self, now: Instant) -> Result<Instant, Instant> {
        let token = Duration::from_secs(1) / ALL;
        let full = self.full.max(now) + token;
        let burst = token * ALL;
        if full > now + burst { Err(full - burst) } else { Ok(full) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_is_written_once_a_second() {
        let start = Instant::now();
        let mut pace = Pace::new(start);
        assert_eq!(pace.take(&"a", start), Ok(()));
        assert_eq!(pace.take(&"a", start), Err(start + OBJECT));
        assert_eq!(pace.take(&"b", start), Ok(()));
        assert_eq!(pace.take(&"a", start + OBJECT), Ok(()));
    }

    #[test]
    fn all_together_twenty_times_a_second() {
        let start = Instant::now();
        let mut pace = Pace::new(start);
        let permitted =
            |pace: &mut Pace<u32>, from: u32, now| (from..from + 100).filter(|k| pace.take(k, now).is_ok()).count();
        assert!(!pace.is_spent(start));
        assert_eq!(permitted(&mut pace, 0, start), 20);
        assert!(pace.is_spent(start));
        assert_eq!(permitted(&mut pace, 100, start + Duration::from_millis(500)), 10);
        assert_eq!(permitted(&mut pace, 200, start + Duration::from_secs(60)), 20);
    }
}
