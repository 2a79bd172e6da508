//! Whether the process may be sent traffic: what `/readyz` says.
//!
//! One value, written by the start and by the drain, read by the admin server; it only ever moves forward.

use std::sync::Arc;

use tokio::sync::watch;

/// The stages of a process, in their order.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum ReadyState {
    /// Not yet: what is being waited for. `/readyz` answers 503.
    Starting(String),
    /// Every listener is bound or refused with a reason. `/readyz` answers 200.
    Ready,
    /// The process was told to stop and still accepts. `/readyz` answers 200: in a cluster the EndpointSlice says
    /// terminating, and must go on saying serving (KEP-1669).
    Leaving,
    /// Nothing is accepted any more, or nobody needs to be told gently. `/readyz` answers 503.
    Draining,
}

impl ReadyState {
    /// Whether `/readyz` answers 200.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        matches!(self, Self::Ready | Self::Leaving)
    }
}

impl std::fmt::Display for ReadyState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Starting(reason) => write!(f, "starting: {reason}"),
            Self::Ready => f.write_str("ready"),
            Self::Leaving => f.write_str("ready: stopping, still accepting"),
            Self::Draining => f.write_str("draining"),
        }
    }
}

/// The shared state; clones are handles to the same one.
#[derive(Debug, Clone)]
pub struct Readiness {
    state: Arc<watch::Sender<ReadyState>>,
}

impl Readiness {
    /// A process that waits for this.
    #[must_use]
    pub fn starting(reason: &str) -> Self {
        Self { state: Arc::new(watch::Sender::new(ReadyState::Starting(reason.to_owned()))) }
    }

    /// The state now.
    #[must_use]
    pub fn state(&self) -> ReadyState {
        self.state.borrow().clone()
    }

    /// To wait for changes.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<ReadyState> {
        self.state.subscribe()
    }

    /// The start waits for something else now. Nothing happens when the start is over.
    pub fn waiting_for(&self, reason: &str) {
        self.advance(ReadyState::Starting(reason.to_owned()), |now| matches!(now, ReadyState::Starting(_)));
    }

    /// The first complete configuration is being served. Nothing happens when the process is on its way out.
    pub fn ready(&self) {
        self.advance(ReadyState::Ready, |now| matches!(now, ReadyState::Starting(_)));
    }

    /// The process was told to stop and goes on accepting. A process that was not ready does not become so: it drains.
    pub fn leaving(&self) {
        self.advance(ReadyState::Leaving, |now| *now == ReadyState::Ready);
        self.advance(ReadyState::Draining, |now| matches!(now, ReadyState::Starting(_)));
    }

    /// Accepting has ended.
    pub fn draining(&self) {
        self.advance(ReadyState::Draining, |_| true);
    }

    fn advance(&self, to: ReadyState, from: impl Fn(&ReadyState) -> bool) {
        self.state.send_if_modified(|now| {
            let changes = from(now) && *now != to;
            if changes {
                *now = to;
            }
            changes
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moves_forward_only() {
        let readiness = Readiness::starting("the first configuration");
        readiness.waiting_for("the listeners");
        assert_eq!(readiness.state().to_string(), "starting: the listeners");
        readiness.ready();
        readiness.waiting_for("something else");
        assert_eq!(readiness.state(), ReadyState::Ready);
        readiness.leaving();
        readiness.ready();
        assert!(readiness.state().is_ready());
        assert_eq!(readiness.state(), ReadyState::Leaving);
        readiness.draining();
        readiness.leaving();
        readiness.ready();
        assert_eq!(readiness.state(), ReadyState::Draining);
    }

    #[test]
    fn stopping_does_not_make_it_ready() {
        let readiness = Readiness::starting("x");
        readiness.leaving();
        assert!(!readiness.state().is_ready());
    }

    #[tokio::test]
    async fn wakes_who_watches_on_changes_only() {
        let readiness = Readiness::starting("x");
        let mut watcher = readiness.subscribe();
        readiness.waiting_for("x");
        assert!(!watcher.has_changed().unwrap());
        readiness.clone().ready();
        watcher.wait_for(ReadyState::is_ready).await.unwrap();
    }
}
