//! A stream as two-way bytes, for a tunnel (RFC 8441): what a socket is to a tunnel of HTTP/1.1.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use h2::{RecvStream, SendStream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A stream after the head of its answer. FIN is END_STREAM, a reset RST_STREAM (RFC 8441 5).
#[derive(Debug)]
pub(crate) struct Duplex {
    send: SendStream<Bytes>,
    receive: RecvStream,
    /// Came, and is not read yet: less than one frame.
    left: Bytes,
    ended: bool,
}

impl Duplex {
    pub(crate) fn new(send: SendStream<Bytes>, receive: RecvStream) -> Self {
        Self { send, receive, left: Bytes::new(), ended: false }
    }

    /// Ready when the peer has reset the stream, or its connection is gone.
    pub(crate) fn poll_reset(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        self.send.poll_reset(cx).map(|_| io::ErrorKind::ConnectionReset.into())
    }
}

/// As a socket would say it.
fn as_io(error: h2::Error) -> io::Error {
    if error.is_io() {
        return error.into_io().unwrap_or_else(|| io::ErrorKind::ConnectionReset.into());
    }
    io::Error::new(io::ErrorKind::ConnectionReset, error)
}

impl AsyncRead for Duplex {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        while self.left.is_empty() {
            match ready!(self.receive.poll_data(cx)) {
                Some(Ok(data)) => self.left = data,
                Some(Err(error)) => return Poll::Ready(Err(as_io(error))),
                None => return Poll::Ready(Ok(())),
            }
        }
        let count = self.left.len().min(buf.remaining());
        buf.put_slice(&self.left[..count]);
        self.left.advance(count);
        if self.left.is_empty() {
            // It would keep the whole block alive that it is a slice of.
            self.left = Bytes::new();
        }
        // What is read makes room for more. Fails only when the stream is over.
        let _ = self.receive.flow_control().release_capacity(count);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Duplex {
    /// Takes no more than the peer's windows allow: nothing waits in a queue.
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if let Poll::Ready(error) = self.poll_reset(cx) {
            return Poll::Ready(Err(error));
        }
        self.send.reserve_capacity(buf.len());
        while self.send.capacity() == 0 {
            match ready!(self.send.poll_capacity(cx)) {
                Some(Ok(_)) => {}
                Some(Err(error)) => return Poll::Ready(Err(as_io(error))),
                None => return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
            }
        }
        let count = self.send.capacity().min(buf.len());
        self.send.send_data(Bytes::copy_from_slice(&buf[..count]), false).map_err(as_io)?;
        Poll::Ready(Ok(count))
    }

    /// The connection's task writes whatever there is.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !std::mem::replace(&mut self.ended, true) {
            self.send.reserve_capacity(0);
            self.send.send_data(Bytes::new(), true).map_err(as_io)?;
        }
        Poll::Ready(Ok(()))
    }
}
