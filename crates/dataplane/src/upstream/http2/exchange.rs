//! One request on a stream.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use http::header::{CONTENT_LENGTH, HeaderName, HeaderValue, TE};
use http::{HeaderMap, Request, Uri, Version};
use http_body::{Body, Frame, SizeHint};

use super::super::h1::{
    self, BodyFraming, BodyLength, EncodeError, Error, InterimHead, RequestHead, ResponseEvent, ResponseHead, SendError,
};
use super::{Place, Session};
use crate::http2::{Receive, Send, SendError as StreamError};

/// A request on a stream, with the calls of a connection of HTTP/1.1: whoever drives one need not know which it is.
#[derive(Debug)]
pub(crate) struct Exchange {
    requests: SendRequest<Bytes>,
    state: State,
    send: Option<Send>,
    received: bool,
    /// The head is with h2.
    started: bool,
    reused: bool,
    secure: bool,
    _place: Place,
}

#[derive(Debug)]
enum State {
    Ready,
    Head(ResponseFuture),
    Body(Receive),
    Failed(Option<h2::Error>),
}

impl Exchange {
    pub(super) fn new(session: &Session, reused: bool) -> Self {
        Self {
            requests: session.requests.clone(),
            state: State::Ready,
            send: None,
            received: false,
            started: false,
            reused,
            secure: session.secured.is_some(),
            _place: Place::new(&session.shared),
        }
    }

    /// Whether its connection served requests before.
    pub(crate) fn is_reused(&self) -> bool {
        self.reused
    }

    /// See [`Connection::start`](h1::Connection::start). A failure of the connection shows in
    /// [`poll_head`](Self::poll_head).
    pub(crate) fn start(&mut self, head: &RequestHead<'_>, length: BodyLength) -> Result<(), EncodeError> {
        let scheme = if self.secure { "https" } else { "http" };
        let request = request(scheme, head, length)?;
        match self.requests.send_request(request, length == BodyLength::Empty) {
            Ok((answer, stream)) => {
                self.started = true;
                self.state = State::Head(answer);
                self.send = (length != BodyLength::Empty).then(|| Send::new(stream));
            }
            Err(error) => self.state = State::Failed(Some(error)),
        }
        Ok(())
    }

    pub(crate) fn poll_send<B>(&mut self, cx: &mut Context<'_>, body: &mut B) -> Poll<Result<(), SendError<B::Error>>>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        let Some(send) = &mut self.send else { return Poll::Ready(Ok(())) };
        let result = match ready!(send.poll(cx, body)) {
            Ok(()) => Ok(()),
            Err(StreamError::Body(error)) => {
                send.reset(h2::Reason::CANCEL);
                Err(SendError::Body(error))
            }
            Err(StreamError::Peer(error)) => Err(SendError::Backend(Error::Http2(error))),
        };
        self.send = None;
        Poll::Ready(result)
    }

    pub(crate) fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<Result<ResponseEvent, Error>> {
        let answer = match &mut self.state {
            State::Head(answer) => answer,
            State::Failed(error) => return Poll::Ready(Err(error.take().map_or(Error::NotDue, Error::Http2))),
            State::Ready | State::Body(_) => return Poll::Ready(Err(Error::NotDue)),
        };
        if let Poll::Ready(Some(Ok(interim))) = answer.poll_informational(cx) {
            self.received = true;
            let (parts, ()) = interim.into_parts();
            let head = InterimHead { status: parts.status, headers: parts.headers };
            return Poll::Ready(Ok(ResponseEvent::Interim(head)));
        }
        match ready!(Pin::new(answer).poll(cx)) {
            Ok(response) => {
                self.received = true;
                let (parts, stream) = response.into_parts();
                let length = parts.headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
                self.state = State::Body(Receive::new(stream, length));
                Poll::Ready(Ok(ResponseEvent::Final(ResponseHead {
                    status: parts.status,
                    version: Version::HTTP_2,
                    headers: parts.headers,
                    framing: BodyFraming::Chunked,
                    keep_alive: false,
                    keep_alive_timeout: None,
                })))
            }
            Err(error) => {
                self.state = State::Failed(None);
                Poll::Ready(Err(Error::Http2(error)))
            }
        }
    }

    pub(crate) fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let State::Body(body) = &mut self.state else { return Poll::Ready(None) };
        Pin::new(body).poll_frame(cx).map_err(Error::Http2)
    }

    pub(crate) fn take_whole_body(&mut self) -> Option<Bytes> {
        self.is_end_stream().then(Bytes::new)
    }

    pub(crate) fn is_end_stream(&self) -> bool {
        matches!(&self.state, State::Body(body) if body.is_end_stream())
    }

    pub(crate) fn size_hint(&self) -> SizeHint {
        match &self.state {
            State::Body(body) => body.size_hint(),
            _ => SizeHint::default(),
        }
    }

    /// Not bytes, but pieces: none means that nothing of it was sent.
    pub(crate) fn bytes_sent(&self) -> u64 {
        u64::from(self.started) + self.send.as_ref().map_or(0, Send::taken)
    }

    /// Nothing left us, and nothing was taken of the body: the connection was of no use.
    pub(crate) fn is_untouched(&self) -> bool {
        !self.started
    }

    pub(crate) fn waits_for_body(&self) -> bool {
        self.send.as_ref().is_some_and(|send| !send.is_blocked())
    }

    pub(crate) fn anything_received(&self) -> bool {
        self.received
    }
}

/// The head as h2 takes it.
fn request(scheme: &str, head: &RequestHead<'_>, length: BodyLength) -> Result<Request<()>, EncodeError> {
    let uri = Uri::builder().scheme(scheme).authority(head.host).path_and_query(head.target).build();
    let uri = uri.map_err(|_| EncodeError::Target(head.target.escape_ascii().to_string()))?;
    let mut headers = HeaderMap::with_capacity(head.headers.len() + 10);
    for (name, value) in head.headers.iter().filter(|(name, _)| !h1::is_own(name) && (head.keep)(name)) {
        headers.append(name, value.clone());
    }
    (head.extra)(&mut |name, value| {
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_bytes(value)) {
            headers.append(name, value);
        }
    });
    // RFC 9113 8.2.2. The codec takes trailers whoever asks; gRPC refuses requests that do not say so.
    headers.insert(TE, HeaderValue::from_static("trailers"));
    if let BodyLength::Known(length) = length {
        headers.insert(CONTENT_LENGTH, length.into());
    }
    let mut request = Request::new(());
    *request.method_mut() = head.method.clone();
    *request.uri_mut() = uri;
    *request.version_mut() = Version::HTTP_2;
    *request.headers_mut() = headers;
    Ok(request)
}
