//! The load: closed loops of keep-alive requests, of WebSocket messages and of handshakes, the same at a fixed rate, and what is
//! counted of them.

pub(crate) mod h2;
pub(crate) mod handshake;
pub(crate) mod http;
pub(crate) mod stream;
pub(crate) mod ws;

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::io;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use crate::sys::Tree;

/// What the connections of one loop count together.
#[derive(Default)]
pub(crate) struct Tally {
    done: Cell<u64>,
    bytes: Cell<u64>,
    failed: Cell<u64>,
    measuring: Cell<bool>,
    stop: Cell<bool>,
    latencies: RefCell<Vec<u32>>,
}

/// One measurement of a load.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    /// CPU time of the proxy per operation, in microseconds.
    pub(crate) cpu_us: f64,
    /// CPU time of the proxy per GB (10^9 bytes) of bodies, in milliseconds.
    pub(crate) cpu_ms_per_gb: f64,
    /// Operations a second.
    pub(crate) rate: f64,
    /// At most so many microseconds took half of the operations, and 99 of 100; none where the load does not say.
    pub(crate) latency_us: Option<(f64, f64)>,
    /// How much of its core the proxy used.
    pub(crate) core: f64,
}

/// Connections that each do one operation after the other until [`Load::end`]: at once, or when it is due.
pub(crate) struct Load {
    tally: Rc<Tally>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

impl Load {
    /// Makes `count` connections with `connect`; each then does one step after the other, without a pause.
    pub(crate) async fn closed<C, Connect, Connecting>(count: usize, connect: Connect) -> Result<Self>
    where
        C: Step + 'static,
        Connect: FnMut(usize) -> Connecting,
        Connecting: Future<Output = Result<C>>,
    {
        Self::start(count, None, connect).await
    }

    /// The same with so many steps a second in all, evenly spread.
    pub(crate) async fn paced<C, Connect, Connecting>(count: usize, rate: u32, connect: Connect) -> Result<Self>
    where
        C: Step + 'static,
        Connect: FnMut(usize) -> Connecting,
        Connecting: Future<Output = Result<C>>,
    {
        Self::start(count, Some(Duration::from_secs(1) / rate), connect).await
    }

    async fn start<C, Connect, Connecting>(count: usize, apart: Option<Duration>, mut connect: Connect) -> Result<Self>
    where
        C: Step + 'static,
        Connect: FnMut(usize) -> Connecting,
        Connecting: Future<Output = Result<C>>,
    {
        let tally = Rc::new(Tally::default());
        let mut connections = Vec::with_capacity(count);
        for index in 0..count {
            connections.push(connect(index).await?);
        }
        let start = Instant::now();
        let begun = connections.into_iter().zip(0..).map(|(connection, index)| {
            let pace = apart.map(|apart| Pace { due: start + apart * index, every: apart * count as u32 });
            tokio::task::spawn_local(run(connection, pace, tally.clone()))
        });
        let tasks = begun.collect();
        Ok(Self { tally, tasks })
    }

    /// Warms up, then measures for `time`.
    pub(crate) async fn measure(&self, proxy: Tree, warm_up: Duration, time: Duration) -> Result<Sample> {
        let tally = &self.tally;
        tokio::time::sleep(warm_up).await;
        tally.measuring.set(true);
        let (cpu, done, bytes, start) = (proxy.cpu(), tally.done.get(), tally.bytes.get(), Instant::now());
        tokio::time::sleep(time).await;
        let (cpu, done, bytes) = (proxy.cpu() - cpu, tally.done.get() - done, tally.bytes.get() - bytes);
        let seconds = start.elapsed().as_secs_f64();
        tally.measuring.set(false);
        let mut latencies = tally.latencies.take();
        latencies.sort_unstable();
        ensure!(tally.failed.get() == 0, "{} connections failed", tally.failed.get());
        ensure!(done > 0 && !latencies.is_empty(), "nothing was done in {seconds:.1} s");
        let at = |share: f64| f64::from(latencies[((latencies.len() - 1) as f64 * share) as usize]) / 1e3;
        Ok(Sample {
            cpu_us: cpu * 1e6 / done as f64,
            cpu_ms_per_gb: cpu * 1e3 / (bytes as f64 / 1e9),
            rate: done as f64 / seconds,
            latency_us: Some((at(0.5), at(0.99))),
            core: cpu / seconds,
        })
    }

    /// Lets each connection finish what it is doing.
    pub(crate) async fn end(self) {
        self.tally.stop.set(true);
        for task in self.tasks {
            // A task that panicked has said so on standard error.
            let _ = task.await;
        }
    }
}

/// One operation of a closed loop, such as a request and its answer.
pub(crate) trait Step {
    /// Does it; gives the bytes of the body.
    fn step(&mut self) -> impl Future<Output = io::Result<u64>>;
}

/// When steps are due.
struct Pace {
    due: Instant,
    every: Duration,
}

impl Pace {
    /// Waits for the next one, and says from when on it takes time: from when it was due where the one before took too long,
    /// so that what waits for a slow one counts as slow, too. The timer's own delay does not.
    async fn next(&mut self) -> Instant {
        let due = self.due;
        self.due += self.every;
        if Instant::now() >= due {
            return due;
        }
        tokio::time::sleep_until(due.into()).await;
        Instant::now()
    }
}

async fn run<C: Step>(mut connection: C, mut pace: Option<Pace>, tally: Rc<Tally>) {
    while !tally.stop.get() {
        let start = match &mut pace {
            Some(pace) => pace.next().await,
            None => Instant::now(),
        };
        match connection.step().await {
            Ok(bytes) => {
                tally.done.set(tally.done.get() + 1);
                tally.bytes.set(tally.bytes.get() + bytes);
                if tally.measuring.get() {
                    tally.latencies.borrow_mut().push(start.elapsed().as_nanos().min(u128::from(u32::MAX)) as u32);
                }
            }
            Err(error) => {
                eprintln!("  a connection failed: {error}");
                tally.failed.set(tally.failed.get() + 1);
                return;
            }
        }
    }
}
