//! A socket with a session: what everything behind TLS reads from and writes to.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use rustls::CommonState;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::blocks::{INCOMING, JOINED, MOST, OUTGOING, READ, RECORD};
use super::session::Session;

/// Reads in one poll that bring no plaintext, before other tasks get their turn.
const ROUNDS: usize = 16;

/// The server's side of a TLS connection whose handshake is over.
///
/// What was written is with the socket after a flush, or in `out` for as long as the client takes nothing; more is not taken
/// meanwhile. Session tickets wait in `out`, too: they go with the first answer, or when there is nothing to be read.
#[derive(Debug)]
pub(crate) struct ServerStream<S> {
    io: S,
    session: Session,
    /// Read, and not a whole record or message yet.
    kept: BytesMut,
    /// Decrypted, and not read yet.
    plain: BytesMut,
    /// Encrypted, and not written yet.
    out: BytesMut,
    /// A close_notify was sent.
    shut: bool,
}

impl<S> ServerStream<S> {
    pub(super) fn new(io: S, session: Session, kept: BytesMut) -> Self {
        Self { io, session, kept, plain: BytesMut::new(), out: BytesMut::new(), shut: false }
    }

    /// What was agreed on in the handshake.
    pub(crate) fn agreed(&self) -> &CommonState {
        self.session.state()
    }

    /// Encrypted bytes that the client did not take yet.
    pub(crate) fn unsent(&self) -> usize {
        self.out.len()
    }

    /// Bytes of its own that it has room for.
    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        self.kept.capacity() + self.plain.capacity() + self.out.capacity()
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> ServerStream<S> {
    /// Ready when there is plaintext to be read, or an error when there will not be any: the client has ended its side.
    pub(crate) fn poll_readable(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        for _ in 0..ROUNDS {
            // What came together with the end of the handshake is decrypted already.
            if !self.plain.is_empty() {
                return Poll::Ready(Ok(()));
            }
            if self.session.has_ended() || self.session.has_failed() {
                return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
            }
            ready!(self.poll_more(cx, &mut ReadBuf::new(&mut [])))?;
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Takes what was kept since the connection began.
    pub(super) fn take_kept(&mut self) -> io::Result<()> {
        let Self { session, kept, plain, out, .. } = self;
        session.take(&mut [], kept, out, |bytes| plain.extend_from_slice(bytes))
    }

    /// Reads once from the socket. Plaintext that `buf` has no room for is kept.
    pub(super) fn poll_more(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let Self { io, session, kept, plain, out, .. } = self;
        // No more than can be taken; but a whole record, which cannot be had in parts.
        let most = buf.remaining().saturating_add(READ - MOST).clamp(RECORD, READ);
        let result = INCOMING.with_borrow_mut(|block| {
            let mut read = ReadBuf::new(&mut block[..most]);
            ready!(Pin::new(io).poll_read(cx, &mut read))?;
            if read.filled().is_empty() {
                // Without a close_notify anybody could have cut it off (RFC 8446 6.1).
                return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
            }
            Poll::Ready(session.take(read.filled_mut(), kept, out, |bytes| {
                let (now, later) = bytes.split_at(bytes.len().min(buf.remaining()));
                buf.put_slice(now);
                plain.extend_from_slice(later);
            }))
        });
        match result {
            Poll::Pending => self.send_meanwhile(cx)?,
            // An alert may say why. If it cannot be sent the reason is still this one.
            Poll::Ready(Err(_)) => drop(self.send_meanwhile(cx)),
            Poll::Ready(Ok(())) => {}
        }
        result
    }

    /// Writes what waits, if the client takes it.
    pub(super) fn send_meanwhile(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        match self.poll_send(cx) {
            Poll::Ready(result) => result,
            Poll::Pending => Ok(()),
        }
    }

    /// Ready when nothing waits to be written any more.
    pub(super) fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.out.is_empty() {
            match ready!(Pin::new(&mut self.io).poll_write(cx, &self.out))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                count => self.out.advance(count),
            }
            if self.out.is_empty() {
                self.out = BytesMut::new();
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for ServerStream<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !this.plain.is_empty() {
            let count = this.plain.len().min(buf.remaining());
            buf.put_slice(&this.plain[..count]);
            this.plain.advance(count);
            if this.plain.is_empty() {
                this.plain = BytesMut::new();
            }
            return Poll::Ready(Ok(()));
        }
        let before = buf.remaining();
        for _ in 0..ROUNDS {
            if this.session.has_failed() {
                return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
            }
            if buf.remaining() < before || before == 0 || this.session.has_ended() {
                return Poll::Ready(Ok(()));
            }
            ready!(this.poll_more(cx, buf))?;
        }
        if buf.remaining() < before || this.session.has_ended() {
            return Poll::Ready(Ok(()));
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for ServerStream<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.shut {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        if this.out.len() > JOINED {
            ready!(this.poll_send(cx))?;
        }
        let Self { io, session, kept, out, .. } = this;
        OUTGOING.with_borrow_mut(|block| {
            let joined = out.len();
            block[..joined].copy_from_slice(out);
            let (taken, length) = session.encrypt(pieces, kept, &mut block[joined..])?;
            let records = &block[..joined + length];
            if records.is_empty() {
                return Poll::Ready(Ok(taken));
            }
            let written = match Pin::new(io).poll_write(cx, records) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(written) => written?,
                Poll::Pending => 0,
            };
            *out = if written < records.len() { BytesMut::from(&records[written..]) } else { BytesMut::new() };
            Poll::Ready(Ok(taken))
        })
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_send(cx))?;
        Pin::new(&mut this.io).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !std::mem::replace(&mut this.shut, true) {
            this.session.close(&mut this.kept, &mut this.out);
        }
        ready!(this.poll_send(cx))?;
        match ready!(Pin::new(&mut this.io).poll_shutdown(cx)) {
            // Who is gone needs no FIN.
            Err(error) if error.kind() == io::ErrorKind::NotConnected => Poll::Ready(Ok(())),
            result => Poll::Ready(result),
        }
    }
}
