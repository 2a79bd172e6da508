//! The client's side of a connection as hyper sees it: bytes that were read before come first, and it is known whether
//! everything written has gone out. Without that a connection could be parked with half an answer in a buffer.

use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::serve::Parked;
use crate::timer::{self, Tick};

/// A client's stream.
#[derive(Debug)]
pub(crate) struct Io<S> {
    stream: S,
    early: Bytes,
    flow: Rc<Flow>,
}

/// What the connection's task wants to know of its stream while hyper holds it.
#[derive(Debug)]
pub(crate) struct Flow {
    /// Bytes were written since the last complete flush.
    dirty: Cell<bool>,
    /// Since when the client has taken nothing of what waits for it.
    blocked: Cell<Tick>,
    /// How many bytes the stream had taken and not sent when it was last blocked: TLS encrypts more than the socket takes.
    unsent: Cell<usize>,
}

impl Default for Flow {
    fn default() -> Self {
        Self { dirty: Cell::new(false), blocked: Cell::new(Tick::NEVER), unsent: Cell::new(0) }
    }
}

impl Flow {
    /// Whether all that was written is out.
    pub(crate) fn is_flushed(&self) -> bool {
        !self.dirty.get() && self.blocked.get() == Tick::NEVER
    }

    /// Since when the client does not take what it is sent; `NEVER` while it does. Whatever it takes begins it anew.
    pub(crate) fn blocked(&self) -> Tick {
        self.blocked.get()
    }

    fn block(&self, unsent: usize) {
        let before = self.unsent.replace(unsent);
        if self.blocked.get() == Tick::NEVER || unsent < before {
            self.blocked.set(timer::now());
        }
    }
}

impl<S> Io<S> {
    pub(crate) fn new(stream: S, early: Bytes, flow: Rc<Flow>) -> Self {
        Self { stream, early, flow }
    }

    /// The stream, and bytes that were given back but not read yet.
    pub(crate) fn into_inner(self) -> (S, Bytes) {
        (self.stream, self.early)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Io<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.early.has_remaining() {
            let count = self.early.len().min(buf.remaining());
            buf.put_slice(&self.early[..count]);
            self.early.advance(count);
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl<S: Parked> Io<S> {
    fn written(&self, result: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        self.flow.dirty.set(true);
        match result {
            Poll::Ready(_) => self.flow.blocked.set(Tick::NEVER),
            Poll::Pending => self.flow.block(self.stream.unsent()),
        }
        result
    }
}

impl<S: Parked> AsyncWrite for Io<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.written(result)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.written(result)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Poll::Ready(flushed) = Pin::new(&mut self.stream).poll_flush(cx) else {
            // What TLS has encrypted may wait for the client although no write does.
            self.flow.block(self.stream.unsent());
            return Poll::Pending;
        };
        self.flow.dirty.set(false);
        self.flow.blocked.set(Tick::NEVER);
        Poll::Ready(flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
