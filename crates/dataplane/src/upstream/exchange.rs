//! One request to a backend, over a connection of its own or a stream of a shared one. Both have the same calls.

use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use super::h1::{BodyLength, Connection, EncodeError, Error, RequestHead, ResponseEvent, SendError};
use super::http2;

/// What carries a request.
#[derive(Debug)]
pub(crate) enum Carrier {
    /// A connection of HTTP/1.1; goes back to the pool.
    Http1(Connection<TcpStream>),
    /// The same over TLS. Boxed, so that connections without TLS are no larger for it.
    Tls(Box<Connection<TlsStream<TcpStream>>>),
    /// A stream of HTTP/2; over with its answer.
    Http2(http2::Exchange),
}

/// What is left of a connection after a 101.
#[derive(Debug)]
pub(crate) enum Socket {
    /// Without TLS.
    Plain(TcpStream),
    /// With TLS.
    Tls(Box<TlsStream<TcpStream>>),
}

/// The same call on any.
macro_rules! either {
    ($self:ident, $carrier:ident => $call:expr) => {
        match $self {
            Carrier::Http1($carrier) => $call,
            Carrier::Tls($carrier) => $call,
            Carrier::Http2($carrier) => $call,
        }
    };
}

impl Carrier {
    pub(crate) fn start(
        &mut self,
        head: &RequestHead<'_>,
        body: BodyLength,
        request_is_head: bool,
    ) -> Result<(), EncodeError> {
        match self {
            Self::Http1(connection) => connection.start(head, body, request_is_head),
            Self::Tls(connection) => connection.start(head, body, request_is_head),
            Self::Http2(stream) => stream.start(head, body),
        }
    }

    pub(crate) fn poll_send<B>(&mut self, cx: &mut Context<'_>, body: &mut B) -> Poll<Result<(), SendError<B::Error>>>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        either!(self, carrier => carrier.poll_send(cx, body))
    }

    pub(crate) fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<Result<ResponseEvent, Error>> {
        either!(self, carrier => carrier.poll_head(cx))
    }

    pub(crate) fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        either!(self, carrier => carrier.poll_frame(cx))
    }

    pub(crate) fn take_whole_body(&mut self) -> Option<Bytes> {
        either!(self, carrier => carrier.take_whole_body())
    }

    pub(crate) fn is_end_stream(&self) -> bool {
        either!(self, carrier => carrier.is_end_stream())
    }

    pub(crate) fn size_hint(&self) -> SizeHint {
        either!(self, carrier => carrier.size_hint())
    }

    pub(crate) fn bytes_sent(&self) -> u64 {
        either!(self, carrier => carrier.bytes_sent())
    }

    pub(crate) fn anything_received(&self) -> bool {
        either!(self, carrier => carrier.anything_received())
    }

    pub(crate) fn waits_for_body(&self) -> bool {
        either!(self, carrier => carrier.waits_for_body())
    }

    /// Whether nothing of the request can be lost: it may be sent elsewhere, whatever it is.
    pub(crate) fn is_untouched(&self) -> bool {
        // A connection of HTTP/1.1 takes the request with its first call.
        matches!(self, Self::Http2(stream) if stream.is_untouched())
    }

    /// Whether another request may follow.
    pub(crate) fn is_reusable(&self) -> bool {
        match self {
            Self::Http1(connection) => connection.is_reusable(),
            Self::Tls(connection) => connection.is_reusable(),
            Self::Http2(_) => false,
        }
    }

    /// Ready when an idle connection is of no more use.
    pub(crate) fn poll_idle(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match self {
            Self::Http1(connection) => connection.poll_idle(cx),
            Self::Tls(connection) => connection.poll_idle(cx),
            Self::Http2(_) => Poll::Ready(()),
        }
    }

    /// The socket after a 101, and what was read behind the head. A stream has neither.
    pub(crate) fn into_parts(self) -> Option<(Socket, Bytes)> {
        match self {
            Self::Http1(connection) => {
                let (stream, late) = connection.into_parts();
                Some((Socket::Plain(stream), late))
            }
            Self::Tls(connection) => {
                let (stream, late) = connection.into_parts();
                Some((Socket::Tls(Box::new(stream)), late))
            }
            Self::Http2(_) => None,
        }
    }
}
