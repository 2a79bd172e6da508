//! What series count: things, what is open, and how long something took; and the cells in which a worker counts before it adds up.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use prometheus::proto::{Bucket, Counter, Gauge, Histogram, Metric, MetricType};

use super::SECONDS;
use super::family::{Cell, Series};

/// Things that have happened.
#[derive(Debug, Default)]
pub(crate) struct Count(AtomicU64);

/// Things that are open.
#[derive(Debug, Default)]
pub(crate) struct Open(AtomicI64);

/// How long things took: how many ended in each bucket of [`SECONDS`], and beyond them.
#[derive(Debug, Default)]
pub(crate) struct Times {
    buckets: [AtomicU64; SECONDS.len() + 1],
    nanos: AtomicU64,
}

impl Count {
    pub(crate) fn inc(&self) {
        self.inc_by(1);
    }

    pub(crate) fn inc_by(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Open {
    pub(crate) fn inc(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn dec(&self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Cell for Count {
    const TYPE: MetricType = MetricType::COUNTER;

    fn show(&self, metric: &mut Metric) {
        let mut counter = Counter::default();
        counter.set_value(self.get() as f64);
        metric.set_counter(counter);
    }
}

impl Cell for Open {
    const TYPE: MetricType = MetricType::GAUGE;

    fn show(&self, metric: &mut Metric) {
        let mut gauge = Gauge::default();
        gauge.set_value(self.0.load(Ordering::Relaxed) as f64);
        metric.set_gauge(gauge);
    }
}

impl Cell for Times {
    const TYPE: MetricType = MetricType::HISTOGRAM;

    fn show(&self, metric: &mut Metric) {
        let mut sum = 0;
        let mut so_far = |bucket: &AtomicU64| {
            sum += bucket.load(Ordering::Relaxed);
            sum
        };
        let buckets = SECONDS.iter().zip(&self.buckets).map(|(bound, count)| {
            let mut bucket = Bucket::default();
            bucket.set_upper_bound(*bound);
            bucket.set_cumulative_count(so_far(count));
            bucket
        });
        let buckets: Vec<_> = buckets.collect();
        let mut histogram = Histogram::default();
        histogram.set_bucket(buckets);
        // The buckets' own sum: nobody sees one that is not in it.
        histogram.set_sample_count(self.buckets.last().map_or(0, so_far));
        histogram.set_sample_sum(Duration::from_nanos(self.nanos.load(Ordering::Relaxed)).as_secs_f64());
        metric.set_histogram(histogram);
    }
}

/// A worker's part of a [`Count`] that is not added yet.
#[derive(Debug)]
pub(crate) struct LocalCount {
    series: Arc<Series<Count>>,
    more: std::cell::Cell<u64>,
}

impl LocalCount {
    pub(crate) fn inc(&self) {
        self.inc_by(1);
    }

    pub(crate) fn inc_by(&self, more: u64) {
        self.more.set(self.more.get() + more);
    }

    pub(super) fn flush(&self) {
        let more = self.more.take();
        if more > 0 {
            self.series.inc_by(more);
        }
    }

    pub(super) fn series(&self) -> &Series<Count> {
        &self.series
    }
}

impl From<Arc<Series<Count>>> for LocalCount {
    fn from(series: Arc<Series<Count>>) -> Self {
        Self { series, more: Default::default() }
    }
}

/// A worker's part of [`Times`] that is not added yet.
#[derive(Debug)]
pub(super) struct LocalTimes {
    series: Arc<Series<Times>>,
    buckets: [std::cell::Cell<u32>; SECONDS.len() + 1],
    nanos: std::cell::Cell<u64>,
}

impl LocalTimes {
    pub(super) fn observe(&self, took: Duration) {
        let seconds = took.as_secs_f64();
        let bucket = SECONDS.partition_point(|bound| *bound < seconds);
        if let Some(bucket) = self.buckets.get(bucket) {
            bucket.set(bucket.get() + 1);
        }
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.nanos.set(self.nanos.get().saturating_add(nanos));
    }

    pub(super) fn flush(&self) {
        for (mine, all) in self.buckets.iter().zip(&self.series.buckets) {
            let more = mine.take();
            if more > 0 {
                all.fetch_add(u64::from(more), Ordering::Relaxed);
            }
        }
        let more = self.nanos.take();
        if more > 0 {
            self.series.nanos.fetch_add(more, Ordering::Relaxed);
        }
    }
}

impl From<Arc<Series<Times>>> for LocalTimes {
    fn from(series: Arc<Series<Times>>) -> Self {
        Self { series, buckets: Default::default(), nanos: Default::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::family::{Family, Texts};

    #[test]
    fn times_show_as_those_of_the_library() {
        let options = prometheus::HistogramOpts::new("x_seconds", "Time.").buckets(SECONDS.to_vec());
        let theirs = prometheus::Histogram::with_opts(options).unwrap();
        let ours = Family::<Times>::new("x_seconds", "Time.", &[], &Texts::default()).unwrap();
        let local = LocalTimes::from(ours.with_label_values(&[]));
        for micros in [0, 250, 251, 1000, 60_000_000, 61_000_000] {
            local.observe(Duration::from_micros(micros));
            theirs.observe(Duration::from_micros(micros).as_secs_f64());
        }
        local.flush();
        local.flush();
        let shown = |collector: &dyn prometheus::core::Collector| {
            let family = collector.collect().remove(0);
            let histogram = family.get_metric()[0].get_histogram().clone();
            let buckets: Vec<_> =
                histogram.get_bucket().iter().map(|b| (b.upper_bound(), b.cumulative_count())).collect();
            ((histogram.get_sample_sum() * 1e6).round(), histogram.get_sample_count(), buckets)
        };
        assert_eq!(shown(&ours), shown(&theirs));
    }
}
