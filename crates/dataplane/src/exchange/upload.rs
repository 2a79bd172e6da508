//! The body of a request on its way to a backend, counted as it passes.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::header::CONTENT_LENGTH;
use http::request;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use crate::http2::Receive;

/// A request's body and how much of it has come so far.
#[derive(Debug)]
pub(crate) struct Upload {
    source: Source,
    received: u64,
    /// It may be no longer than this.
    limit: Option<u64>,
}

#[derive(Debug)]
enum Source {
    /// None: what follows the head of an extended CONNECT is no body.
    Empty,
    Http1(Incoming),
    Http2(Receive),
}

/// The client's side failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UploadError {
    #[error("the request body is longer than {0} bytes")]
    TooLarge(u64),
    #[error(transparent)]
    Http1(#[from] hyper::Error),
    #[error(transparent)]
    Http2(#[from] h2::Error),
}

impl Upload {
    pub(crate) fn new(body: Incoming) -> Self {
        Self { source: Source::Http1(body), received: 0, limit: None }
    }

    /// From a stream of HTTP/2. Its length is what Content-Length says, and h2 holds it to that.
    pub(crate) fn http2(parts: &request::Parts, stream: h2::RecvStream) -> Self {
        let length = parts.headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
        Self { source: Source::Http2(Receive::new(stream, length)), received: 0, limit: None }
    }

    pub(crate) fn empty() -> Self {
        Self { source: Source::Empty, received: 0, limit: None }
    }

    /// May be no longer than this from now on; whether it says by itself that it is.
    pub(crate) fn limit(&mut self, limit: Option<u64>) -> Result<(), UploadError> {
        self.limit = limit;
        match limit {
            Some(limit) if self.size_hint().lower() > limit => Err(UploadError::TooLarge(limit)),
            _ => Ok(()),
        }
    }

    /// Bytes of it that have come, without framing.
    pub(crate) fn received(&self) -> u64 {
        self.received
    }
}

impl Body for Upload {
    type Data = Bytes;
    type Error = UploadError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, UploadError>>> {
        let frame = match &mut self.source {
            Source::Empty => None,
            Source::Http1(body) => ready!(Pin::new(body).poll_frame(cx)).map(|frame| frame.map_err(UploadError::from)),
            Source::Http2(body) => ready!(Pin::new(body).poll_frame(cx)).map(|frame| frame.map_err(UploadError::from)),
        };
        if let Some(Ok(frame)) = &frame {
            self.received += frame.data_ref().map_or(0, |data| data.len() as u64);
            if let Some(limit) = self.limit.filter(|limit| self.received > *limit) {
                return Poll::Ready(Some(Err(UploadError::TooLarge(limit))));
            }
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        match &self.source {
            Source::Empty => true,
            Source::Http1(body) => body.is_end_stream(),
            Source::Http2(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Empty => SizeHint::with_exact(0),
            Source::Http1(body) => body.size_hint(),
            Source::Http2(body) => body.size_hint(),
        }
    }
}
