//! The drain of the process: when accepting ends, when WebSockets begin to be closed, when everything is cut.
//!
//! ARCHITECTURE.md, "Start, drain, stop". The clock here is the only one; the data plane follows the published
//! [`Phase`] and says when its last connection is gone.

use std::future::Future;
use std::process::ExitCode;
use std::time::Duration;

use thiserror::Error;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use crate::readiness::Readiness;
use crate::signals::Stop;

/// How long the steps of a drain take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DrainPlan {
    delay: Duration,
    timeout: Duration,
    spread: Duration,
}

/// Durations that make no drain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error(
    "--drain-spread {spread:?} is longer than --drain-timeout {timeout:?}, whose last part it is: shorten the first or lengthen the second"
)]
pub struct DrainPlanError {
    spread: Duration,
    timeout: Duration,
}

impl DrainPlan {
    /// Accepting goes on for `delay`; then connections have `timeout` to end; in its last `spread` (default: a tenth
    /// of it) WebSockets are closed.
    ///
    /// # Errors
    /// The spread is longer than the timeout.
    pub fn new(delay: Duration, timeout: Duration, spread: Option<Duration>) -> Result<Self, DrainPlanError> {
        let spread = spread.unwrap_or(timeout / 10);
        if spread > timeout {
            return Err(DrainPlanError { spread, timeout });
        }
        Ok(Self { delay, timeout, spread })
    }

    /// The instants of a drain that starts now.
    #[must_use]
    pub fn from(self, start: Instant) -> Timetable {
        let closing = start + self.delay;
        let end = closing + self.timeout;
        Timetable { start, closing, spread_from: end - self.spread, end }
    }
}

/// The instants of one drain, in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timetable {
    /// The signal came.
    pub start: Instant,
    /// Listeners stop accepting; answers carry `Connection: close`, HTTP/2 gets GOAWAY.
    pub closing: Instant,
    /// The first WebSocket is closed with 1001, the others evenly until the end.
    pub spread_from: Instant,
    /// Whatever is left is cut.
    pub end: Instant,
}

impl Timetable {
    /// The phase at an instant that is not before the start.
    #[must_use]
    pub fn phase_at(self, now: Instant) -> Phase {
        match now {
            _ if now >= self.end => Phase::Ended,
            _ if now >= self.spread_from => Phase::Spreading(self),
            _ if now >= self.closing => Phase::Closing(self),
            _ => Phase::Accepting(self),
        }
    }
}

/// Where the process stands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Phase {
    /// No drain.
    #[default]
    Serving,
    /// The drain has begun; everything goes on, new connections too.
    Accepting(Timetable),
    /// Nothing new; what runs goes on.
    Closing(Timetable),
    /// As before, and WebSockets are being closed, evenly spread.
    Spreading(Timetable),
    /// Everything still open is to be cut.
    Ended,
}

/// What `/readyz` says while the drain still accepts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhileAccepting {
    /// In a cluster: 200, because the EndpointSlice must go on saying serving.
    StayReady,
    /// Standalone: 503 at once, so that whoever probes sends no more.
    Unready,
}

/// Why the process ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// The last connection is gone.
    Drained,
    /// The deadline came first; the rest is cut.
    Deadline,
    /// A second signal.
    Forced,
}

impl From<Exit> for ExitCode {
    /// 0, also when the deadline cut the rest; 1 after a second signal.
    fn from(exit: Exit) -> Self {
        match exit {
            Exit::Drained | Exit::Deadline => Self::SUCCESS,
            Exit::Forced => Self::FAILURE,
        }
    }
}

/// Waits for the first signal, runs the drain, publishing its phases, and returns when the process shall end.
///
/// `gone` is polled from [`Phase::Closing`] on: it ends when the last connection is gone. While there is nobody to
/// send a signal (the sender of `stop` is dropped) this waits forever.
pub async fn run(
    plan: DrainPlan,
    mut stop: watch::Receiver<Stop>,
    phases: &watch::Sender<Phase>,
    (readiness, while_accepting): (&Readiness, WhileAccepting),
    gone: impl Future<Output = ()>,
) -> Exit {
    reached(&mut stop, Stop::Drain).await;
    let times = plan.from(Instant::now());
    match while_accepting {
        WhileAccepting::StayReady => readiness.leaving(),
        WhileAccepting::Unready => readiness.draining(),
    }
    let exit = tokio::select! {
        biased;
        () = reached(&mut stop, Stop::Now) => Exit::Forced,
        exit = steps(times, phases, readiness, gone) => exit,
    };
    readiness.draining();
    phases.send_replace(Phase::Ended);
    exit
}

async fn steps(
    times: Timetable,
    phases: &watch::Sender<Phase>,
    readiness: &Readiness,
    gone: impl Future<Output = ()>,
) -> Exit {
    phases.send_replace(Phase::Accepting(times));
    sleep_until(times.closing).await;
    readiness.draining();
    phases.send_replace(Phase::Closing(times));
    let rest = async {
        sleep_until(times.spread_from).await;
        phases.send_replace(Phase::Spreading(times));
        sleep_until(times.end).await;
    };
    tokio::select! {
        biased;
        () = gone => Exit::Drained,
        () = rest => Exit::Deadline,
    }
}

async fn reached(stop: &mut watch::Receiver<Stop>, step: Stop) {
    if stop.wait_for(|now| *now >= step).await.is_err() {
        std::future::pending::<()>().await;
    }
}
