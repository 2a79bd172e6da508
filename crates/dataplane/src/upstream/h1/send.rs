//! The write side of one connection: a head and a body, in as few writes as possible, nothing copied but small bodies
//! for sockets that cannot write from several places.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use http_body::{Body, Frame};
use tokio::io::AsyncWrite;

use super::encode::{
    BodyLength, CHUNK_END, CHUNK_END_AND_LAST, EncodeError, LAST_CHUNK, RequestHead, encode_chunk_size, encode_head,
    encode_trailers,
};
use super::error::{Error, SendError};

/// The usual head fits, so that its buffer is allocated once.
const HEAD_CAPACITY: usize = 1024;
/// Frames taken from the body in one poll before other tasks get their turn.
const FRAMES_PER_POLL: usize = 16;
/// Up to so many bytes are copied behind the head when the socket cannot write several slices at once.
const COPY_LIMIT: usize = 8 * 1024;

/// What is still to be taken from the body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    Done,
    /// So many bytes; never zero.
    Length(u64),
    Chunks,
}

/// What is to be written, in this order: `front` from `written` on, `data`, `tail`.
#[derive(Debug)]
pub(super) struct Outgoing {
    front: Vec<u8>,
    written: usize,
    data: Bytes,
    tail: &'static [u8],
    source: Source,
    unflushed: bool,
    sent: u64,
}

impl Default for Outgoing {
    fn default() -> Self {
        Self {
            front: Vec::new(),
            written: 0,
            data: Bytes::new(),
            tail: b"",
            source: Source::Done,
            unflushed: false,
            sent: 0,
        }
    }
}

impl Outgoing {
    pub(super) fn start(&mut self, head: &RequestHead<'_>, body: BodyLength) -> Result<(), EncodeError> {
        let mut front = Vec::with_capacity(HEAD_CAPACITY);
        encode_head(&mut front, head, body)?;
        let source = match body {
            BodyLength::Empty | BodyLength::Known(0) => Source::Done,
            BodyLength::Known(length) => Source::Length(length),
            BodyLength::Chunked => Source::Chunks,
        };
        *self = Self { front, source, ..Self::default() };
        Ok(())
    }

    /// Bytes of this request that the socket took.
    pub(super) fn sent(&self) -> u64 {
        self.sent
    }

    /// Bytes of memory held.
    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        self.front.capacity() + self.data.len()
    }

    /// Whether all that has come of the body is out, and more must come.
    pub(super) fn waits_for_body(&self) -> bool {
        self.source != Source::Done && !self.is_queued()
    }

    /// Whether the request is out to its last byte.
    pub(super) fn is_done(&self) -> bool {
        self.source == Source::Done && !self.is_queued() && !self.unflushed
    }

    pub(super) fn poll<S, B>(
        &mut self,
        io: &mut S,
        cx: &mut Context<'_>,
        body: &mut B,
    ) -> Poll<Result<(), SendError<B::Error>>>
    where
        S: AsyncWrite + Unpin,
        B: Body<Data = Bytes> + Unpin,
    {
        for _ in 0..FRAMES_PER_POLL {
            // First the body, so that a head and what there is of a body go out together.
            let mut starved = false;
            if self.source != Source::Done && self.data.is_empty() && self.tail.is_empty() {
                match Pin::new(&mut *body).poll_frame(cx) {
                    Poll::Ready(Some(Ok(frame))) => self.queue(frame, body.is_end_stream())?,
                    Poll::Ready(Some(Err(error))) => return Poll::Ready(Err(SendError::Body(error))),
                    Poll::Ready(None) => self.queue_end()?,
                    Poll::Pending => starved = true,
                }
            }
            ready!(self.poll_write(io, cx)).map_err(Error::Write)?;
            if starved || self.source == Source::Done {
                ready!(self.poll_flush(io, cx)).map_err(Error::Write)?;
                return if starved { Poll::Pending } else { Poll::Ready(Ok(())) };
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn queue<E>(&mut self, frame: Frame<Bytes>, is_last: bool) -> Result<(), SendError<E>> {
        let data = match frame.into_data() {
            Ok(data) => data,
            Err(frame) => return self.queue_trailers(frame),
        };
        match self.source {
            _ if data.is_empty() => {}
            Source::Done => return Err(SendError::BodyTooLong),
            Source::Length(left) => {
                let left = left.checked_sub(data.len() as u64).ok_or(SendError::BodyTooLong)?;
                self.source = if left == 0 { Source::Done } else { Source::Length(left) };
                self.data = data;
            }
            Source::Chunks => {
                encode_chunk_size(&mut self.front, data.len());
                self.data = data;
                self.tail = CHUNK_END;
                if is_last {
                    self.tail = CHUNK_END_AND_LAST;
                    self.source = Source::Done;
                }
            }
        }
        Ok(())
    }

    fn queue_trailers<E>(&mut self, frame: Frame<Bytes>) -> Result<(), SendError<E>> {
        match frame.into_trailers() {
            Ok(trailers) if self.source == Source::Chunks => {
                encode_trailers(&mut self.front, &trailers);
                self.source = Source::Done;
                Ok(())
            }
            // No place for them behind a Content-Length; nor for a kind of frame that is not known yet.
            Ok(_) | Err(_) => Ok(()),
        }
    }

    fn queue_end<E>(&mut self) -> Result<(), SendError<E>> {
        match self.source {
            Source::Done => {}
            Source::Length(missing) => return Err(SendError::BodyTooShort { missing }),
            Source::Chunks => {
                self.front.extend_from_slice(LAST_CHUNK);
                self.source = Source::Done;
            }
        }
        Ok(())
    }

    fn is_queued(&self) -> bool {
        self.written < self.front.len() || !self.data.is_empty() || !self.tail.is_empty()
    }

    /// Writes until nothing is queued.
    fn poll_write<S: AsyncWrite + Unpin>(&mut self, io: &mut S, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.is_queued() {
            let front = &self.front[self.written..];
            let one = match (front.is_empty(), self.data.is_empty(), self.tail.is_empty()) {
                (false, true, true) => Some(front),
                (true, false, true) => Some(&self.data[..]),
                (true, true, false) => Some(self.tail),
                _ => None,
            };
            let io = Pin::new(&mut *io);
            let wrote = if let Some(one) = one {
                ready!(io.poll_write(cx, one))?
            } else if io.is_write_vectored() {
                let parts = [IoSlice::new(front), IoSlice::new(&self.data), IoSlice::new(self.tail)];
                ready!(io.poll_write_vectored(cx, &parts))?
            } else if self.data.len() <= COPY_LIMIT {
                self.front.extend_from_slice(&self.data);
                self.front.extend_from_slice(self.tail);
                self.data = Bytes::new();
                self.tail = b"";
                continue;
            } else {
                let next = if front.is_empty() { &self.data[..] } else { front };
                ready!(io.poll_write(cx, next))?
            };
            if wrote == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.advance(wrote);
        }
        // Empty, but it would keep the block alive that it is a slice of.
        self.data = Bytes::new();
        if self.source == Source::Done {
            self.front = Vec::new();
        }
        Poll::Ready(Ok(()))
    }

    /// Forgets `wrote` bytes from the front of the queue.
    fn advance(&mut self, wrote: usize) {
        self.sent += wrote as u64;
        self.unflushed = true;
        let front = wrote.min(self.front.len() - self.written);
        self.written += front;
        if self.written == self.front.len() {
            self.front.clear();
            self.written = 0;
        }
        let data = (wrote - front).min(self.data.len());
        self.data.advance(data);
        let tail = (wrote - front - data).min(self.tail.len());
        self.tail = &self.tail[tail..];
    }

    fn poll_flush<S: AsyncWrite + Unpin>(&mut self, io: &mut S, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.unflushed {
            ready!(Pin::new(io).poll_flush(cx))?;
            self.unflushed = false;
        }
        Poll::Ready(Ok(()))
    }
}
