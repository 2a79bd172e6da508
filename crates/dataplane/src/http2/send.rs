//! The body that goes out on a stream.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::SendStream;
use http_body::Body;

/// Frames taken from the body in one poll before other tasks get their turn.
const FRAMES_PER_POLL: usize = 16;

/// Sends a body as the peer's windows allow. h2 is given no more than that, and one piece is in hand: whoever does not take
/// what it is sent stops the source.
#[derive(Debug)]
pub(crate) struct Send {
    stream: SendStream<Bytes>,
    /// Taken from the body, and whether it is the last; waits for window.
    held: Option<(Bytes, bool)>,
    /// Bytes that h2 has taken.
    taken: u64,
}

/// Why a body was not sent to its end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SendError<E> {
    /// The body failed at its source.
    #[error("the body failed: {0}")]
    Body(E),
    /// The peer does not want it, or the connection is gone.
    #[error("the peer: {0}")]
    Peer(#[from] h2::Error),
}

impl Send {
    pub(crate) fn new(stream: SendStream<Bytes>) -> Self {
        Self { stream, held: None, taken: 0 }
    }

    /// Bytes that the peer's windows let go.
    pub(crate) fn taken(&self) -> u64 {
        self.taken
    }

    /// Whether it waits for the peer rather than for the body.
    pub(crate) fn is_blocked(&self) -> bool {
        self.held.is_some()
    }

    /// Ready when the peer has reset the stream, or the connection is gone.
    pub(crate) fn poll_reset(&mut self, cx: &mut Context<'_>) -> Poll<h2::Error> {
        self.stream.poll_reset(cx).map(|reason| reason.map_or_else(|error| error, Into::into))
    }

    /// Ends the stream in the middle.
    pub(crate) fn reset(&mut self, reason: h2::Reason) {
        self.stream.send_reset(reason);
    }

    /// Sends what can be sent; ready when the end of the body is with h2.
    pub(crate) fn poll<B>(&mut self, cx: &mut Context<'_>, body: &mut B) -> Poll<Result<(), SendError<B::Error>>>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        for _ in 0..FRAMES_PER_POLL {
            if let Poll::Ready(reason) = self.poll_reset(cx) {
                return Poll::Ready(Err(SendError::Peer(reason)));
            }
            if self.held.is_some() {
                ready!(self.poll_window(cx))?;
            }
            if let Some((mut data, last)) = self.held.take() {
                let room = self.stream.capacity().min(data.len());
                let piece = data.split_to(room);
                let last_piece = last && data.is_empty();
                self.stream.send_data(piece, last_piece)?;
                self.taken += room as u64;
                if last_piece {
                    return Poll::Ready(Ok(()));
                }
                if !data.is_empty() {
                    self.held = Some((data, last));
                    continue;
                }
            }
            let frame = match ready!(Pin::new(&mut *body).poll_frame(cx)) {
                Some(Ok(frame)) => frame,
                Some(Err(error)) => return Poll::Ready(Err(SendError::Body(error))),
                None => {
                    self.stream.send_data(Bytes::new(), true)?;
                    return Poll::Ready(Ok(()));
                }
            };
            match frame.into_data() {
                Ok(data) if data.is_empty() && !body.is_end_stream() => {}
                Ok(data) => self.held = Some((data, body.is_end_stream())),
                Err(frame) => {
                    if let Ok(trailers) = frame.into_trailers() {
                        self.stream.send_trailers(trailers)?;
                        return Poll::Ready(Ok(()));
                    }
                }
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn poll_window(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), h2::Error>> {
        let wanted = self.held.as_ref().map_or(0, |(data, _)| data.len());
        // Only for what is in hand: window that is claimed and not used would be missing elsewhere.
        self.stream.reserve_capacity(wanted);
        while wanted > 0 && self.stream.capacity() == 0 {
            match ready!(self.stream.poll_capacity(cx)) {
                Some(Ok(_)) => {}
                Some(Err(error)) => return Poll::Ready(Err(error)),
                // It takes nothing any more: what is sent next says why.
                None => return Poll::Ready(Ok(())),
            }
        }
        Poll::Ready(Ok(()))
    }
}
