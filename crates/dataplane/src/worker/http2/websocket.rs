//! A WebSocket on a stream (RFC 8441): its extended CONNECT becomes the handshake of RFC 6455 that backends of HTTP/1.1 know,
//! and their 101 becomes a 200. What moves on it then is movement of its connection.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use aws_lc_rs::{digest, rand};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use h2::ext::Protocol;
use http::header::{CONNECTION, HeaderValue, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE};
use http::{Method, request};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::Open;
use crate::exchange::Acceptance;
use crate::http2::Duplex;

/// RFC 6455 1.3.
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// Turns a request for a WebSocket into its handshake; whether it was one. A CONNECT for anything else is left as it is, to be
/// refused.
pub(super) fn prepare(parts: &mut request::Parts) -> bool {
    let asked = |protocol: &Protocol| parts.method == Method::CONNECT && protocol.as_str() == "websocket";
    if !parts.extensions.get::<Protocol>().is_some_and(asked) {
        return false;
    }
    let Some((key, accept)) = keys() else { return false };
    parts.method = Method::GET;
    parts.extensions.insert(Acceptance(accept));
    let headers = &mut parts.headers;
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(SEC_WEBSOCKET_KEY, key);
    headers.entry(SEC_WEBSOCKET_VERSION).or_insert(HeaderValue::from_static("13"));
    true
}

/// A fresh key and what it is to be accepted with (RFC 6455 4.2.2).
fn keys() -> Option<(HeaderValue, HeaderValue)> {
    let mut key = [0; 16];
    rand::fill(&mut key).ok()?;
    let key = STANDARD.encode(key);
    let accept = accepting(key.as_bytes());
    Some((key.try_into().ok()?, accept.try_into().ok()?))
}

/// The client's side of a tunnel.
#[derive(Debug)]
pub(super) struct Client {
    stream: Duplex,
    open: Open,
}

impl Client {
    pub(super) fn new(stream: Duplex, open: Open) -> Self {
        Self { stream, open }
    }
}

impl AsyncRead for Client {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        self.open.0.touch();
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Client {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if self.open.0.backlog.poll_tunnel(cx).is_pending() {
            return self.stream.poll_reset(cx).map(Err);
        }
        let count = ready!(Pin::new(&mut self.stream).poll_write(cx, buf))?;
        let session = &self.open.0;
        session.touch();
        // As a piece of an answer: the client will say that it has taken it.
        session.meter.sent();
        session.backlog.add(count as u64);
        Poll::Ready(Ok(count))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

fn accepting(key: &[u8]) -> String {
    STANDARD.encode(digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, &[key, GUID].concat()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_as_rfc_6455_section_1_3() {
        assert_eq!(accepting(b"dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        let ((one, accept), (two, _)) = (keys().unwrap(), keys().unwrap());
        assert_ne!(one, two);
        assert_eq!(accepting(one.as_bytes()), accept.to_str().unwrap());
    }
}
