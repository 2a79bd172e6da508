//! The thread that sends spans.

use std::sync::mpsc::{Receiver as Told, sync_channel};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep, timeout_at};

use crate::batch::encode;
use crate::collector::{Collector, Outcome};
use crate::{Counters, Endpoint, Span, Spans};

/// So many spans go out at once.
const BATCH: usize = 512;
/// The first of a batch waits so long for others.
const LINGER: Duration = Duration::from_secs(2);
/// How often a batch is sent at most.
const TRIES: u32 = 5;
/// Before the second time; twice that before the third, and so on.
const BACKOFF: Duration = Duration::from_millis(500);
/// The longest that a collector may put us off.
const PATIENCE: Duration = Duration::from_secs(10);
/// At the end of the process, what is left has so long to be sent.
const LAST: Duration = Duration::from_secs(2);

/// A thread that sends spans to a collector until it is told to finish.
#[derive(Debug)]
pub struct Exporter {
    stop: oneshot::Sender<()>,
    finished: Told<()>,
}

/// Why there is no exporter.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// There is no thread or no runtime to be had.
    #[error("cannot start the thread that sends traces: {0}")]
    Thread(#[from] std::io::Error),
    /// The collector cannot be reached over TLS.
    #[error("cannot send traces to {0}: {1}")]
    Tls(Endpoint, String),
}

/// What the thread works with.
struct Work {
    collector: Collector,
    endpoint: Endpoint,
    /// Who makes these spans.
    resource: Vec<(&'static str, String)>,
    counters: Counters,
    /// The last batch was not taken, and the log knows.
    failing: bool,
}

impl Exporter {
    /// Starts the thread. `resource` says who makes the spans.
    ///
    /// # Errors
    /// No thread, or no TLS.
    pub fn start(
        endpoint: Endpoint,
        resource: Vec<(&'static str, String)>,
        counters: Counters,
    ) -> Result<(Self, Spans), StartError> {
        let collector = Collector::new(endpoint.clone()).map_err(|why| StartError::Tls(endpoint.clone(), why))?;
        let (spans, queue) = Spans::new(&counters);
        let (stop, stopped) = oneshot::channel();
        let (over, finished) = sync_channel(1);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let work = Work { collector, endpoint, resource, counters, failing: false };
        std::thread::Builder::new().name("traces".into()).spawn(move || {
            runtime.block_on(work.run(queue, stopped));
            let _ = over.send(());
            // A look-up of the collector's name may take its time.
            runtime.shutdown_background();
        })?;
        Ok((Self { stop, finished }, spans))
    }

    /// Sends what is left and ends the thread; waits for that, not for long.
    pub fn finish(self) {
        let _ = self.stop.send(());
        let _ = self.finished.recv_timeout(LAST + LAST);
    }
}

impl Work {
    async fn run(mut self, mut queue: mpsc::Receiver<Vec<Span>>, stopped: oneshot::Receiver<()>) {
        let mut batch = Vec::new();
        let work = async {
            loop {
                gather(&mut queue, &mut batch).await;
                self.deliver(&mut batch).await;
            }
        };
        tokio::select! {
            // Also when nobody is left who could say so.
            _ = stopped => {}
            () = work => {}
        }
        let deadline = Instant::now() + LAST;
        loop {
            while batch.len() < BATCH
                && let Ok(spans) = queue.try_recv()
            {
                batch.extend(spans);
            }
            if batch.is_empty() {
                return;
            }
            let sent = timeout_at(deadline, self.collector.send(encode(&self.resource, &batch))).await;
            let outcome = sent.unwrap_or_else(|_| Outcome::Later("it did not answer before the end".to_owned(), None));
            self.conclude(&mut batch, outcome);
        }
    }

    /// Sends a batch until it is taken, refused, or there were enough tries.
    async fn deliver(&mut self, batch: &mut Vec<Span>) {
        let body = encode(&self.resource, batch);
        for again in 1..=TRIES {
            match self.collector.send(body.clone()).await {
                Outcome::Later(why, wait) if again < TRIES => {
                    tracing::debug!(endpoint = %self.endpoint, %why, "a batch of traces will be sent again");
                    let backoff = BACKOFF * 2_u32.pow(again - 1);
                    sleep(wait.unwrap_or_default().min(PATIENCE).max(jittered(backoff))).await;
                }
                outcome => return self.conclude(batch, outcome),
            }
        }
    }

    /// Counts what became of a batch, which is over. The log hears of the first that failed, and of the next that did not.
    fn conclude(&mut self, batch: &mut Vec<Span>, outcome: Outcome) {
        let count = batch.len() as u64;
        batch.clear();
        let (counter, why) = match outcome {
            Outcome::Taken { rejected } => {
                let rejected = rejected.min(count);
                self.counters.exported.inc_by(count - rejected);
                self.counters.rejected.inc_by(rejected);
                if std::mem::take(&mut self.failing) {
                    tracing::info!(endpoint = %self.endpoint, "traces are taken again");
                }
                return;
            }
            Outcome::Refused(why) => (&self.counters.rejected, why),
            Outcome::Later(why, _) => (&self.counters.failed, why),
        };
        counter.inc_by(count);
        if !std::mem::replace(&mut self.failing, true) {
            tracing::warn!(endpoint = %self.endpoint, %why, "traces are dropped until the collector takes them");
        }
    }
}

/// Waits for spans: for the first as long as it takes, then until there are enough, or the first has waited long enough.
async fn gather(queue: &mut mpsc::Receiver<Vec<Span>>, batch: &mut Vec<Span>) {
    match queue.recv().await {
        Some(spans) => batch.extend(spans),
        // Nobody is left who makes any: the end is near.
        None => std::future::pending().await,
    }
    let until = Instant::now() + LINGER;
    while batch.len() < BATCH
        && let Ok(Some(spans)) = timeout_at(until, queue.recv()).await
    {
        batch.extend(spans);
    }
}

/// Between three quarters of a time and all of it, so that replicas do not come back in step.
fn jittered(time: Duration) -> Duration {
    use std::hash::BuildHasher as _;
    let chance = std::hash::RandomState::new().hash_one(()) % 256;
    time.mul_f64(0.75 + chance as f64 / 1024.0)
}
