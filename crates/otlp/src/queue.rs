//! The way from those who make spans to the thread that sends them.

use prometheus::{IntCounter, IntCounterVec, Opts, Registry};
use tokio::sync::mpsc;

use crate::Span;

/// Requests whose spans wait to be sent. Some 2 KB each, at most a few times that.
const QUEUE: usize = 2048;

/// Where finished spans go. Clones are the same.
#[derive(Clone, Debug)]
pub struct Spans {
    sender: mpsc::Sender<Vec<Span>>,
    full: IntCounter,
}

/// What became of spans.
#[derive(Clone, Debug)]
pub struct Counters {
    pub(crate) exported: IntCounter,
    /// The queue was full.
    pub(crate) full: IntCounter,
    /// The collector was away for too long.
    pub(crate) failed: IntCounter,
    /// The collector does not want them.
    pub(crate) rejected: IntCounter,
}

impl Counters {
    /// Registers the families, with every series from the start.
    ///
    /// # Errors
    /// They are there already.
    pub fn register(registry: &Registry) -> prometheus::Result<Self> {
        let exported = IntCounter::new(
            "penstock_traces_exported_total",
            "Spans that the collector took; 0 where nothing is traced.",
        )?;
        registry.register(Box::new(exported.clone()))?;
        let dropped = Opts::new(
            "penstock_traces_dropped_total",
            "Spans that the collector did not get: full (the queue), failed (it was away for too long), rejected (it said no).",
        );
        let dropped = IntCounterVec::new(dropped, &["reason"])?;
        registry.register(Box::new(dropped.clone()))?;
        let because = |reason| dropped.with_label_values(&[reason]);
        Ok(Self { exported, full: because("full"), failed: because("failed"), rejected: because("rejected") })
    }
}

impl Spans {
    pub(crate) fn new(counters: &Counters) -> (Self, mpsc::Receiver<Vec<Span>>) {
        let (sender, receiver) = mpsc::channel(QUEUE);
        (Self { sender, full: counters.full.clone() }, receiver)
    }

    /// Hands over the spans of a request. Never waits: where there is no room they are dropped and counted.
    pub fn offer(&self, spans: Vec<Span>) {
        let count = spans.len() as u64;
        if self.sender.try_send(spans).is_err() {
            self.full.inc_by(count);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Kind, Origin};

    #[test]
    fn what_does_not_fit_is_dropped_and_counted() {
        let counters = Counters::register(&Registry::new()).unwrap();
        let (spans, mut queue) = Spans::new(&counters);
        let origin = Origin::Root;
        let (name, kind, attributes) = ("GET", Kind::Server, Vec::new());
        let span =
            Span { trace: [1; 16], id: [1; 8], origin, name, kind, began: 0, ended: 1, attributes, failed: false };
        for _ in 0..QUEUE + 3 {
            spans.offer(vec![span.clone(), span.clone()]);
        }
        assert_eq!(counters.full.get(), 6);
        assert!(queue.try_recv().is_ok());
        spans.offer(vec![span]);
        assert_eq!(counters.full.get(), 6, "there is room again");
    }
}
