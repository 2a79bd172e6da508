//! Which protocol a cleartext connection speaks: its first bytes say it (RFC 9113 3.3, prior knowledge).

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, ReadBuf};

/// What every HTTP/2 client begins with (RFC 9113 3.4), and no request of HTTP/1.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// What one read takes.
const BLOCK: usize = 8 * 1024;

thread_local! {
    /// Where it is read to: what is kept is as long as what came. Never used across an await.
    static FIRST: RefCell<Box<[u8]>> = RefCell::new(vec![0; BLOCK].into_boxed_slice());
}

/// The bytes that decided it; they are still to be served.
#[derive(Debug)]
pub(super) enum First {
    Http1(Bytes),
    Http2(Bytes),
}

/// What is there now, without waiting; `None` when nothing is. A fresh socket may be said to be readable and have nothing.
pub(super) async fn there_now<S: AsyncRead + Unpin>(stream: &mut S) -> Option<io::Result<BytesMut>> {
    let mut bytes = BytesMut::new();
    let read = poll_fn(|cx| match poll_append(stream, cx, &mut bytes) {
        Poll::Ready(read) => Poll::Ready(Some(read)),
        Poll::Pending => Poll::Ready(None),
    });
    let read = read.await?;
    Some(read.map(|_count| bytes))
}

/// Reads on from `bytes` until it is clear; `None` when the client went away before.
pub(super) async fn first_bytes<S: AsyncRead + Unpin>(stream: &mut S, mut bytes: BytesMut) -> Option<First> {
    if bytes.is_empty() {
        return None;
    }
    loop {
        let compared = bytes.len().min(PREFACE.len());
        if bytes[..compared] != PREFACE[..compared] {
            return Some(First::Http1(bytes.freeze()));
        }
        if compared == PREFACE.len() {
            return Some(First::Http2(bytes.freeze()));
        }
        match poll_fn(|cx| poll_append(stream, cx, &mut bytes)).await {
            Ok(0) | Err(_) => return None,
            Ok(_) => {}
        }
    }
}

fn poll_append<S: AsyncRead + Unpin>(
    stream: &mut S,
    cx: &mut Context<'_>,
    bytes: &mut BytesMut,
) -> Poll<io::Result<usize>> {
    FIRST.with_borrow_mut(|block| {
        let mut block = ReadBuf::new(block);
        ready!(Pin::new(stream).poll_read(cx, &mut block))?;
        bytes.extend_from_slice(block.filled());
        Poll::Ready(Ok(block.filled().len()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn decided_by(pieces: &[&[u8]]) -> Option<First> {
        let mut script = scripted(pieces);
        let begun = there_now(&mut script).await?.ok()?;
        first_bytes(&mut script, begun).await
    }

    /// A stream that gives these pieces, one a read, then its end.
    fn scripted(pieces: &[&[u8]]) -> impl AsyncRead + Unpin {
        struct Script(Vec<Vec<u8>>);
        impl AsyncRead for Script {
            fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
                if !self.0.is_empty() {
                    buf.put_slice(&self.0.remove(0));
                }
                Poll::Ready(Ok(()))
            }
        }
        Script(pieces.iter().map(|piece| piece.to_vec()).collect())
    }

    #[tokio::test]
    async fn only_the_whole_preface_is_http2() {
        let rest = [PREFACE, b"\0\0\0\x04\0\0\0\0\0"].concat();
        for pieces in [&[&rest[..]][..], &[&rest[..1], &rest[1..3], &rest[3..20], &rest[20..]]] {
            match decided_by(pieces).await {
                Some(First::Http2(bytes)) => assert_eq!(bytes, rest),
                other => panic!("{other:?}"),
            }
        }
        for request in ["GET / HTTP/1.1\r\n\r\n", "PROPFIND / HTTP/1.1\r\n\r\n", "PRI * HTTP/1.1\r\n\r\n", "\r\n"] {
            let (first, second) = request.as_bytes().split_at(1);
            for pieces in [&[request.as_bytes()][..], &[first, second]] {
                match decided_by(pieces).await {
                    Some(First::Http1(bytes)) => assert!(request.as_bytes().starts_with(&bytes), "{request}"),
                    other => panic!("{request}: {other:?}"),
                }
            }
        }
        assert!(decided_by(&[]).await.is_none());
        assert!(decided_by(&[b"PRI"]).await.is_none());
    }
}
