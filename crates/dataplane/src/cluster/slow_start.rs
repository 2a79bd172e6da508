//! Slow start: an endpoint that is new, or has come back, grows into its share over a window, so that it can fill its
//! caches and compile its code before it gets what the others get.
//!
//! Nothing is counted. An endpoint in its window declines a turn with a probability that falls with its age, and the turn
//! goes to another one by chance, so that what is declined is spread over all by weight (rejection sampling). Ages are
//! measured against that of the oldest: where all are new, as after the start of the process, none declines.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::choice::mix;
use super::endpoint::LiveEndpoint;
use super::shares::Shares;

/// The least part of its share that an endpoint gets (Envoy's default for `min_weight_percent`).
const LEAST: f64 = 0.1;
/// How often a turn is given on; then it is taken, so that a choice stays bounded where nearly all are new.
const DRAWS: u64 = 8;

/// The windows of those that take traffic, as long as one of them is in its.
#[derive(Clone, Copy, Debug)]
pub(super) struct SlowStart {
    window: Duration,
    /// Since when the oldest serves.
    oldest: Instant,
    /// The end of the last window.
    until: Instant,
}

/// One choice within a window.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ramp {
    window: Duration,
    now: Instant,
    /// What part of its share the oldest gets.
    most: f64,
    turn: u64,
}

impl SlowStart {
    /// `None`: all have what they shall have.
    pub(super) fn new(window: Duration, available: &[Arc<LiveEndpoint>], now: Instant) -> Option<Self> {
        let since = || available.iter().map(|endpoint| endpoint.since());
        let (oldest, until) = (since().min()?, since().max()? + window);
        (oldest + window < until && now < until).then_some(Self { window, oldest, until })
    }

    /// For the choice of this turn; `None` when the last window is over.
    pub(super) fn ramp(&self, turn: u64, now: Instant) -> Option<Ramp> {
        let Self { window, oldest, until } = *self;
        (now < until).then(|| Ramp { window, now, most: part(oldest, window, now), turn })
    }
}

impl Ramp {
    /// Who takes the turn of the one at this place.
    pub(super) fn choose(&self, mut at: usize, available: &[Arc<LiveEndpoint>], shares: &Shares) -> usize {
        for draw in 1..=DRAWS {
            if available.get(at).is_none_or(|endpoint| self.accepts(endpoint, draw)) {
                break;
            }
            at = shares.turn(mix(self.turn ^ draw << 56)).unwrap_or(at);
        }
        at
    }

    /// Whether an endpoint takes a turn that is offered to it.
    pub(super) fn accepts(&self, endpoint: &LiveEndpoint, draw: u64) -> bool {
        let part = part(endpoint.since(), self.window, self.now);
        part >= self.most || {
            let chance = mix(mix(self.turn ^ draw << 48) ^ endpoint.number) >> 32;
            f64::from(u32::try_from(chance).unwrap_or(u32::MAX)) / f64::from(u32::MAX) < part / self.most
        }
    }
}

/// What part of its share an endpoint gets that serves since then.
fn part(since: Instant, window: Duration, now: Instant) -> f64 {
    (now.saturating_duration_since(since).as_secs_f64() / window.as_secs_f64()).clamp(LEAST, 1.0)
}

#[cfg(test)]
mod tests {
    use penstock_model::Endpoint;

    use super::*;

    const WINDOW: Duration = Duration::from_secs(100);

    fn endpoints(weights: &[u32]) -> Vec<Arc<LiveEndpoint>> {
        let one = |(port, weight)| Endpoint { address: ([10, 0, 0, 1], port).into(), host: None, weight };
        (1..).zip(weights.iter().copied()).map(|pair| Arc::new(LiveEndpoint::new(one(pair), &"".into()))).collect()
    }

    /// Percent of the turns that each takes, so many seconds after the last one began.
    fn percent(all: &[Arc<LiveEndpoint>], begin: Instant, seconds: f64) -> Vec<u64> {
        let now = begin + Duration::from_secs_f64(seconds);
        let shares = Shares::new(all.iter().map(|endpoint| endpoint.endpoint.weight));
        let slow = SlowStart::new(WINDOW, all, now);
        let mut counts = vec![0_u64; all.len()];
        for turn in 0..100_000 {
            let first = shares.turn(turn).unwrap();
            let ramp = slow.and_then(|slow| slow.ramp(turn, now));
            counts[ramp.map_or(first, |ramp| ramp.choose(first, all, &shares))] += 1;
        }
        counts.iter().map(|count| (count + 500) / 1000).collect()
    }

    #[test]
    fn a_new_one_grows_into_its_share_and_the_others_share_the_rest() {
        let all = endpoints(&[1, 1, 1, 1]);
        let begin = Instant::now() + WINDOW * 2;
        all[3].begin_anew(begin);
        // One more or less: the clock that ages are counted by goes on.
        let about = |seconds: f64, expected: [u64; 4]| {
            let shares = percent(&all, begin, seconds);
            assert!(
                shares.iter().zip(expected).all(|(share, wanted)| share.abs_diff(wanted) <= 1),
                "{seconds} s: {shares:?}"
            );
        };
        about(0.0, [32, 32, 32, 3]);
        about(50.0, [29, 29, 29, 14]);
        about(100.0, [25, 25, 25, 25]);
        let weighted = endpoints(&[3, 1]);
        weighted[0].begin_anew(begin);
        assert_eq!(percent(&weighted, begin, 33.34), [50, 50]);
    }

    #[test]
    fn where_all_are_new_none_waits_for_another() {
        let all = endpoints(&[1, 1]);
        let begin = Instant::now() + WINDOW * 2;
        all.iter().for_each(|endpoint| endpoint.begin_anew(begin));
        assert!(SlowStart::new(WINDOW, &all, begin).is_none());
        // One that began half a window later is measured against the other one.
        all[1].begin_anew(begin + WINDOW / 2);
        assert_eq!(percent(&all, begin + WINDOW / 2, 25.0), [75, 25]);
    }

    #[test]
    fn nearly_all_new_is_a_choice_all_the_same() {
        let all = endpoints(&[1; 20]);
        let begin = Instant::now() + WINDOW * 2;
        all[1..].iter().for_each(|endpoint| endpoint.begin_anew(begin));
        let shares = percent(&all, begin, 0.0);
        assert!(
            (20..=35).contains(&shares[0]) && shares[1..].iter().all(|share| (2..=5).contains(share)),
            "{shares:?}"
        );
    }

    #[test]
    fn a_window_that_is_over_costs_nothing() {
        let all = endpoints(&[1, 1]);
        let begin = Instant::now() + WINDOW * 2;
        all[1].begin_anew(begin);
        assert!(SlowStart::new(WINDOW, &all, begin + WINDOW).is_none());
        let slow = SlowStart::new(WINDOW, &all, begin).unwrap();
        assert!(slow.ramp(1, begin + WINDOW).is_none());
    }
}
