//! SIGTERM and SIGINT, which mean the same: the first asks for a drain, the second for the end.

use thiserror::Error;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

/// The signals could not be caught.
#[derive(Debug, Error)]
#[error("SIGTERM and SIGINT cannot be caught: {0}; without them the process cannot drain")]
pub struct SignalError(#[from] std::io::Error);

/// What the process was told so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stop {
    /// Nothing: go on.
    #[default]
    Run,
    /// One signal: drain, then end.
    Drain,
    /// Two signals: end at once.
    Now,
}

/// Catches both signals from now on; must be called on a tokio runtime, which then also counts them.
///
/// # Errors
/// The system refused a handler.
pub fn install() -> Result<watch::Receiver<Stop>, SignalError> {
    let (terminate, interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let (sender, receiver) = watch::channel(Stop::Run);
    tokio::spawn(count(terminate, interrupt, sender));
    Ok(receiver)
}

async fn count(mut terminate: Signal, mut interrupt: Signal, stop: watch::Sender<Stop>) {
    for step in [Stop::Drain, Stop::Now] {
        let name = tokio::select! {
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
        };
        match step {
            Stop::Now => tracing::warn!(signal = name, "second signal: ending at once"),
            _ => tracing::info!(signal = name, "stopping: draining first, a second signal ends it at once"),
        }
        stop.send_replace(step);
    }
    // Kept, so that whoever asks later still learns of the second signal.
    stop.closed().await;
}
