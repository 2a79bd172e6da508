//! One direction of a tunnel: from a source to a destination, with memory of its own only while a write is blocked.

use std::cell::{Cell, RefCell};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::frames::{Follower, Sender, going_away};
use crate::timer::{self, Tick};

/// What one read takes at most.
const CHUNK: usize = 64 * 1024;
/// Rounds of read and write in one poll: a fast pair must not starve the other tunnels of the worker.
const ROUNDS: usize = 16;

thread_local! {
    /// What all tunnels of a thread read into. Used and done with inside one poll.
    static BUFFER: RefCell<Box<[u8]>> = RefCell::new(vec![0; CHUNK].into_boxed_slice());
}

/// How far a poll came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// The sockets will wake the task.
    Waiting,
    /// It had its share; to be polled again soon.
    Yielded,
    /// Nothing is to be done in this direction any more.
    Done,
}

/// Which end of the direction failed.
#[derive(Debug)]
pub(super) enum Failure {
    Source(io::Error),
    Destination(io::Error),
}

/// Its state between two polls.
#[derive(Debug)]
pub(super) struct Direction {
    /// Read, not written.
    left: Bytes,
    /// Stands where the destination stands; once sealed, where the source stands. Without one it is no WebSocket.
    frames: Option<Follower>,
    sender: Sender,
    /// Since when the destination takes nothing.
    blocked: Tick,
    /// The source has ended.
    ended: bool,
    /// The destination has been told so, or is dead.
    shut: bool,
    /// Written, not flushed.
    dirty: bool,
    /// A Close is to go in at the next boundary.
    closing: bool,
    /// The last byte for the destination is in `left` or was written; what the source says now is only looked at.
    sealed: bool,
}

impl Direction {
    /// `first` is what was read from the source already.
    pub(super) fn new(sender: Sender, first: Bytes, websocket: bool) -> Self {
        Self {
            left: first,
            frames: websocket.then(|| Follower::new(sender)),
            sender,
            blocked: Tick::NEVER,
            ended: false,
            shut: false,
            dirty: false,
            closing: false,
            sealed: false,
        }
    }

    /// Since when the destination takes nothing, `NEVER` while it does.
    pub(super) fn blocked(&self) -> Tick {
        self.blocked
    }

    /// Whether the source ended the tunnel: by a Close frame or its end of the stream.
    pub(super) fn source_ended(&self) -> bool {
        self.ended || self.close_passed()
    }

    /// Whether a Close frame came from the source.
    pub(super) fn close_passed(&self) -> bool {
        self.frames.is_some_and(|frames| frames.has_closed())
    }

    /// Gives the direction up: its destination is dead.
    pub(super) fn abandon(&mut self) {
        self.shut = true;
        self.blocked = Tick::NEVER;
        self.left = Bytes::new();
    }

    /// Asks for a Close at the next boundary.
    pub(super) fn begin_close(&mut self) {
        if std::mem::replace(&mut self.closing, true) || self.ended || self.shut {
            return;
        }
        if let Some(at) = self.boundary_in(&self.left) {
            let left = std::mem::take(&mut self.left);
            self.seal(&left, at);
        }
    }

    /// Whether it was asked for a Close and has no way to put one.
    pub(super) fn cannot_close(&self) -> bool {
        self.closing && !self.sealed && self.frames.is_none_or(|frames| frames.is_broken())
    }

    /// Moves what can be moved; `moved` counts what the destination took, `active` is set if anything came or went.
    pub(super) fn poll<S, D>(
        &mut self,
        cx: &mut Context<'_>,
        source: &mut S,
        destination: &mut D,
        moved: &Cell<u64>,
        active: &mut bool,
    ) -> Result<Progress, Failure>
    where
        S: AsyncRead + Unpin,
        D: AsyncWrite + Unpin,
    {
        for _ in 0..ROUNDS {
            if self.shut {
                return Ok(Progress::Done);
            }
            if !self.left.is_empty() {
                let Poll::Ready(written) = Pin::new(&mut *destination).poll_write(cx, &self.left) else {
                    return Ok(self.block());
                };
                let left = std::mem::take(&mut self.left);
                let count = self.wrote(&left, written, moved)?;
                *active = true;
                if count < left.len() {
                    self.left = left;
                    self.left.advance(count);
                }
                continue;
            }
            if self.ended {
                let Poll::Ready(shut) = Pin::new(&mut *destination).poll_shutdown(cx) else {
                    return Ok(self.block());
                };
                // A destination that is gone needs no FIN.
                self.shut = true;
                self.blocked = Tick::NEVER;
                shut.or_else(|error| if is_closed(&error) { Ok(()) } else { Err(Failure::Destination(error)) })?;
                return Ok(Progress::Done);
            }
            if self.sealed && self.frames.is_none_or(|frames| frames.has_closed() || frames.is_broken()) {
                return self.flush(cx, destination, Progress::Done);
            }
            let read = BUFFER.with_borrow_mut(|buffer| {
                let mut chunk = ReadBuf::new(buffer);
                match Pin::new(&mut *source).poll_read(cx, &mut chunk) {
                    Poll::Pending => Ok(false),
                    Poll::Ready(Err(error)) => Err(Failure::Source(error)),
                    Poll::Ready(Ok(())) => {
                        *active = true;
                        self.pass(cx, chunk.filled(), destination, moved).map(|()| true)
                    }
                }
            })?;
            if !read {
                return self.flush(cx, destination, Progress::Waiting);
            }
        }
        Ok(Progress::Yielded)
    }

    /// Takes a chunk that was just read, while nothing is left from before.
    fn pass<D>(
        &mut self,
        cx: &mut Context<'_>,
        chunk: &[u8],
        destination: &mut D,
        moved: &Cell<u64>,
    ) -> Result<(), Failure>
    where
        D: AsyncWrite + Unpin,
    {
        if chunk.is_empty() {
            self.ended = true;
        } else if self.sealed {
            self.follow(chunk);
        } else if let Some(at) = self.boundary_in(chunk).filter(|_| self.closing) {
            moved.set(moved.get() + at as u64);
            self.seal(chunk, at);
        } else {
            let count = match Pin::new(destination).poll_write(cx, chunk) {
                Poll::Pending => 0,
                Poll::Ready(written) => self.wrote(chunk, written, moved)?,
            };
            if count < chunk.len() {
                self.left = Bytes::copy_from_slice(&chunk[count..]);
            }
        }
        Ok(())
    }

    /// Books a write of the beginning of `bytes`.
    fn wrote(&mut self, bytes: &[u8], written: io::Result<usize>, moved: &Cell<u64>) -> Result<usize, Failure> {
        let count = written.map_err(Failure::Destination)?;
        if count == 0 {
            return Err(Failure::Destination(io::ErrorKind::WriteZero.into()));
        }
        if !self.sealed {
            self.follow(&bytes[..count]);
            moved.set(moved.get() + count as u64);
        }
        self.dirty = true;
        self.blocked = Tick::NEVER;
        Ok(count)
    }

    /// Makes the destination send what it holds (TLS; nothing for a plain socket), then returns `progress`.
    fn flush<D>(&mut self, cx: &mut Context<'_>, destination: &mut D, progress: Progress) -> Result<Progress, Failure>
    where
        D: AsyncWrite + Unpin,
    {
        if self.dirty {
            match Pin::new(destination).poll_flush(cx) {
                Poll::Pending => return Ok(self.block()),
                Poll::Ready(flushed) => flushed.map_err(Failure::Destination)?,
            }
            self.dirty = false;
            self.blocked = Tick::NEVER;
        }
        Ok(progress)
    }

    fn block(&mut self) -> Progress {
        if self.blocked == Tick::NEVER {
            self.blocked = timer::now();
        }
        Progress::Waiting
    }

    fn boundary_in(&self, bytes: &[u8]) -> Option<usize> {
        self.frames.and_then(|frames| frames.boundary_in(bytes))
    }

    fn follow(&mut self, bytes: &[u8]) {
        if let Some(frames) = &mut self.frames {
            frames.feed(bytes);
        }
    }

    /// Ends what the destination gets at `chunk[..at]`, and with our Close unless the source's has just passed.
    fn seal(&mut self, chunk: &[u8], at: usize) {
        self.follow(&chunk[..at]);
        let close: &[u8] = if self.close_passed() { &[] } else { going_away(self.sender) };
        self.left = Bytes::from([&chunk[..at], close].concat());
        self.sealed = true;
        self.follow(&chunk[at..]);
    }
}

/// Whether an error only says that the other side is gone.
pub(super) fn is_closed(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, NotConnected, UnexpectedEof};
    matches!(error.kind(), BrokenPipe | ConnectionAborted | ConnectionReset | NotConnected | UnexpectedEof)
}
