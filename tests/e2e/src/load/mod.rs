//! Load that looks closely: requests at a steady rate and WebSockets that exchange messages, every answer checked, and
//! every WebSocket's end judged by what is known of the Pods that it went through.

mod departures;
mod report;
mod requests;
mod websockets;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

pub use departures::Departures;
use report::Tally;
pub use report::{Report, percentile};

/// Requests per second on one connection.
const RATE_OF_ONE: u32 = 25;

/// What load to make.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Where the gateway is.
    pub addr: SocketAddr,
    /// The Host of every request.
    pub host: String,
    /// Requests per second in all, over as many connections as that takes.
    pub requests_per_second: u32,
    /// WebSockets that are open all the time; one that was closed in order is opened anew at once.
    pub websockets: u32,
    /// How often each WebSocket sends a message.
    pub message_every: Duration,
}

/// Load under way.
#[derive(Debug)]
pub struct Load {
    tasks: JoinSet<()>,
    stop: watch::Sender<bool>,
    tally: Arc<Tally>,
    started: Instant,
}

impl Load {
    /// Starts it, and waits until every WebSocket is open.
    ///
    /// # Panics
    /// When they are not open after a minute.
    pub async fn start(plan: &Plan, departures: &Departures) -> Self {
        let (stop, tally) = (watch::Sender::new(false), Arc::new(Tally::starting_now()));
        let mut tasks = JoinSet::new();
        for _ in 0..plan.websockets {
            let socket = websockets::keep_one(plan.clone(), Arc::clone(&tally), departures.clone(), stop.subscribe());
            tasks.spawn(socket);
        }
        let all_open = tally.opened().wait_for_at_least(u64::from(plan.websockets));
        assert!(
            timeout(Duration::from_secs(60), all_open).await.is_ok(),
            "the WebSockets of the load are not open after a minute:\n{}",
            tally.report(Duration::ZERO)
        );
        let connections = plan.requests_per_second.div_ceil(RATE_OF_ONE);
        for at in 0..connections {
            let every = Duration::from_secs(1) * connections / plan.requests_per_second;
            let offset = every * at / connections;
            tasks.spawn(requests::steadily(plan.clone(), Arc::clone(&tally), (every, offset), stop.subscribe()));
        }
        Self { tasks, stop, tally, started: Instant::now() }
    }

    /// What happened so far.
    #[must_use]
    pub fn report(&self) -> Report {
        self.tally.report(self.started.elapsed())
    }

    /// Closes everything in order, and says what happened.
    ///
    /// # Panics
    /// When something does not end within a minute.
    pub async fn stop(mut self) -> Report {
        let lasted = self.started.elapsed();
        self.stop.send_replace(true);
        let all = async { while self.tasks.join_next().await.is_some() {} };
        assert!(
            timeout(Duration::from_secs(60), all).await.is_ok(),
            "the load does not end: {}",
            self.tally.report(lasted)
        );
        self.tally.report(lasted)
    }
}

/// Returns when the load is to end.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    // A sender that is gone means the same.
    let _ = stop.wait_for(|stop| *stop).await;
}
