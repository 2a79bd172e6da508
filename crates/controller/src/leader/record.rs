//! What a Lease says, and since when: the decision alone, without an API server.

use std::time::Duration;

use penstock_api::k8s::Lease;
use tokio::time::Instant;

/// What a Lease says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) holder: String,
    pub(super) transitions: Option<i32>,
    seconds: i32,
    renewed: String,
}

/// A record, and when this process saw it first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Observed {
    record: Record,
    since: Instant,
}

/// Who may have it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Whoever takes it.
    Free,
    /// This process renews it.
    Ours,
    /// Another process has it.
    Others,
}

impl Record {
    pub(super) fn of(lease: &Lease) -> Self {
        let Some(spec) = &lease.spec else { return Self::default() };
        Self {
            holder: spec.holder_identity.clone().unwrap_or_default(),
            transitions: spec.lease_transitions,
            seconds: spec.lease_duration_seconds.unwrap_or_default(),
            renewed: spec.renew_time.as_ref().map(|time| time.0.to_string()).unwrap_or_default(),
        }
    }
}

impl Observed {
    /// Notes what was read: only another record starts the clock again.
    pub(super) fn update<'o>(seen: &'o mut Option<Self>, record: &Record, now: Instant) -> &'o Self {
        if seen.as_ref().is_some_and(|seen| seen.record != *record) {
            *seen = None;
        }
        seen.get_or_insert_with(|| Self { record: record.clone(), since: now })
    }

    pub(super) fn verdict(&self, identity: &str, now: Instant) -> Verdict {
        let seconds = u64::try_from(self.record.seconds).unwrap_or_default();
        if self.record.holder == identity {
            Verdict::Ours
        } else if self.record.holder.is_empty() || self.since + Duration::from_secs(seconds) <= now {
            Verdict::Free
        } else {
            Verdict::Others
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(holder: &str, renewed: &str) -> Record {
        Record { holder: holder.to_owned(), seconds: 15, renewed: renewed.to_owned(), transitions: None }
    }

    #[test]
    fn a_lease_runs_out_by_our_clock() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut seen = None;
        // Its time is long ago, or in the future: neither says anything.
        let observed = Observed::update(&mut seen, &record("other", "1999"), start);
        assert_eq!(observed.verdict("me", at(14)), Verdict::Others);
        assert_eq!(observed.verdict("me", at(15)), Verdict::Free);
        let observed = Observed::update(&mut seen, &record("other", "1999"), at(10));
        assert_eq!(observed.verdict("me", at(15)), Verdict::Free, "the same record does not start the clock again");
        let observed = Observed::update(&mut seen, &record("other", "2001"), at(14));
        assert_eq!(observed.verdict("me", at(28)), Verdict::Others, "a renewed one does");
        assert_eq!(observed.verdict("me", at(29)), Verdict::Free);
    }

    #[test]
    fn a_released_lease_is_free_at_once_and_ours_is_ours() {
        let now = Instant::now();
        assert_eq!(Observed::update(&mut None, &record("", "x"), now).verdict("me", now), Verdict::Free);
        assert_eq!(Observed::update(&mut None, &record("me", "x"), now).verdict("me", now), Verdict::Ours);
        let long_ago = Lease::default();
        assert_eq!(Record::of(&long_ago), Record::default());
    }
}
