//! The secrets that keys of TLS session tickets are derived from, and when they are exchanged. Replicas that have the same
//! ones resume each other's sessions.
//!
//! Each is the newest for [`ROTATE`]. It seals tickets only when it is [`SPREAD`] old, so that every replica has it before a
//! client can bring such a ticket, and is forgotten when the last of its tickets is too old.

use std::sync::Arc;

/// Seconds for which a secret is the newest.
pub const ROTATE: i64 = 6 * 3600;
/// Seconds for which a ticket is taken.
pub const LIFETIME: i64 = 6 * 3600;
/// Seconds that a new secret may take to reach every replica.
pub const SPREAD: i64 = 300;
/// Seconds after which nothing is sealed with a secret any more, even when no other one comes.
const SEALS: i64 = ROTATE + 2 * SPREAD;

/// One secret. Debug never shows it.
#[derive(Clone, PartialEq, Eq)]
pub struct TicketSecret {
    /// When it was made, in seconds since 1970.
    pub created: i64,
    /// 32 random bytes.
    pub secret: [u8; 32],
}

impl std::fmt::Debug for TicketSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TicketSecret").field("created", &self.created).finish_non_exhaustive()
    }
}

/// Secrets in use, the newest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TicketSecrets(Arc<[TicketSecret]>);

impl TicketSecrets {
    /// These secrets, in any order.
    pub fn new(secrets: impl IntoIterator<Item = TicketSecret>) -> Self {
        let mut secrets: Vec<_> = secrets.into_iter().collect();
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.created));
        Self(secrets.into())
    }

    /// The newest first.
    pub fn iter(&self) -> std::slice::Iter<'_, TicketSecret> {
        self.0.iter()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many seconds until [`Self::rotated`] has something to do.
    pub fn rest(&self, now: i64) -> i64 {
        let newest = self.0.first().filter(|newest| newest.created <= now);
        newest.map_or(0, |newest| (newest.created + ROTATE - now).max(0))
    }

    /// With a fresh secret and without those that no ticket needs; `None`: it is not time yet.
    pub fn rotated(&self, now: i64, fresh: [u8; 32]) -> Option<Self> {
        if self.rest(now) > 0 {
            return None;
        }
        let kept = self.0.iter().filter(|secret| secret.created <= now && secret.opens(now)).cloned();
        Some(Self::new(kept.chain([TicketSecret { created: now, secret: fresh }])))
    }

    /// The place of the secret that seals tickets now.
    pub fn sealing(&self, now: i64) -> Option<usize> {
        let spread = self.0.iter().position(|secret| secret.created + SPREAD <= now);
        // The first one ever: better at once than not at all. Who does not know it makes a full handshake.
        let place = spread.or_else(|| self.0.len().checked_sub(1))?;
        (now < self.0[place].created + SEALS).then_some(place)
    }
}

impl TicketSecret {
    /// Whether its tickets are still taken.
    pub fn opens(&self, now: i64) -> bool {
        now < self.created + SEALS + LIFETIME
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn created(secrets: &TicketSecrets) -> Vec<i64> {
        secrets.iter().map(|secret| secret.created).collect()
    }

    #[test]
    fn a_secret_seals_once_it_is_everywhere_and_opens_as_long_as_its_tickets_live() {
        let first = TicketSecrets::default().rotated(1000, [1; 32]).unwrap();
        assert_eq!(first.sealing(1000), Some(0), "the first one seals at once");
        assert_eq!(first.rotated(1000 + ROTATE - 1, [2; 32]), None);
        assert_eq!(first.rest(1000 + ROTATE - 10), 10);
        let now = 1000 + ROTATE;
        let second = first.rotated(now, [2; 32]).unwrap();
        assert_eq!(created(&second), [now, 1000]);
        assert_eq!(second.sealing(now + SPREAD - 1), Some(1));
        assert_eq!(second.sealing(now + SPREAD), Some(0));
        // What the first sealed last is taken for a whole life.
        assert!(second.iter().all(|secret| secret.opens(now + SPREAD + LIFETIME)));
        let third = second.rotated(now + ROTATE, [3; 32]).unwrap();
        let fourth = third.rotated(now + 2 * ROTATE, [4; 32]).unwrap();
        assert_eq!(created(&fourth), [now + 2 * ROTATE, now + ROTATE, now], "the first is gone");
    }

    #[test]
    fn nothing_is_sealed_with_a_secret_that_nobody_renews() {
        let only = TicketSecrets::default().rotated(0, [1; 32]).unwrap();
        assert_eq!(only.sealing(ROTATE + SPREAD), Some(0));
        assert_eq!(only.sealing(ROTATE + 2 * SPREAD), None);
    }

    #[test]
    fn a_secret_from_the_future_is_replaced() {
        let future = TicketSecrets::new([TicketSecret { created: 10_000, secret: [1; 32] }]);
        assert_eq!(created(&future.rotated(50, [2; 32]).unwrap()), [50]);
    }
}
