//! The beginning of a connection: its first bytes, the name that the client asks for, and the handshake.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Poll, ready};

use bytes::BytesMut;
use rustls::ProtocolVersion;
use rustls::server::{Accepted, Acceptor, ServerConfig};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, ReadBuf};

use super::blocks::{INCOMING, RECORD};
use super::server::ServerStream;
use super::session::Session;

/// First byte of a TLS record that carries a handshake (RFC 8446 5.1).
const HANDSHAKE_RECORD: u8 = 22;

/// Why a handshake is refused before there is a configuration for it (RFC 8446 6.2).
#[derive(Clone, Copy, Debug)]
pub(crate) enum Alert {
    /// There is no certificate.
    HandshakeFailure = 40,
    /// There is nobody of that name (RFC 6066 3), nor anybody for clients that ask for none.
    UnrecognizedName = 112,
}

/// What the first bytes say.
#[derive(Debug)]
pub(crate) enum Begun<S> {
    Tls(Opening<S>),
    /// They are no TLS; they are gone.
    Other(S),
}

/// A connection of which nothing is known but its first bytes.
#[derive(Debug)]
pub(crate) struct Opening<S> {
    io: S,
    bytes: BytesMut,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Opening<S> {
    /// Reads the first bytes.
    pub(crate) async fn begin(io: S) -> io::Result<Begun<S>> {
        let mut opening = Self { io, bytes: BytesMut::new() };
        opening.read().await?;
        let is_tls = opening.bytes.first() == Some(&HANDSHAKE_RECORD);
        Ok(if is_tls { Begun::Tls(opening) } else { Begun::Other(opening.io) })
    }

    /// Reads the ClientHello, for whoever has to choose a configuration by it. The bytes stay, and go to the session: the
    /// library has no way from the one to the other.
    pub(crate) async fn client_hello(&mut self) -> io::Result<Accepted> {
        let mut acceptor = Acceptor::default();
        let mut shown = 0;
        loop {
            while shown < self.bytes.len() {
                shown += acceptor.read_tls(&mut &self.bytes[shown..])?;
                match acceptor.accept() {
                    Ok(Some(hello)) => return Ok(hello),
                    Ok(None) => {}
                    Err((error, mut alert)) => {
                        let mut record = Vec::new();
                        alert.write_all(&mut record)?;
                        // If it cannot be sent the reason is still this one.
                        let _ = self.io.write_all(&record).await;
                        return Err(io::Error::new(io::ErrorKind::InvalidData, error));
                    }
                }
            }
            // The acceptor ends it when it gets too long.
            self.read().await?;
        }
    }

    /// Ends it; the result is the reason, for logs.
    pub(crate) async fn refuse(mut self, alert: Alert) -> io::Error {
        // A record of an alert, version 1.2 as in every TLS since, two bytes long: it is fatal (RFC 8446 5.1, 6).
        let record = [21, 3, 3, 0, 2, 2, alert as u8];
        // If it cannot be sent the reason is still this one.
        let _ = self.io.write_all(&record).await;
        let _ = self.io.shutdown().await;
        let text = match alert {
            Alert::HandshakeFailure => "the listener has no certificate that can be used",
            Alert::UnrecognizedName => "no HTTPS listener for the server name",
        };
        io::Error::new(io::ErrorKind::NotFound, text)
    }

    /// Makes the handshake.
    pub(crate) async fn accept(self, config: Arc<ServerConfig>) -> io::Result<ServerStream<S>> {
        let session = Session::new(config).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        let mut stream = ServerStream::new(self.io, session, self.bytes);
        let mut taken = stream.take_kept();
        loop {
            if taken.is_err() || !stream.agreed().is_handshaking() {
                break;
            }
            // Both at once: a client may first want to be rid of a message that we have not read (the library's reads nothing
            // while its own is not sent).
            taken = poll_fn(|cx| {
                stream.send_meanwhile(cx)?;
                stream.poll_more(cx, &mut ReadBuf::new(&mut []))
            })
            .await;
        }
        // In TLS 1.3 the client has the last word of the handshake, and what is left are tickets.
        if taken.is_err() || stream.agreed().protocol_version() != Some(ProtocolVersion::TLSv1_3) {
            let sent = poll_fn(|cx| stream.poll_send(cx)).await;
            taken.and(sent)?;
        }
        Ok(stream)
    }

    /// Reads once.
    async fn read(&mut self) -> io::Result<()> {
        let Self { io, bytes } = self;
        poll_fn(|cx| {
            INCOMING.with_borrow_mut(|block| {
                let mut read = ReadBuf::new(&mut block[..RECORD]);
                ready!(Pin::new(&mut *io).poll_read(cx, &mut read))?;
                if read.filled().is_empty() {
                    return Poll::Ready(Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the client went away")));
                }
                bytes.extend_from_slice(read.filled());
                Poll::Ready(Ok(()))
            })
        })
        .await
    }
}
