//! The body that comes in on a stream.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::RecvStream;
use http_body::{Body, Frame, SizeHint};

/// A body as it comes. The peer may send on as far as data is taken from here: whoever does not take it is not sent more
/// than one window of the stream.
#[derive(Debug)]
pub(crate) struct Receive {
    stream: RecvStream,
    /// What Content-Length announced and has not come yet.
    left: Option<u64>,
    data_done: bool,
}

impl Receive {
    pub(crate) fn new(stream: RecvStream, length: Option<u64>) -> Self {
        Self { stream, left: length, data_done: false }
    }
}

impl Body for Receive {
    type Data = Bytes;
    type Error = h2::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, h2::Error>>> {
        if !self.data_done {
            match ready!(self.stream.poll_data(cx)) {
                Some(Ok(data)) => {
                    // Fails only when the stream is over, and then no window is of use any more.
                    let _ = self.stream.flow_control().release_capacity(data.len());
                    self.left = self.left.map(|left| left.saturating_sub(data.len() as u64));
                    return Poll::Ready(Some(Ok(Frame::data(data))));
                }
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => self.data_done = true,
            }
        }
        let trailers = ready!(self.stream.poll_trailers(cx));
        Poll::Ready(trailers.transpose().map(|trailers| trailers.map(Frame::trailers)))
    }

    fn is_end_stream(&self) -> bool {
        self.stream.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        if self.is_end_stream() {
            return SizeHint::with_exact(0);
        }
        self.left.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}
