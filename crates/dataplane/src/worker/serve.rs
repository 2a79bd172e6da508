//! A client's connection from its first byte to its last.
//!
//! While nothing is under way a connection is parked: only its socket, a timer and a few hundred bytes exist. With its
//! first readable byte hyper gets it, and gives it back when it has been idle for a moment. A WebSocket leaves for a
//! task of its own.

#[cfg(test)]
mod tests;

use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

use super::accept::Counted;
use super::io::{Flow, Io};
use super::sniff::First;
use super::{Port, Worker, http2, sniff};
use crate::exchange::{Downstream, Held, Tls, serve};
use crate::timer::{self, PutOff, Span, Tick};
use crate::tls::{self, ServerStream};

/// A connection that is idle that long gives its buffers back.
const PARK_AFTER: Span = Span::at_least(Duration::from_millis(200));
/// A parked connection without a new request.
const KEEP_ALIVE: Span = Span::at_least(Duration::from_secs(75));
/// The same once the port closes.
pub(super) const LINGER: Duration = Duration::from_secs(2);
/// A client that does not take what it is sent.
pub(super) const STALLED_WRITE: Duration = Duration::from_secs(60);
/// hyper's buffer: room for a head of 32 KiB and some more, so that it is we who refuse it.
const MAX_BUFFER: usize = 96 * 1024;

const TOO_SLOW: &[u8] = b"HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
const NOT_TLS: &[u8] = b"HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain\r\ncontent-length: 59\r\n\
    connection: close\r\n\r\n400 Bad Request: this port speaks HTTPS; use https:// here\n";

/// A client's stream.
pub(crate) trait Parked: AsyncRead + AsyncWrite + Unpin + 'static {
    /// Says that something is there to be read, without a buffer to read it into. An error: nothing will be.
    fn poll_readable(&mut self, cx: &mut Context<'_>) -> Poll<std::io::Result<()>>;

    /// How many bytes it has, of those that were written, which the client does not take.
    fn unsent(&self) -> usize {
        0
    }
}

impl Parked for TcpStream {
    fn poll_readable(&mut self, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        self.poll_read_ready(cx)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin + 'static> Parked for ServerStream<S> {
    fn poll_readable(&mut self, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        ServerStream::poll_readable(self, cx)
    }

    fn unsent(&self) -> usize {
        ServerStream::unsent(self)
    }
}

/// Serves a connection in a task of its own. `peer` is the client, whoever carries its bytes.
pub(super) fn begin(
    worker: Rc<Worker>,
    port: Rc<Port>,
    stream: TcpStream,
    peer: SocketAddr,
    with_tls: bool,
    counted: Counted,
) {
    if with_tls {
        tokio::task::spawn_local(tls(worker, port, stream, peer, counted));
    } else {
        tokio::task::spawn_local(connection(worker, port, stream, peer, None, counted));
    }
}

/// Serves a connection that begins with TLS.
async fn tls(worker: Rc<Worker>, port: Rc<Port>, stream: TcpStream, peer: SocketAddr, counted: Counted) {
    let refuse = |listener: Option<&str>, reason: &'static str| {
        let live = worker.live();
        let listener = listener.or_else(|| live.sole(port.number).map(|name| &**name));
        worker.metrics.refused(listener.unwrap_or("none"), reason);
    };
    let handshake = Box::pin(tls::handshake(&worker, port.number, stream));
    match timer::timeout(tls::HANDSHAKE_TIMEOUT, handshake).await {
        Ok(Ok((stream, agreed))) => {
            // In a task of its own: that of the handshake is much larger.
            if agreed.http2 {
                let downstream = Downstream::new(&worker, port.number, peer, Some(agreed));
                tokio::task::spawn_local(http2::connection(downstream, port, stream, Bytes::new(), counted));
            } else {
                tokio::task::spawn_local(connection(Rc::clone(&worker), port, stream, peer, Some(agreed), counted));
            }
        }
        Ok(Err(tls::HandshakeError::Nothing)) => {}
        Ok(Err(tls::HandshakeError::NotTls(mut stream))) => {
            refuse(None, "plain_http");
            let _ = stream.write_all(NOT_TLS).await;
            let _ = stream.shutdown().await;
        }
        Ok(Err(tls::HandshakeError::Failed { listener, error })) => {
            refuse(listener.as_deref(), "tls");
            tracing::debug!(%peer, port = port.number, %error, "TLS handshake failed");
        }
        Err(timer::Elapsed) => refuse(None, "timeout"),
    }
}

/// How a stay with hyper ended.
enum Step<S> {
    /// Idle, or in the middle of a head whose first bytes are given back.
    Idle(S, Bytes),
    /// The 101 is out.
    Upgraded(S, Bytes),
    /// Over.
    Done,
}

/// Serves a connection.
async fn connection<S: Parked>(
    worker: Rc<Worker>,
    port: Rc<Port>,
    stream: S,
    peer: SocketAddr,
    tls: Option<Tls>,
    counted: Counted,
) {
    let downstream = Downstream::new(&worker, port.number, peer, tls);
    let mut clock = PutOff::new(KEEP_ALIVE);
    let (mut stream, mut early) = (stream, Bytes::new());
    // Without ALPN the first bytes say which protocol it is (RFC 9113 3.3).
    let mut sniffed = downstream.tls.is_some();
    loop {
        if early.is_empty() {
            clock.put_off(if downstream.last.get() { const { Span::at_least(LINGER) } } else { KEEP_ALIVE });
            if !readable(&mut stream, &downstream, &port, &mut clock).await {
                return say_last(&mut stream, b"").await;
            }
            if !sniffed {
                let begun = match sniff::there_now(&mut stream).await {
                    Some(Ok(bytes)) => bytes,
                    Some(Err(_)) => return,
                    None => continue,
                };
                sniffed = true;
                let first = Box::pin(sniff::first_bytes(&mut stream, begun));
                match timer::timeout(worker.limits.request_head, first).await {
                    Ok(Some(First::Http1(bytes))) => early = bytes,
                    Ok(Some(First::Http2(bytes))) => {
                        // In a task of its own: this one is as large as HTTP/1 needs it.
                        tokio::task::spawn_local(http2::connection(downstream, port, stream, bytes, counted));
                        return;
                    }
                    Ok(None) => return,
                    Err(timer::Elapsed) => return downstream.count_refused("none", "timeout"),
                }
            }
        }
        // Boxed: only a connection that works needs that much room.
        match Box::pin(drive(&downstream, &port, &mut clock, stream, early)).await {
            Step::Idle(back, bytes) => {
                worker.collect_later();
                (stream, early) = (back, bytes);
            }
            Step::Upgraded(stream, early) => {
                if let Some(pending) = downstream.upgrade.take() {
                    pending.start(&worker, stream, early, Held::Connection { _counted: counted });
                }
                return;
            }
            Step::Done => return,
        }
    }
}

/// Ends a connection with these words, if the client takes them soon: over TLS there is always something to be said.
async fn say_last<S: Parked>(stream: &mut S, words: &[u8]) {
    let end = async {
        stream.write_all(words).await?;
        stream.shutdown().await
    };
    let _ = timer::timeout(LINGER, Box::pin(end)).await;
}

/// Waits for the next byte; `false` when the connection should end instead. When the port closes, a client that is about
/// to send its next request still gets it answered: that answer then says that it is the last one.
async fn readable<S: Parked>(stream: &mut S, downstream: &Downstream, port: &Port, clock: &mut PutOff) -> bool {
    let mut closed = pin!(port.closed());
    poll_fn(|cx| {
        if let Poll::Ready(result) = stream.poll_readable(cx) {
            return Poll::Ready(result.is_ok());
        }
        if !downstream.last.get() && closed.as_mut().poll(cx).is_ready() {
            downstream.last.set(true);
            clock.put_off(const { Span::at_least(LINGER) });
        }
        clock.poll(cx).map(|()| false)
    })
    .await
}

/// Gives a connection to hyper until it is idle, upgraded or over.
async fn drive<S: Parked>(
    downstream: &Rc<Downstream>,
    port: &Port,
    clock: &mut PutOff,
    stream: S,
    early: Bytes,
) -> Step<S> {
    let flow = Rc::new(Flow::default());
    // With early bytes a head is under way already: it must end in time, and is not given back a second time.
    let mut in_head = !early.is_empty();
    let service = service_fn(|request: Request<Incoming>| serve(Rc::clone(downstream), request));
    let mut builder = http1::Builder::new();
    builder.half_close(true).max_buf_size(MAX_BUFFER).header_read_timeout(None);
    let mut connection = builder.serve_connection(TokioIo::new(Io::new(stream, early, Rc::clone(&flow))), service);
    let mut closed = pin!(port.closed());
    let mut listed = false;
    let mut waiting = Waiting::Nothing;
    let end = poll_fn(|cx| {
        let before = downstream.served.get();
        if let Poll::Ready(result) = Pin::new(&mut connection).poll(cx) {
            if let Err(error) = &result {
                downstream.connection_failed(error);
            }
            return Poll::Ready(if downstream.upgrade.borrow().is_some() { End::Upgraded } else { End::Over });
        }
        if downstream.served.get() != before || downstream.active.get() > 0 {
            in_head = false;
        }
        let idle = downstream.active.get() == 0 && flow.is_flushed() && downstream.upgrade.borrow().is_none();
        // Asked once to be woken, always by this task; from then on a look is enough.
        let ask = !std::mem::replace(&mut listed, true);
        if port.is_closing() || (ask && closed.as_mut().poll(cx).is_ready()) {
            downstream.last.set(true);
        }
        let now = match idle {
            true if in_head => Waiting::Head,
            true => Waiting::Park,
            false if flow.blocked() == Tick::NEVER => Waiting::Nothing,
            false => Waiting::Client(flow.blocked()),
        };
        if now != std::mem::replace(&mut waiting, now) || downstream.served.get() != before {
            clock.put_off(now.limit(downstream.worker.limits.request_head));
        }
        if now == Waiting::Nothing || clock.poll(cx).is_pending() {
            return Poll::Pending;
        }
        Poll::Ready(if now == Waiting::Park { End::Idle } else { End::TooSlow(now) })
    })
    .await;
    match end {
        End::Over => Step::Done,
        End::Idle | End::Upgraded => {
            let parts = connection.into_parts();
            let (stream, unread) = parts.io.into_inner().into_inner();
            let early = match (parts.read_buf.is_empty(), unread.is_empty()) {
                // An empty buffer still owns its 8 KB.
                (true, true) => Bytes::new(),
                (false, true) => parts.read_buf,
                (_, false) => [parts.read_buf, unread].concat().into(),
            };
            match end {
                End::Upgraded => Step::Upgraded(stream, early),
                _ => Step::Idle(stream, early),
            }
        }
        End::TooSlow(waiting) => {
            downstream.count_refused("none", "timeout");
            if waiting == Waiting::Head {
                let (mut stream, _) = connection.into_parts().io.into_inner().into_inner();
                say_last(&mut stream, TOO_SLOW).await;
            }
            Step::Done
        }
    }
}

/// How hyper's part ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Over,
    Idle,
    Upgraded,
    TooSlow(Waiting),
}

/// What a connection that makes no progress waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Waiting {
    /// A request is under way, with timers of its own.
    Nothing,
    /// To be parked.
    Park,
    /// For the rest of a head.
    Head,
    /// For the client to read, since then.
    Client(Tick),
}

impl Waiting {
    fn limit(self, request_head: Duration) -> Span {
        match self {
            Self::Park => PARK_AFTER,
            Self::Head => Span::at_least(request_head),
            Self::Client(_) => const { Span::at_least(STALLED_WRITE) },
            Self::Nothing => Span::FOREVER,
        }
    }
}
