//! One request on a stream: answered like any other, then its answer goes out as the client's windows allow.

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, RecvStream};
use http::header::{CONTENT_LENGTH, COOKIE, DATE, HeaderValue};
use http::{HeaderMap, Method, Request, Response};
use http_body::Body as _;

use super::super::serve::STALLED_WRITE;
use super::{Open, Session, date, websocket};
use crate::exchange::{Body, Guard, Held, Interim, Upload, answer, grpc};
use crate::http2::{Duplex, Send, SendError};
use crate::timer::{self, Sleep};

/// Serves a request to the end of its stream.
pub(super) async fn serve(
    session: Rc<Session>,
    guard: Guard,
    open: Option<Open>,
    request: Request<RecvStream>,
    respond: SendResponse<Bytes>,
) {
    let (mut parts, body) = request.into_parts();
    join_cookies(&mut parts.headers);
    let (upload, tunnel) = if websocket::prepare(&mut parts) {
        (Upload::empty(), Some(body))
    } else {
        (Upload::http2(&parts, body), None)
    };
    let respond = RefCell::new(respond);
    let response = {
        let mut answer = pin!(answer(&session.downstream, &parts, upload, guard, Interim::http2(&respond)));
        poll_fn(|cx| match answer.as_mut().poll(cx) {
            Poll::Ready(response) => Poll::Ready(Some(response)),
            // The client wants no answer any more, or is gone.
            Poll::Pending => respond.borrow_mut().poll_reset(cx).map(|_| None),
        })
        .await
    };
    match (response, tunnel) {
        (None, _) => {}
        (Some(response), None) => {
            let response = grpc::translate(&parts.headers, response);
            send(&session, respond.into_inner(), response, &parts.method).await;
        }
        (Some(response), Some(receive)) => upgrade(&session, respond.into_inner(), response, receive, open).await,
    }
    session.touch();
}

/// Answers a request for a WebSocket: with a tunnel, or with what the backend or the gateway said instead.
async fn upgrade(
    session: &Rc<Session>,
    mut respond: SendResponse<Bytes>,
    response: Response<Body>,
    receive: RecvStream,
    open: Option<Open>,
) {
    let (head, body) = response.into_parts();
    match body.into_tunnel() {
        Ok((pending, guard)) => {
            // It fails when the client has reset the stream.
            let Ok(stream) = respond.send_response(Response::from_parts(head, ()), false) else { return };
            let open = open.unwrap_or_else(|| Open::new(session));
            let client = websocket::Client::new(Duplex::new(stream, receive), open);
            pending.start(&session.downstream.worker, client, Bytes::new(), Held::Stream { _guard: guard });
        }
        Err(body) => send(session, respond, Response::from_parts(head, body), &Method::GET).await,
    }
}

/// Sends an answer.
async fn send(session: &Session, mut respond: SendResponse<Bytes>, response: Response<Body>, method: &Method) {
    let (mut head, body) = response.into_parts();
    let length = body.size_hint().exact();
    // Also of an answer that was whole with its head: gRPC takes a status in the head for one only when the stream ends with it
    // (grpc/doc/PROTOCOL-HTTP2.md, Trailers-Only).
    let no_body = *method == Method::HEAD || body.is_end_stream() || length == Some(0);
    if let Some(length) = length.filter(|length| *length > 0) {
        head.headers.entry(CONTENT_LENGTH).or_insert_with(|| length.into());
    }
    if !head.headers.contains_key(DATE)
        && let Some(now) = date::now()
    {
        head.headers.insert(DATE, now);
    }
    // It fails when the client has reset the stream.
    let Ok(stream) = respond.send_response(Response::from_parts(head, ()), no_body) else { return };
    if no_body {
        return session.meter.answered();
    }
    let sending = Sending { session, body, send: Send::new(stream), stalled: None };
    sending.await;
}

/// The body of an answer going out.
struct Sending<'a> {
    session: &'a Session,
    body: Body,
    send: Send,
    /// Runs while the client takes nothing.
    stalled: Option<(u64, Sleep)>,
}

impl Future for Sending<'_> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        if this.session.backlog.poll_answer(cx).is_pending() {
            // What waits is the connection's, which is given up when it does not move. This stream has had no turn.
            this.stalled = None;
            return this.send.poll_reset(cx).map(|_| ());
        }
        let before = this.send.taken();
        match this.send.poll(cx, &mut this.body) {
            Poll::Ready(Ok(())) => {
                this.session.meter.answered();
                return Poll::Ready(());
            }
            Poll::Ready(Err(SendError::Peer(_))) => return Poll::Ready(()),
            Poll::Ready(Err(SendError::Body(error))) => {
                tracing::debug!(%error, "an answer ended early");
                this.send.reset(Reason::INTERNAL_ERROR);
                return Poll::Ready(());
            }
            Poll::Pending => {}
        }
        let taken = this.send.taken();
        if taken != before {
            this.session.touch();
            this.session.meter.sent();
            this.session.backlog.add(taken - before);
        }
        if !this.send.is_blocked() {
            this.stalled = None;
            return Poll::Pending;
        }
        let (since, clock) = this.stalled.get_or_insert_with(|| (taken, timer::sleep(STALLED_WRITE)));
        if *since != taken {
            *since = taken;
            clock.reset(STALLED_WRITE);
        }
        std::task::ready!(Pin::new(clock).poll(cx));
        this.session.stalled();
        this.send.reset(Reason::CANCEL);
        Poll::Ready(())
    }
}

/// Cookies may come in crumbs; whoever speaks another protocol gets them in one (RFC 9113 8.2.3).
fn join_cookies(headers: &mut HeaderMap) {
    let mut crumbs = headers.get_all(COOKIE).iter();
    if crumbs.next().is_none() || crumbs.next().is_none() {
        return;
    }
    let crumbs: Vec<&[u8]> = headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes).collect();
    // Made of valid values, it is one.
    if let Ok(whole) = HeaderValue::from_bytes(&crumbs.join(&b"; "[..])) {
        headers.insert(COOKIE, whole);
    }
}
