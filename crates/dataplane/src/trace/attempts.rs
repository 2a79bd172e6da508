//! What is kept of a sampled request's attempts at backends, until it ends.

use std::net::SocketAddr;
use std::time::Duration;

use http::StatusCode;
use penstock_model::Name;
use penstock_otlp::SpanId;

/// One after the other; only the last may still go on.
#[derive(Debug, Default)]
pub(crate) struct Attempts(Vec<Tried>);

/// One.
#[derive(Debug)]
pub(crate) struct Tried {
    pub(crate) span: SpanId,
    pub(crate) pool: Name,
    pub(crate) settings: Name,
    pub(crate) address: SocketAddr,
    /// After the beginning of the request.
    pub(crate) began: Duration,
    /// When it failed, also after that; what was answered ends with its answer.
    pub(crate) failed: Option<Duration>,
    pub(crate) status: Option<StatusCode>,
    /// From a closed list.
    pub(crate) error: Option<&'static str>,
}

impl Attempts {
    pub(crate) fn begin(&mut self, tried: Tried) {
        self.0.push(tried);
    }

    /// The last one brought an answer.
    pub(crate) fn answered(&mut self, status: StatusCode) {
        if let Some(last) = self.0.last_mut() {
            last.status = Some(status);
        }
    }

    /// The last one is over without an answer.
    pub(crate) fn failed(&mut self, at: Duration, reason: &'static str) {
        if let Some(last) = self.0.last_mut() {
            last.failed = Some(at);
            last.error = Some(reason);
        }
    }

    /// The request is over: whatever went wrong after the last answer began is that attempt's, too. One without any outcome
    /// was given up.
    pub(crate) fn end(mut self, error: Option<&'static str>) -> Vec<Tried> {
        if let Some(last) = self.0.last_mut().filter(|last| last.error.is_none()) {
            last.error = error.or(last.status.is_none().then_some("client_closed"));
        }
        self.0
    }
}
