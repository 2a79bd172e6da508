//! Weighted turns without state but a counter: exact over every full round, well mixed within it.
//!
//! A round has as many turns as the weights sum up to (after dividing by their common divisor). The n-th turn looks at
//! place `n * stride mod round`; the stride has no divisor in common with the round, so every place comes once per
//! round, and it is near the golden section of the round, so neighbours in time are far apart in place.

/// Turns among weighted candidates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Shares {
    /// Where each candidate's places end; its last value is the length of a round.
    ends: Box<[u64]>,
    /// The length of a round, beside the rest: for equal weights nothing else in memory is looked at.
    round: u64,
    stride: u64,
    /// All weights are equal: the turn itself is the answer.
    equal: bool,
}

impl Shares {
    /// Prepares turns; candidates of weight 0 get none.
    pub(crate) fn new(weights: impl Iterator<Item = u32> + Clone) -> Self {
        let divisor = weights.clone().fold(0, |a, b| gcd(a, u64::from(b))).max(1);
        let ends: Box<[u64]> = weights
            .clone()
            .scan(0, |sum, weight| {
                *sum += u64::from(weight) / divisor;
                Some(*sum)
            })
            .collect();
        let round = ends.last().copied().unwrap_or(0);
        let mut stride = (round * 618 / 1000).max(1);
        while gcd(stride, round) > 1 {
            stride += 1;
        }
        let mut rest = weights;
        let first = rest.next();
        Self { ends, round, stride, equal: first.is_some_and(|first| first > 0 && rest.all(|weight| weight == first)) }
    }

    /// The candidate whose turn it is; `None` when nobody has a weight.
    pub(crate) fn turn(&self, number: u64) -> Option<usize> {
        let round = self.round;
        let place = number.checked_rem(round)?;
        if self.equal {
            return usize::try_from(place).ok();
        }
        let place = u64::try_from(u128::from(place) * u128::from(self.stride) % u128::from(round)).ok()?;
        Some(self.ends.partition_point(|&end| end <= place))
    }
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::Shares;

    fn counts(weights: &[u32], turns: u64) -> Vec<usize> {
        let shares = Shares::new(weights.iter().copied());
        let mut counts = vec![0; weights.len()];
        for number in 0..turns {
            counts[shares.turn(number).unwrap()] += 1;
        }
        counts
    }

    #[test]
    fn every_round_is_exact() {
        assert_eq!(counts(&[9, 1], 1000), [900, 100]);
        assert_eq!(counts(&[1000, 1, 0], 1001), [1000, 1, 0]);
        assert_eq!(counts(&[500, 250, 250], 8), [4, 2, 2]);
        assert_eq!(counts(&[1, 1, 1], 9), [3, 3, 3]);
    }

    #[test]
    fn the_rare_one_comes_between_the_others() {
        let shares = Shares::new([3_u32, 3].into_iter());
        assert_ne!(shares.turn(0), shares.turn(1));
        let shares = Shares::new([5_u32, 3].into_iter());
        let turns: Vec<_> = (0..8).map(|n| shares.turn(n).unwrap()).collect();
        let longest = turns.chunk_by(|a, b| a == b).map(<[_]>::len).max();
        assert!(longest <= Some(3), "{turns:?}");
    }

    #[test]
    fn without_weights_there_is_no_turn() {
        assert_eq!(Shares::new([].into_iter()).turn(7), None);
        assert_eq!(Shares::new([0, 0].into_iter()).turn(7), None);
    }
}
