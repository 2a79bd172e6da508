//! The body of an answer: empty, whole, or still coming from a backend.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};

use super::Guard;
use super::attempt::Failure;
use super::record::Record;
use super::tunnel::Pending;
use super::upload::Upload;
use crate::cluster::Active;
use crate::timer::{PutOff, Span};
use crate::upstream::h1::SendError;
use crate::upstream::{Link, Pool};

/// What hyper sends to the client. The record of the request is written when it is dropped.
#[derive(Debug)]
pub(crate) struct Body {
    kind: Kind,
    record: Option<Record>,
    /// The connection is not idle while this lives.
    _guard: Guard,
}

#[derive(Debug)]
enum Kind {
    Empty,
    Whole(Option<Bytes>),
    Stream(Box<Stream>),
    /// None: a tunnel over a stream of HTTP/2 begins behind the head.
    Tunnel(Box<Pending>),
}

/// A body on its way from a backend.
#[derive(Debug)]
pub(crate) struct Stream {
    pub(crate) link: Option<Box<Link>>,
    pub(crate) pool: Pool,
    /// The request's body, while it is still going out.
    pub(crate) request: Option<Upload>,
    /// How much of it has come.
    pub(crate) received: u64,
    pub(crate) active: Option<Active>,
    /// How long it may stand still.
    pub(crate) stall: Option<(Duration, PutOff)>,
}

/// Why an answer ended early. The client sees its connection end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BodyError {
    #[error("backend: {0}")]
    Backend(#[from] crate::upstream::h1::Error),
    #[error("the body stood still for {0:?}")]
    Stalled(Duration),
    #[error("the drain of the endpoint is over")]
    Drained,
    /// The rest of the request will not come, or may not.
    #[error("{0}")]
    Upload(Failure),
}

impl Body {
    pub(crate) fn empty(record: Option<Record>, guard: Guard) -> Self {
        Self { kind: Kind::Empty, record, _guard: guard }
    }

    pub(crate) fn whole(bytes: Bytes, mut record: Option<Record>, guard: Guard) -> Self {
        if let Some(record) = &mut record {
            record.sent += bytes.len() as u64;
        }
        Self { kind: Kind::Whole(Some(bytes)), record, _guard: guard }
    }

    /// Its record and what else goes with it, and nothing to be sent.
    pub(crate) fn without_content(self) -> Self {
        let mut empty = Self { kind: Kind::Empty, ..self };
        if let Some(record) = &mut empty.record {
            record.sent = 0;
        }
        empty
    }

    pub(crate) fn tunnel(pending: Box<Pending>, guard: Guard) -> Self {
        Self { kind: Kind::Tunnel(pending), record: None, _guard: guard }
    }

    /// The tunnel that it stands for, if it is none.
    #[allow(clippy::result_large_err, reason = "it is the body itself, moved back once")]
    pub(crate) fn into_tunnel(self) -> Result<(Box<Pending>, Guard), Self> {
        match self.kind {
            Kind::Tunnel(pending) => Ok((pending, self._guard)),
            kind => Err(Self { kind, ..self }),
        }
    }

    pub(crate) fn stream(stream: Box<Stream>, record: Option<Record>, guard: Guard) -> Self {
        Self { kind: Kind::Stream(stream), record, _guard: guard }
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        let frame = match &mut this.kind {
            Kind::Empty | Kind::Tunnel(_) => return Poll::Ready(None),
            Kind::Whole(bytes) => return Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Kind::Stream(stream) => {
                let frame = stream.poll_frame(cx);
                if let Some(record) = &mut this.record {
                    record.received = stream.received;
                }
                std::task::ready!(frame)
            }
        };
        if let Some(record) = &mut this.record {
            match &frame {
                Some(Ok(frame)) => record.sent += frame.data_ref().map_or(0, |data| data.len() as u64),
                Some(Err(error)) => {
                    record.error = Some(error.reason());
                    if matches!(error, BodyError::Upload(Failure::TooLarge)) {
                        record.refused(error.reason());
                    }
                }
                None => {}
            }
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Empty | Kind::Tunnel(_) => true,
            Kind::Whole(bytes) => bytes.is_none(),
            Kind::Stream(stream) => stream.link.is_none(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Empty | Kind::Tunnel(_) => SizeHint::with_exact(0),
            Kind::Whole(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)),
            Kind::Stream(stream) => {
                stream.link.as_ref().map_or(SizeHint::with_exact(0), |link| link.connection.size_hint())
            }
        }
    }
}

impl BodyError {
    /// For the access log.
    fn reason(&self) -> &'static str {
        match self {
            Self::Backend(error) => error.reason(),
            Self::Stalled(_) => "stalled",
            Self::Drained => "drain",
            Self::Upload(failure) => failure.reason(),
        }
    }
}

impl Stream {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let Some(link) = &mut self.link else { return Poll::Ready(None) };
        let sent_before = link.connection.bytes_sent();
        if let Some(body) = &mut self.request {
            let sent = link.connection.poll_send(cx, body);
            self.received = body.received();
            match sent {
                Poll::Ready(Ok(())) => self.request = None,
                // The answer is what counts now; a backend may answer without reading everything.
                Poll::Ready(Err(SendError::Backend(_))) => self.request = None,
                Poll::Ready(Err(error)) => {
                    // Its connection goes with it: the backend must not take what it has for the whole request.
                    self.link = None;
                    return Poll::Ready(Some(Err(BodyError::Upload(Failure::of_upload(&error)))));
                }
                Poll::Pending => {}
            }
        }
        let moved = link.connection.bytes_sent() != sent_before;
        match link.connection.poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                self.restart();
                if self.link.as_ref().is_some_and(|link| link.connection.is_end_stream()) {
                    self.finish();
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) => {
                self.link = None;
                Poll::Ready(Some(Err(error.into())))
            }
            Poll::Ready(None) => {
                self.finish();
                Poll::Ready(None)
            }
            Poll::Pending => {
                if link.cut.is_cut(cx) {
                    self.link = None;
                    return Poll::Ready(Some(Err(BodyError::Drained)));
                }
                if moved {
                    self.restart();
                }
                let Some((limit, timer)) = &mut self.stall else { return Poll::Pending };
                let limit = *limit;
                std::task::ready!(timer.poll(cx));
                self.link = None;
                Poll::Ready(Some(Err(BodyError::Stalled(limit))))
            }
        }
    }

    /// Something moved: the time of standing still begins anew.
    fn restart(&mut self) {
        if let Some((limit, timer)) = &mut self.stall {
            timer.put_off(Span::at_least(*limit));
        }
    }

    /// The answer is complete: the connection goes back to the pool.
    fn finish(&mut self) {
        if let Some(link) = self.link.take().filter(|_| self.request.is_none()) {
            self.pool.put(link);
        }
        self.active = None;
    }
}

impl Stream {
    /// A stall clock of that length.
    pub(crate) fn stall_clock(limit: Option<Duration>) -> Option<(Duration, PutOff)> {
        limit.map(|limit| (limit, PutOff::new(Span::at_least(limit))))
    }
}

impl Drop for Stream {
    /// hyper stops polling once the announced length was sent: the connection may be as good as ever.
    fn drop(&mut self) {
        if self.link.as_ref().is_some_and(|link| link.connection.is_end_stream()) {
            self.finish();
        }
    }
}
