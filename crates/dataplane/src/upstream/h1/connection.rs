//! One connection to a backend: a request out, its answer in, and again.
//!
//! Owned by whoever uses it: the task of a request while there is one, the pool of that thread in between. Nothing here
//! spawns, locks or allocates while idle. Sending and receiving are polled separately, from one task, because a backend
//! may answer before it has read the whole request.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::StatusCode;
use http_body::{Body, Frame, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::body::BodyDecoder;
use super::decode::{HeadDecoder, InterimHead, MAX_INTERIM, ResponseEvent, ResponseHead};
use super::encode::{BodyLength, EncodeError, RequestHead};
use super::error::{Error, SendError};
use super::framing::BodyFraming;
use super::receive::ReadBuffer;
use super::send::Outgoing;

/// Reads in one poll before other tasks get their turn.
const READS_PER_POLL: usize = 16;

/// Where the answer stands.
#[derive(Debug)]
enum Phase {
    /// No request yet, or the answer was read to its end.
    Idle,
    /// A head is due.
    Head { decoder: HeadDecoder, to_head: bool, upgrade: bool, interim: u8 },
    /// The body is due.
    Body(BodyDecoder),
    /// 101: no longer HTTP.
    Upgraded,
    /// An error was reported.
    Failed,
}

/// An HTTP/1.1 connection to a backend.
#[derive(Debug)]
pub struct Connection<S> {
    io: S,
    input: ReadBuffer,
    output: Outgoing,
    phase: Phase,
    /// Whether both sides let the connection be used again.
    keep_alive: bool,
    received: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    /// Takes over a fresh socket, connected and, where TLS is used, with its handshake done.
    pub fn new(io: S) -> Self {
        Self {
            io,
            input: ReadBuffer::default(),
            output: Outgoing::default(),
            phase: Phase::Idle,
            keep_alive: true,
            received: false,
        }
    }

    /// Begins a request; nothing is written until [`poll_send`](Self::poll_send). Only on a connection that
    /// [is reusable](Self::is_reusable). `request_is_head` says that the answer has no body whatever its headers say.
    ///
    /// # Errors
    /// The head cannot be written safely; the connection is unchanged.
    pub fn start(
        &mut self,
        head: &RequestHead<'_>,
        body: BodyLength,
        request_is_head: bool,
    ) -> Result<(), EncodeError> {
        debug_assert!(self.is_reusable(), "a request on a connection that is still in use or of no more use");
        self.output.start(head, body)?;
        self.received = false;
        self.phase = Phase::Head {
            decoder: HeadDecoder::default(),
            to_head: request_is_head,
            upgrade: head.upgrade.is_some(),
            interim: 0,
        };
        Ok(())
    }

    /// Writes head and body as far as both sides allow; ready when all of it is out. With [`BodyLength::Empty`] the body
    /// is never polled. Poll it beside [`poll_head`](Self::poll_head), and go on beside the answer's body.
    ///
    /// # Errors
    /// The client's side failed ([`SendError::Body`] and the two lengths), or the backend's. After the latter an answer
    /// may still be there to be read.
    pub fn poll_send<B>(&mut self, cx: &mut Context<'_>, body: &mut B) -> Poll<Result<(), SendError<B::Error>>>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        self.output.poll(&mut self.io, cx, body)
    }

    /// Waits for the next head: any number of interim ones up to [`MAX_INTERIM`], then the final one.
    ///
    /// # Errors
    /// The backend closed, failed, or broke the protocol. The connection is of no more use.
    pub fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<Result<ResponseEvent, Error>> {
        let result = ready!(self.poll_head_inner(cx));
        if result.is_err() {
            self.phase = Phase::Failed;
        }
        Poll::Ready(result)
    }

    fn poll_head_inner(&mut self, cx: &mut Context<'_>) -> Poll<Result<ResponseEvent, Error>> {
        for _ in 0..READS_PER_POLL {
            let Phase::Head { decoder, to_head, upgrade, interim } = &mut self.phase else {
                return Poll::Ready(Err(Error::NotDue));
            };
            if !self.input.bytes.is_empty()
                && let Some(head) = decoder.decode(&mut self.input.bytes, *to_head)?
            {
                let switches = head.status == StatusCode::SWITCHING_PROTOCOLS;
                if head.status.is_informational() && !switches {
                    if *interim == MAX_INTERIM {
                        return Poll::Ready(Err(Error::TooManyInterim));
                    }
                    *interim += 1;
                    let ResponseHead { status, headers, .. } = head;
                    return Poll::Ready(Ok(ResponseEvent::Interim(InterimHead { status, headers })));
                }
                if switches && !*upgrade {
                    return Poll::Ready(Err(Error::UnexpectedUpgrade));
                }
                self.begin_body(&head);
                return Poll::Ready(Ok(ResponseEvent::Final(head)));
            }
            if ready!(self.input.poll_fill(&mut self.io, cx, None)).map_err(Error::Read)? == 0 {
                let nothing = self.input.bytes.is_empty() && !self.received;
                return Poll::Ready(Err(if nothing { Error::ClosedBeforeHead } else { Error::ClosedInHead }));
            }
            self.received = true;
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn begin_body(&mut self, head: &ResponseHead) {
        self.keep_alive = head.keep_alive;
        if head.framing == BodyFraming::Upgrade {
            self.phase = Phase::Upgraded;
            return;
        }
        self.phase = Phase::Body(BodyDecoder::from(head.framing));
        self.end_if_done();
    }

    /// After the last byte of an answer: back to idle, without buffers.
    fn end_if_done(&mut self) {
        if matches!(&self.phase, Phase::Body(body) if body.is_done()) {
            self.phase = Phase::Idle;
            self.input.release();
        }
    }

    /// The next piece of the answer's body, or its trailers. `None` at the end, and for an answer without a body.
    pub fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let result = ready!(self.poll_frame_inner(cx));
        match result {
            Ok(_) => self.end_if_done(),
            Err(_) => self.phase = Phase::Failed,
        }
        Poll::Ready(result.transpose())
    }

    fn poll_frame_inner(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Frame<Bytes>>, Error>> {
        for _ in 0..READS_PER_POLL {
            let body = match &mut self.phase {
                Phase::Body(body) => body,
                Phase::Head { .. } => return Poll::Ready(Err(Error::NotDue)),
                Phase::Idle | Phase::Upgraded | Phase::Failed => return Poll::Ready(Ok(None)),
            };
            let frame = body.decode(&mut self.input.bytes)?;
            if frame.is_some() || body.is_done() {
                return Poll::Ready(Ok(frame));
            }
            if ready!(self.input.poll_fill(&mut self.io, cx, body.expected())).map_err(Error::Read)? == 0 {
                body.end_of_stream()?;
                return Poll::Ready(Ok(None));
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// All that is left of the body, if it is here already in one piece: the answer is then read to its end and, unless
    /// the request is still going out, the connection is free.
    pub fn take_whole_body(&mut self) -> Option<Bytes> {
        match &mut self.phase {
            Phase::Idle => Some(Bytes::new()),
            Phase::Body(body) => {
                let whole = body.whole(&mut self.input.bytes)?;
                self.end_if_done();
                Some(whole)
            }
            Phase::Head { .. } | Phase::Upgraded | Phase::Failed => None,
        }
    }

    /// Whether the answer was read to its end, trailers included.
    pub fn is_end_stream(&self) -> bool {
        matches!(self.phase, Phase::Idle | Phase::Upgraded | Phase::Failed)
    }

    /// How much of the answer's body is to come: exact where its length was announced.
    pub fn size_hint(&self) -> SizeHint {
        match &self.phase {
            Phase::Body(body) => body.size_hint(),
            Phase::Head { .. } => SizeHint::default(),
            Phase::Idle | Phase::Upgraded | Phase::Failed => SizeHint::with_exact(0),
        }
    }

    /// Whether the request stands still because nothing comes of its body.
    pub fn waits_for_body(&self) -> bool {
        self.output.waits_for_body()
    }

    /// Bytes of the current request that the socket took: none means that it can safely go elsewhere.
    pub fn bytes_sent(&self) -> u64 {
        self.output.sent()
    }

    /// Whether the backend sent anything since [`start`](Self::start).
    pub fn anything_received(&self) -> bool {
        self.received
    }

    /// Whether another request may follow: the last one went out whole, its answer came in whole, the backend wants to go
    /// on, and it said nothing that nobody asked for.
    pub fn is_reusable(&self) -> bool {
        matches!(self.phase, Phase::Idle) && self.keep_alive && self.output.is_done() && self.input.bytes.is_empty()
    }

    /// Ready when an idle connection is of no more use, because the backend closed it or sent something. Costs no system
    /// call while the socket is known to be silent. The pool asks before use, and now and then.
    pub fn poll_idle(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.is_reusable() {
            return Poll::Ready(());
        }
        let mut block = [0; 32];
        let mut block = ReadBuf::new(&mut block);
        let _ = ready!(Pin::new(&mut self.io).poll_read(cx, &mut block));
        self.input.bytes.extend_from_slice(block.filled());
        self.keep_alive = false;
        Poll::Ready(())
    }

    /// Takes the connection apart, after a 101: the socket, and what was read behind the head.
    pub fn into_parts(self) -> (S, Bytes) {
        // An empty slice would keep its block alive as long as the tunnel.
        let rest = if self.input.bytes.is_empty() { Bytes::new() } else { self.input.bytes.freeze() };
        (self.io, rest)
    }

    /// Bytes of memory that the buffers hold.
    #[cfg(test)]
    pub(super) fn buffered(&self) -> usize {
        self.input.bytes.capacity() + self.output.capacity()
    }

    /// The socket, for its addresses and options.
    pub fn get_ref(&self) -> &S {
        &self.io
    }
}
