//! After the 101: the handshake's answer goes to the client, then two sockets are joined.

use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{CONNECTION, HeaderValue, SEC_WEBSOCKET_ACCEPT, UPGRADE};
use http::{HeaderMap, Response, StatusCode, Version, request};
use penstock_model::WebSocketTimeouts;
use tokio::io::{AsyncRead, AsyncWrite};

use super::body::Body;
use super::headers::strip_response;
use super::record::Record;
use super::{Downstream, Guard};
use crate::cluster::{Active, Connected, Moved};
use crate::plane::{self, Noticed};
use crate::tunnel::registry::Registered;
use crate::tunnel::{CloseReason, Control, Limits, Relay};
use crate::upstream::{Link, Socket};
use crate::worker::{Counted, Worker};

/// What a backend must accept a handshake with that is not the client's own (RFC 6455 4.1): an extension of the request.
#[derive(Clone, Debug)]
pub(crate) struct Acceptance(pub(crate) HeaderValue);

impl Acceptance {
    /// What is wrong with an answer to the handshake. A 2xx would open a WebSocket at the client (RFC 8441 5).
    pub(crate) fn objection(parts: &request::Parts, status: StatusCode, headers: &HeaderMap) -> Option<&'static str> {
        let Self(accept) = parts.extensions.get()?;
        if status == StatusCode::SWITCHING_PROTOCOLS {
            let proof = headers.get(SEC_WEBSOCKET_ACCEPT);
            return (proof != Some(accept))
                .then_some("the backend did not accept the WebSocket handshake as RFC 6455 says");
        }
        status.is_success().then_some("the backend does not speak WebSocket here")
    }
}

/// A tunnel that waits for its client's side: hyper still has to write the 101.
#[derive(Debug)]
pub(crate) struct Pending {
    link: Box<Link>,
    active: Active,
    record: Record,
    limits: Limits,
}

impl Pending {
    pub(crate) fn new(link: Box<Link>, mut active: Active, record: Record, timeouts: &WebSocketTimeouts) -> Self {
        active.upgrade();
        let limits = Limits { idle: timeouts.idle, duration: timeouts.max_duration, websocket: false };
        Self { link, active, record, limits }
    }

    /// The 101 for the client; the tunnel waits at the connection until it is written. On a stream of HTTP/2 it is a 200
    /// (RFC 8441 5), and the tunnel waits in its body.
    pub(crate) fn accept(
        mut self,
        downstream: &Downstream,
        version: Version,
        mut headers: HeaderMap,
        guard: Guard,
    ) -> Response<Body> {
        let protocol = headers.get(UPGRADE).cloned().unwrap_or_else(|| HeaderValue::from_static("websocket"));
        self.limits.websocket = protocol.as_bytes().eq_ignore_ascii_case(b"websocket");
        strip_response(&mut headers);
        if version == Version::HTTP_2 {
            self.record.status = Some(StatusCode::OK);
            self.record.opened();
            headers.remove(SEC_WEBSOCKET_ACCEPT);
            let mut response = Response::new(Body::tunnel(Box::new(self), guard));
            *response.headers_mut() = headers;
            return response;
        }
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(UPGRADE, protocol);
        self.record.opened();
        downstream.upgrade.replace(Some(Box::new(self)));
        let mut response = Response::new(Body::empty(None, guard));
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        *response.headers_mut() = headers;
        response
    }

    /// Joins both sides, in a task of its own that is as small as a tunnel can be.
    pub(crate) fn start<S>(self: Box<Self>, worker: &Rc<Worker>, client: S, early: Bytes, held: Held)
    where
        S: AsyncRead + AsyncWrite + Unpin + 'static,
    {
        let Self { link, active, record, limits } = *self;
        let Link { connection, endpoint, counted: backend_counted, .. } = *link;
        let Some((backend, late)) = connection.into_parts() else { return };
        // What is empty may still own a buffer.
        let late = if late.is_empty() { Bytes::new() } else { late };
        let control = Control::new();
        let registered = worker.tunnels.insert(control.clone(), endpoint.number, record.listener_number());
        // What the end needs is boxed: an idle tunnel is the relay and little else.
        let end = Box::new(End { worker: Rc::clone(worker), record, active, _counted: (held, backend_counted) });
        end.record.tunnel_began();
        match backend {
            Socket::Plain(backend) => {
                relay(Relay::new(client, backend, early, late, &limits, control), registered, end);
            }
            Socket::Tls(backend) => {
                relay(Relay::new(client, backend, early, late, &limits, control), registered, end);
            }
        }
    }
}

/// Starts the task of a tunnel, of exactly the relay's type.
fn relay<C, B>(relay: Relay<C, B>, registered: Registered, end: Box<End>)
where
    C: AsyncRead + AsyncWrite + Unpin + 'static,
    B: AsyncRead + AsyncWrite + Unpin + 'static,
{
    tokio::task::spawn_local(async move {
        let closed = relay.await;
        drop(registered);
        end.finish(&closed);
    });
}

/// What the client's side of a tunnel keeps as long as it is open.
#[derive(Debug)]
pub(crate) enum Held {
    /// A connection of its own.
    Connection { _counted: Counted },
    /// A stream of a connection, which is not idle meanwhile.
    Stream { _guard: Guard },
}

/// What is written when a tunnel ends.
struct End {
    worker: Rc<Worker>,
    record: Record,
    active: Active,
    /// On both sides.
    _counted: (Held, Option<Connected>),
}

impl End {
    fn finish(self: Box<Self>, closed: &crate::tunnel::Closed) {
        let Self { worker, mut record, active, _counted } = *self;
        let families = worker.metrics.families();
        let [gateway, listener, rule] = record.labels();
        record.tunnel_ended();
        families.websocket_closed.with_label_values(&[gateway, listener, rule, closed.reason.as_str()]).inc();
        let bytes = [("from_client", closed.from_client), ("from_backend", closed.from_backend)];
        for (direction, count) in bytes {
            families.websocket_bytes.with_label_values(&[gateway, listener, rule, direction]).inc_by(count);
        }
        let open = record.started().elapsed().as_secs_f64();
        families.websocket_duration.with_label_values(&[gateway, listener]).observe(open);
        let moved = Moved { from_client: closed.from_client, from_backend: closed.from_backend };
        active.endpoint().tunnel_ended(moved);
        record.received = closed.from_client;
        record.sent = closed.from_backend;
        record.close_reason = Some(closed.reason);
        if let Some(route) = record.route().map(Arc::clone) {
            let idle = closed.reason == CloseReason::Idle;
            // Nobody listens any more when the plane ends.
            let _ = worker.noticed.send(Noticed::Closed(plane::Closed { route, idle }));
        }
        drop(active);
    }
}
