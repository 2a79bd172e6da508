//! One attempt: a request over one connection, until the response head.

use std::future::poll_fn;
use std::task::{Context, Poll};
use std::time::Duration;

use super::interim::Interim;
use super::upload::{Upload, UploadError};
use crate::timer::{PutOff, Span};
use crate::upstream::h1::{Error, ResponseEvent, ResponseHead, SendError};
use crate::upstream::{ConnectError, Link};

/// Why an attempt failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// No connection.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The backend closed or broke the protocol.
    #[error("backend: {0}")]
    Backend(Error),
    /// No response head in time.
    #[error("no response head in {0:?}")]
    TimedOut(Duration),
    /// Nothing came of the client's body: the backend had no chance to answer.
    #[error("nothing of the request body in {0:?}")]
    ClientTimedOut(Duration),
    /// The client's body failed: nobody is left to answer.
    #[error("the client went away")]
    Client,
    /// The client's body is longer than it may be.
    #[error("the request body is too large")]
    TooLarge,
    /// The drain of the endpoint is over.
    #[error("the drain of the endpoint is over")]
    Drained,
}

impl Failure {
    /// Why the request could not be sent to its end, where that is the client's side.
    pub(crate) fn of_upload(error: &SendError<UploadError>) -> Self {
        match error {
            SendError::Body(UploadError::TooLarge(_)) => Self::TooLarge,
            _ => Self::Client,
        }
    }

    /// Whether it says something about the backend.
    pub(crate) fn is_of_backend(&self) -> bool {
        match self {
            Self::Connect(ConnectError::NoRoom(..)) => false,
            Self::Connect(_) | Self::Backend(_) | Self::TimedOut(_) => true,
            Self::ClientTimedOut(_) | Self::Client | Self::TooLarge | Self::Drained => false,
        }
    }

    /// Whether the client is to blame.
    pub(crate) fn is_of_client(&self) -> bool {
        matches!(self, Self::Client | Self::ClientTimedOut(_) | Self::TooLarge)
    }

    /// Label `reason` of `penstock_backend_errors_total`, and `error` of the access log.
    pub(crate) fn reason(&self) -> &'static str {
        match self {
            Self::Connect(ConnectError::Tls(..)) => "tls",
            Self::Connect(ConnectError::NoRoom(..)) => "limit",
            Self::Connect(_) => "connect",
            Self::Backend(error) if error.is_tls() => "tls",
            Self::Backend(error) if error.is_disconnect() => "closed",
            Self::Backend(_) => "reset",
            Self::TimedOut(_) => "timeout",
            Self::ClientTimedOut(_) => "client_timeout",
            Self::Client => "client",
            Self::TooLarge => "body_too_large",
            Self::Drained => "drain",
        }
    }
}

/// A request being sent, and what is waited for.
pub(crate) struct Attempt<'a> {
    pub(crate) link: &'a mut Link,
    pub(crate) body: &'a mut Upload,
    /// The request is out.
    pub(crate) sent: bool,
    limit: Option<(Duration, PutOff)>,
    interim: Interim<'a>,
}

impl<'a> Attempt<'a> {
    pub(crate) fn new(link: &'a mut Link, body: &'a mut Upload, limit: Option<Duration>, interim: Interim<'a>) -> Self {
        let limit = limit.map(|limit| (limit, PutOff::new(Span::at_least(limit))));
        Self { link, body, sent: false, limit, interim }
    }

    /// Waits for the response head. The limit counts from the last byte of the request that moved, so that a long
    /// upload is not taken for a slow backend.
    pub(crate) async fn head(&mut self) -> Result<ResponseHead, Failure> {
        poll_fn(|cx| self.poll_head(cx)).await
    }

    fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<Result<ResponseHead, Failure>> {
        let before = self.link.connection.bytes_sent();
        if !self.sent {
            match self.link.connection.poll_send(cx, self.body) {
                Poll::Ready(Ok(())) => self.sent = true,
                // A backend that stops reading may still answer: the answer, or its absence, decides.
                Poll::Ready(Err(SendError::Backend(_))) => self.sent = true,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(Failure::of_upload(&error))),
                Poll::Pending => {}
            }
        }
        loop {
            match self.link.connection.poll_head(cx) {
                Poll::Ready(Ok(ResponseEvent::Final(head))) => return Poll::Ready(Ok(head)),
                Poll::Ready(Ok(ResponseEvent::Interim(head))) => self.interim.pass(head.status, head.headers),
                Poll::Ready(Err(error)) => return Poll::Ready(Err(Failure::Backend(error))),
                Poll::Pending => break,
            }
        }
        if self.link.cut.is_cut(cx) {
            return Poll::Ready(Err(Failure::Drained));
        }
        let Some((limit, timer)) = &mut self.limit else { return Poll::Pending };
        if self.link.connection.bytes_sent() != before {
            timer.put_off(Span::at_least(*limit));
        }
        let waits_for_client = !self.sent && self.link.connection.waits_for_body();
        let failure = if waits_for_client { Failure::ClientTimedOut } else { Failure::TimedOut };
        timer.poll(cx).map(|()| Err(failure(*limit)))
    }
}
