//! The body of a request on its way to a backend, counted as it passes.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

/// A request's body and how much of it has come so far.
#[derive(Debug)]
pub(crate) struct Upload {
    body: Incoming,
    received: u64,
}

impl Upload {
    pub(crate) fn new(body: Incoming) -> Self {
        Self { body, received: 0 }
    }

    /// Bytes of it that have come, without framing.
    pub(crate) fn received(&self) -> u64 {
        self.received
    }
}

impl Body for Upload {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = std::task::ready!(Pin::new(&mut self.body).poll_frame(cx));
        if let Some(Ok(frame)) = &frame {
            self.received += frame.data_ref().map_or(0, |data| data.len() as u64);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
