//! Which requests are traced, by one worker.

use std::cell::Cell;
use std::hash::{BuildHasher as _, RandomState};
use std::time::{SystemTime, UNIX_EPOCH};

use http::HeaderMap;
use penstock_otlp::{Span, SpanId, Spans};

use super::context::Parent;
use super::{Attempts, Context};

/// How requests are traced.
#[derive(Clone, Debug)]
pub struct Tracing {
    /// Where spans go.
    pub spans: Spans,
    /// Of requests that came without a trace, the share that is sampled: 0 none, 1 all.
    pub share: f64,
}

/// The same for one worker; `None`: they are not.
#[derive(Debug)]
pub(crate) struct Tracer(Option<Box<Sampling>>);

#[derive(Debug)]
struct Sampling {
    spans: Spans,
    /// Of 2^64 new traces so many are sampled; `None`: all.
    share: Option<u64>,
    ids: [Ids; 2],
}

/// A sampled request as it goes on.
#[derive(Debug)]
pub(crate) struct Trace {
    pub(crate) context: Context,
    /// In nanoseconds since 1970.
    pub(crate) began: u64,
    pub(crate) attempts: Attempts,
}

impl Tracer {
    pub(crate) fn new(tracing: Option<&Tracing>) -> Self {
        Self(tracing.map(|Tracing { spans, share }| {
            // A float that does not fit becomes the nearest number that does.
            let share = (*share < 1.0).then(|| (share * 2_f64.powi(64)) as u64);
            Box::new(Sampling { spans: spans.clone(), share, ids: [Ids::new(), Ids::new()] })
        }))
    }

    /// Where a request with these headers is; `None`: nothing is traced.
    pub(crate) fn begin(&self, headers: &HeaderMap) -> Option<Context> {
        self.0.as_deref().map(|sampling| sampling.begin(headers))
    }

    /// The id of one span more.
    pub(crate) fn span_id(&self) -> SpanId {
        self.0.as_deref().map_or([0; 8], |sampling| sampling.ids[0].next().to_be_bytes())
    }

    /// Hands over what a request was.
    pub(crate) fn offer(&self, spans: Vec<Span>) {
        if let Some(sampling) = &self.0 {
            sampling.spans.offer(spans);
        }
    }
}

impl Sampling {
    fn begin(&self, headers: &HeaderMap) -> Context {
        let span = self.ids[0].next().to_be_bytes();
        if let Some(Parent { trace, span: parent, sampled }) = Parent::of(headers) {
            return Context { trace, span, parent: Some(parent), sampled };
        }
        let (high, low) = (self.ids[0].next(), self.ids[1].next());
        let sampled = self.share.is_none_or(|share| low < share);
        Context { trace: (u128::from(high) << 64 | u128::from(low)).to_be_bytes(), span, parent: None, sampled }
    }
}

impl Trace {
    pub(crate) fn new(context: Context) -> Box<Self> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        // They last until the year 2554.
        let began = u64::try_from(now.as_nanos()).unwrap_or(u64::MAX);
        Box::new(Self { context, began, attempts: Attempts::default() })
    }
}

/// Numbers that do not come twice, in no order that shows (SplitMix64 from a random start). They are no secret.
#[derive(Debug)]
struct Ids(Cell<u64>);

impl Ids {
    fn new() -> Self {
        Self(Cell::new(RandomState::new().hash_one(())))
    }

    /// Not 0, which is no id.
    fn next(&self) -> u64 {
        let state = self.0.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        self.0.set(state);
        let mixed = (state ^ state >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ mixed >> 31).max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_differ_and_a_share_of_them_is_below_it() {
        let ids = Ids::new();
        let mut seen: Vec<u64> = (0..10_000).map(|_| ids.next()).collect();
        let below = seen.iter().filter(|id| **id < (0.1 * 2_f64.powi(64)) as u64).count();
        assert!((800..1200).contains(&below), "{below} of 10,000 are below a tenth");
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), 10_000);
    }
}
