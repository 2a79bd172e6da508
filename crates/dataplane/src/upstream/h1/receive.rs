//! The read buffer of one connection: as few reads as possible while something comes, no memory while nothing does.

use std::cell::RefCell;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt, ReadBuf};

/// The first block: a head and a small body in one read.
const MIN_READ: usize = 8 * 1024;
/// The largest block.
const MAX_READ: usize = 64 * 1024;
/// Room for the framing between and after chunks, so that the end of a body comes with its last data.
const SLACK: u64 = 64;

thread_local! {
    /// Where the first block of an answer is read to: waiting for it costs no allocation, and a small answer only its own
    /// length. Never used across an await.
    static FIRST: RefCell<Box<[u8; MIN_READ]>> = RefCell::new(Box::new([0; MIN_READ]));
}

/// Bytes that were read and not yet decoded, and how much to read at once.
#[derive(Debug)]
pub(super) struct ReadBuffer {
    pub(super) bytes: BytesMut,
    /// Doubles whenever a read fills the buffer.
    size: usize,
}

impl Default for ReadBuffer {
    fn default() -> Self {
        Self { bytes: BytesMut::new(), size: MIN_READ }
    }
}

impl ReadBuffer {
    /// Reads once and appends; 0 is the end of the stream. `expected` is how much is certain to come.
    pub(super) fn poll_fill<S: AsyncRead + Unpin>(
        &mut self,
        io: &mut S,
        cx: &mut Context<'_>,
        expected: Option<u64>,
    ) -> Poll<io::Result<usize>> {
        if expected.is_none() && self.bytes.is_empty() && self.size == MIN_READ {
            return self.poll_first(io, cx);
        }
        self.make_room(expected);
        let room = self.bytes.capacity() - self.bytes.len();
        // A future without state of its own: pending means that nothing was taken from the socket.
        match pin!(io.read_buf(&mut self.bytes)).poll(cx) {
            Poll::Ready(Ok(read)) => {
                if read == room {
                    self.size = (self.size * 2).min(MAX_READ);
                }
                Poll::Ready(Ok(read))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => Poll::Pending,
        }
    }

    /// The first read of an answer, or of what follows when all before it is decoded.
    fn poll_first<S: AsyncRead + Unpin>(&mut self, io: &mut S, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        FIRST.with_borrow_mut(|block| {
            let mut buffer = ReadBuf::new(&mut block[..]);
            ready!(Pin::new(io).poll_read(cx, &mut buffer))?;
            let read = buffer.filled();
            self.bytes = BytesMut::from(read);
            if read.len() == MIN_READ {
                self.size = MIN_READ * 2;
            }
            Poll::Ready(Ok(read.len()))
        })
    }

    /// More room than expected bytes where that fits: a read that does not fill its buffer tells tokio that the socket is
    /// drained, which saves the next attempt.
    fn make_room(&mut self, expected: Option<u64>) {
        let room = self.bytes.capacity() - self.bytes.len();
        let (enough, block) = match expected {
            Some(left) => {
                let block = usize::try_from(left.saturating_add(SLACK)).map_or(MAX_READ, |left| left.min(MAX_READ));
                (block.min(MAX_READ / 2), block.max(self.size))
            }
            None => (self.size / 2, self.size),
        };
        if room < enough {
            self.bytes.reserve(block);
        }
    }

    /// Gives the memory back. Bytes that are still there are kept: somebody must judge them.
    pub(super) fn release(&mut self) {
        self.size = MIN_READ;
        if self.bytes.is_empty() {
            self.bytes = BytesMut::new();
        }
    }
}
