//! A socket that plays a script, and a whole exchange over it.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::{HeaderMap, Method};
use http_body_util::Empty;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::super::{BodyLength, Connection, Error, RequestHead, ResponseEvent, ResponseHead};

/// Gives the pieces one read each, then is silent or ends; keeps what is written.
#[derive(Debug, Default)]
pub(super) struct Script {
    pub(super) reads: VecDeque<Vec<u8>>,
    pub(super) ends: bool,
    pub(super) read_calls: usize,
    pub(super) written: Vec<u8>,
    pub(super) write_calls: usize,
    pub(super) vectored: bool,
    /// The most bytes that one write takes; 0 means any number.
    pub(super) write_limit: usize,
}

impl Script {
    /// The backend sends `pieces`, then closes.
    pub(super) fn closing<P: Into<Vec<u8>>>(pieces: impl IntoIterator<Item = P>) -> Self {
        Self { ends: true, ..Self::open(pieces) }
    }

    /// The backend sends `pieces`, then is silent.
    pub(super) fn open<P: Into<Vec<u8>>>(pieces: impl IntoIterator<Item = P>) -> Self {
        let reads = pieces.into_iter().map(Into::into).filter(|piece: &Vec<u8>| !piece.is_empty()).collect();
        Self { reads, vectored: true, ..Self::default() }
    }
}

impl AsyncRead for Script {
    fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let Some(mut piece) = self.reads.pop_front() else {
            return if self.ends { Poll::Ready(Ok(())) } else { Poll::Pending };
        };
        let rest = piece.split_off(piece.len().min(buf.remaining()));
        if !rest.is_empty() {
            self.reads.push_front(rest);
        }
        self.read_calls += 1;
        buf.put_slice(&piece);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Script {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[io::IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let all = bufs.iter().flat_map(|buf| buf.iter().copied());
        let limit = if self.write_limit == 0 { usize::MAX } else { self.write_limit };
        let before = self.written.len();
        self.written.extend(all.take(limit));
        self.write_calls += 1;
        Poll::Ready(Ok(self.written.len() - before))
    }

    fn is_write_vectored(&self) -> bool {
        self.vectored
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// Polls once.
pub(super) fn poll<T>(f: impl FnOnce(&mut Context<'_>) -> Poll<T>) -> Poll<T> {
    f(&mut Context::from_waker(Waker::noop()))
}

/// Polls until ready; a script never needs many turns.
pub(super) fn ready<T>(mut f: impl FnMut(&mut Context<'_>) -> Poll<T>) -> T {
    for _ in 0..100_000 {
        if let Poll::Ready(done) = poll(&mut f) {
            return done;
        }
    }
    panic!("pending for ever");
}

/// A connection on which a request without a body was just sent.
pub(super) fn sent(script: Script, method: &Method, upgrade: bool) -> Connection<Script> {
    let mut connection = Connection::new(script);
    let protocol = http::HeaderValue::from_static("websocket");
    let headers = HeaderMap::new();
    let upgrade = upgrade.then_some(&protocol);
    let head = RequestHead {
        method,
        target: b"/",
        host: b"backend",
        headers: &headers,
        upgrade,
        keep: &|_| true,
        extra: &|_| (),
    };
    connection.start(&head, BodyLength::Empty, *method == Method::HEAD).unwrap();
    ready(|cx| connection.poll_send(cx, &mut Empty::<Bytes>::new())).unwrap();
    connection
}

/// All that an answer said.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) interim: Vec<u16>,
    pub(super) head: ResponseHead,
    pub(super) body: Vec<u8>,
    pub(super) trailers: Option<HeaderMap>,
    pub(super) reusable: bool,
}

/// Reads a whole answer, in frames.
pub(super) fn answer(connection: &mut Connection<Script>) -> Result<Answer, Error> {
    let mut interim = Vec::new();
    let head = loop {
        match ready(|cx| connection.poll_head(cx))? {
            ResponseEvent::Interim(head) => interim.push(head.status.as_u16()),
            ResponseEvent::Final(head) => break head,
        }
    };
    let (mut body, mut trailers) = (Vec::new(), None);
    let exact = connection.size_hint().exact();
    while let Some(frame) = ready(|cx| connection.poll_frame(cx)) {
        match frame?.into_data() {
            Ok(data) => body.extend_from_slice(&data),
            Err(frame) => trailers = frame.into_trailers().ok(),
        }
    }
    assert!(connection.is_end_stream());
    assert!(exact.is_none_or(|exact| exact == body.len() as u64), "{exact:?} announced, {} came", body.len());
    // What the script still holds, the pool's check would see.
    let reusable = connection.is_reusable() && connection.get_ref().reads.is_empty();
    Ok(Answer { interim, head, body, trailers, reusable })
}

/// The answer to a GET on a backend that sends `raw` and then closes.
pub(super) fn get(raw: &[u8]) -> Result<Answer, Error> {
    answer(&mut sent(Script::closing([raw]), &Method::GET, false))
}

/// Name of the error, or `ok`.
pub(super) fn reason<T>(result: &Result<T, Error>) -> &'static str {
    result.as_ref().map_or_else(Error::reason, |_| "ok")
}
