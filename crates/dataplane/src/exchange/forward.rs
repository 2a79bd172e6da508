//! To a backend: choose, connect, send, and try again where that is safe.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use http::header::{CONTENT_LENGTH, HeaderName};
use http::request::{self, Parts};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};
use http_body::Body as _;
use penstock_model::{Balancing, Forward};

use super::attempt::{Attempt, Failure};
use super::body::{Body, Stream};
use super::carry::Wanted;
use super::headers::{Added, strip_response, upgrade};
use super::record::Record;
use super::rewrite::Rewritten;
use super::tunnel::{Acceptance, Pending};
use super::upload::Upload;
use super::{Downstream, Guard, Interim, affinity, answer};
use crate::cluster::{Active, Asked, Full, LiveCluster, LiveEndpoint, Place, Token, client_hash};
use crate::plane::{Failing, Noticed};
use crate::route_state::{NoEndpoint, RouteState};
use crate::trace::{Context, Onward};
use crate::upstream::h1::{BodyFraming, BodyLength, EncodeError, RequestHead, ResponseHead};
use crate::upstream::{ConnectError, Counted, Link};

/// A request on its way to a backend: what stays the same in every attempt.
pub(crate) struct Outbound<'a> {
    pub(crate) downstream: &'a Rc<Downstream>,
    pub(crate) route: &'a Arc<RouteState>,
    pub(crate) forward: &'a Forward,
    pub(crate) parts: &'a request::Parts,
    /// Path and query for the backend.
    pub(crate) target: &'a [u8],
    /// Host as received.
    pub(crate) authority: &'a [u8],
    /// Headers of ours.
    pub(crate) added: &'a Added<'a>,
    pub(crate) headers: Headers<'a>,
    /// Where it is in its trace, where requests are traced.
    pub(crate) context: Option<&'a Context>,
    pub(crate) interim: Interim<'a>,
}

/// Where the headers for the backend come from.
pub(crate) enum Headers<'a> {
    /// The request's own, as far as they are kept, and ours.
    Passed,
    /// Put together and rewritten.
    Rewritten(&'a Rewritten<'a>),
}

/// Sends a request to a backend and gives back its answer, or ours.
pub(crate) async fn forward(out: Outbound<'_>, mut body: Upload, mut record: Record, guard: Guard) -> Response<Body> {
    let protocol = upgrade(out.parts).filter(|_| body.is_end_stream());
    let length = match body.size_hint().exact() {
        _ if body.is_end_stream() => BodyLength::Empty,
        Some(length) => BodyLength::Known(length),
        None => BodyLength::Chunked,
    };
    if body.limit(out.forward.max_body).is_err() {
        // Before anybody is asked to send it.
        return answer::failed(&Failure::TooLarge, out.parts.version, record, guard);
    }
    if !body.is_end_stream() {
        out.interim.go_on(&out.parts.headers);
    }
    let client = (out.forward.balancing == Balancing::IpHash).then(|| client_hash(out.added.client()));
    let session = out.forward.affinity.as_ref().and_then(|affinity| affinity::token(affinity, out.parts));
    let mut tried = Vec::new();
    let mut stale = false;
    let mut place = None;
    loop {
        let (cluster, endpoint) = match out.route.pick(&Asked { tried: &tried, client, session }) {
            Ok(picked) => picked,
            Err(NoEndpoint::NoneHealthy) => {
                record.backend_failed(&out.forward.pool, &out.forward.settings, "no_healthy");
                return answer::text(StatusCode::BAD_GATEWAY, "no healthy backend", Some("no_healthy"), record, guard);
            }
            Err(NoEndpoint::Unavailable(_)) => {
                record.backend_failed(&out.forward.pool, &out.forward.settings, "unresolved");
                let detail = "the backend of this route could not be resolved";
                return answer::text(StatusCode::BAD_GATEWAY, detail, Some("unresolved"), record, guard);
            }
        };
        let departing = endpoint.is_departing();
        place = match out.enter(cluster, place.take()).await {
            Ok(place) => place,
            Err(Full) => {
                record.backend_failed(&out.forward.pool, &out.forward.settings, "overflow");
                return answer::overflow(record, guard);
            }
        };
        if endpoint.is_departing() && !departing && tried.is_empty() {
            // It left while the request waited for its place.
            continue;
        }
        record.attempts = record.attempts.saturating_add(1);
        record.sent_to(&endpoint);
        // Routing takes no time worth another look at the clock; waiting for a place does.
        let started = if record.attempts == 1 && place.is_none() { record.started() } else { Instant::now() };
        let onward = out.context.map(|context| record.tried(context, out.forward, endpoint.address(), started));
        let active = endpoint.begin(place.take());
        let wanted = Wanted { fresh: stale, upgrade: protocol.is_some() };
        let attempt = async {
            let mut link = out.link(cluster, &active, wanted).await.map_err(|error| (error, Progress::Nothing))?;
            if out.start(&mut link, protocol.as_ref(), length, onward.as_ref()).is_err() {
                return Err((Failure::Client, Progress::Nothing));
            }
            let mut attempt = Attempt::new(&mut link, &mut body, out.forward.request_timeout, out.interim);
            match attempt.head().await {
                Ok(head) => {
                    let sent = attempt.sent;
                    Ok((link, head, sent))
                }
                Err(failure) => Err((failure, Progress::of(&link, length))),
            }
        };
        let outcome = attempt.await;
        record.received = body.received();
        match outcome {
            Ok((link, head, sent)) => {
                out.judge(cluster, active.endpoint(), head.status.is_server_error());
                let forward = out.forward;
                record.backend_answered(&forward.pool, &forward.settings, started, head.status);
                let request = (!sent).then_some(body);
                let begun = out.forward.affinity.as_ref().and_then(|_| cluster.token(active.endpoint()));
                let begun = begun.filter(|token| Some(*token) != session);
                return out.respond(link, head, request, (protocol.is_some(), begun), active, record, guard);
            }
            Err((failure, progress)) => {
                record.attempt_failed(failure.reason());
                if !failure.is_of_client() {
                    record.backend_failed(&out.forward.pool, &out.forward.settings, failure.reason());
                }
                tried.push(endpoint.number);
                let was_stale = stale;
                let again = out.may_retry(&failure, progress, record.attempts, &mut stale, &mut tried);
                if failure.is_of_backend() && stale == was_stale {
                    out.judge(cluster, active.endpoint(), true);
                }
                if !again {
                    return answer::failed(&failure, out.parts.version, record, guard);
                }
                place = active.into_place();
            }
        }
    }
}

/// How far an attempt came: decides whether another one is safe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    /// Not a byte left us.
    Nothing,
    /// The head is out, and no byte of a body; on a connection that was used before or not.
    Head { reused: bool },
    /// Body bytes are gone, or an answer began.
    Beyond,
}

impl Progress {
    fn of(link: &Link, length: BodyLength) -> Self {
        if link.connection.is_untouched() {
            Self::Nothing
        } else if length != BodyLength::Empty || link.connection.anything_received() {
            // A piece of the body may be taken from the client and lost, also when the socket took none of it.
            Self::Beyond
        } else if link.connection.bytes_sent() == 0 {
            Self::Nothing
        } else {
            Self::Head { reused: link.reused }
        }
    }
}

impl Outbound<'_> {
    /// A place in a cluster, which may have to be waited for: the one of the last attempt where it is the same cluster.
    async fn enter(&self, cluster: &LiveCluster, place: Option<Place>) -> Result<Option<Place>, Full> {
        let gate = &cluster.gate;
        if let Some(place) = place.filter(|place| place.is_of(gate)) {
            return Ok(Some(place));
        }
        match gate.try_enter() {
            Ok(place) => Ok(place),
            Err(Full) => {
                let labels = [&*self.forward.pool, &*self.forward.settings];
                let families = self.downstream.worker.metrics.families();
                let _waiting = Counted::new(families.backend_pending.with_label_values(&labels));
                // Boxed: only a request that waits needs that much room.
                let patience = self.forward.connect_timeout.or(self.forward.request_timeout);
                Box::pin(gate.wait(patience)).await.map(Some)
            }
        }
    }

    /// Begins the request on a connection.
    fn start(
        &self,
        link: &mut Link,
        protocol: Option<&HeaderValue>,
        length: BodyLength,
        onward: Option<&Onward>,
    ) -> Result<(), EncodeError> {
        let endpoint = Arc::clone(&link.endpoint);
        let host = self.host(&endpoint);
        let Parts { method, headers, .. } = self.parts;
        let head = RequestHead {
            method,
            target: self.target,
            host,
            headers,
            keep: &|_| true,
            extra: &|_| {},
            upgrade: protocol,
        };
        let is_head = *method == Method::HEAD;
        let kept = |name: &HeaderName| self.added.kept.keeps(name);
        let added = |put: &mut dyn FnMut(&str, &[u8])| self.added.each(put);
        let head = match self.headers {
            Headers::Passed => RequestHead { keep: &kept, extra: &added, ..head },
            Headers::Rewritten(rewritten) => RequestHead { headers: &rewritten.headers, ..head },
        };
        let Some(onward) = onward else { return link.connection.start(&head, length, is_head) };
        let keep = |name: &HeaderName| onward.keeps(name) && (head.keep)(name);
        let extra = |put: &mut dyn FnMut(&str, &[u8])| {
            (head.extra)(put);
            let (name, value) = onward.header();
            put(name, value);
        };
        link.connection.start(&RequestHead { keep: &keep, extra: &extra, ..head }, length, is_head)
    }

    /// Once more is safe when nothing was sent yet, or the method is idempotent (RFC 9110 9.2.2) and no byte of a body is
    /// gone. A connection that the backend closed while it was idle says nothing about the backend: that one try more on
    /// a new connection is free.
    fn may_retry(
        &self,
        failure: &Failure,
        progress: Progress,
        made: u8,
        stale: &mut bool,
        tried: &mut Vec<u64>,
    ) -> bool {
        let idempotent = matches!(
            self.parts.method,
            Method::GET | Method::HEAD | Method::PUT | Method::DELETE | Method::OPTIONS | Method::TRACE
        );
        let safe = match progress {
            Progress::Nothing => true,
            Progress::Head { .. } => idempotent,
            Progress::Beyond => false,
        };
        let again = match failure {
            // Another backend needs room, too.
            Failure::Connect(ConnectError::NoRoom(..)) => false,
            Failure::Connect(_) | Failure::Backend(_) => safe,
            Failure::TimedOut(_) => safe && idempotent && self.forward.retry.on_timeout,
            Failure::Client | Failure::ClientTimedOut(_) | Failure::TooLarge | Failure::Drained => false,
        };
        let closed = matches!(failure, Failure::Backend(error) if error.is_disconnect());
        if again && closed && !*stale && matches!(progress, Progress::Head { reused: true } | Progress::Nothing) {
            *stale = true;
            tried.pop();
            return true;
        }
        let allowed = self.forward.retry.attempts.saturating_add(1).saturating_add(u8::from(*stale));
        again && made < allowed
    }

    /// What an attempt says about its endpoint: after too many failures in a row the plane hears of it.
    fn judge(&self, cluster: &Arc<LiveCluster>, endpoint: &Arc<LiveEndpoint>, failed: bool) {
        if !failed {
            endpoint.succeeded();
        } else if cluster.failed(endpoint) {
            let failing = Failing { cluster: Arc::clone(cluster), endpoint: Arc::clone(endpoint) };
            // Nobody decides any more when the plane ends.
            let _ = self.downstream.worker.noticed.send(Noticed::Failing(failing));
        }
    }

    /// The answer of the backend, with its connection behind the body.
    #[allow(clippy::too_many_arguments, reason = "everything that one exchange owns changes hands here")]
    fn respond(
        &self,
        mut link: Box<Link>,
        head: ResponseHead,
        request: Option<Upload>,
        (upgrading, begun): (bool, Option<Token>),
        active: Active,
        mut record: Record,
        guard: Guard,
    ) -> Response<Body> {
        let ResponseHead { status, mut headers, framing, keep_alive_timeout, .. } = head;
        record.status = Some(status);
        if let Some(detail) = Acceptance::objection(self.parts, status, &headers) {
            return answer::text(StatusCode::BAD_GATEWAY, detail, Some("handshake"), record, guard);
        }
        if matches!(framing, BodyFraming::Upgrade) {
            if !upgrading {
                let detail = "the backend switched protocols unasked";
                return answer::text(StatusCode::BAD_GATEWAY, detail, Some("reset"), record, guard);
            }
            self.edit_answer(status, &mut headers, begun);
            return Pending::new(link, active, record, &self.forward.websocket).accept(
                self.downstream,
                self.parts.version,
                headers,
                guard,
            );
        }
        strip_response(&mut headers);
        if matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED) {
            // The length of a body that is not sent: RFC 9110 8.6 forbids it in a 204, and hyper takes it for the length
            // of the one that is.
            headers.remove(CONTENT_LENGTH);
        }
        self.edit_answer(status, &mut headers, begun);
        if let Some(limit) = keep_alive_timeout {
            link.keep_idle(limit);
        }
        let worker = &self.downstream.worker;
        // While the request still goes out, the connection has to stay with the answer: a stream even of one piece.
        let whole = if request.is_none() { link.connection.take_whole_body() } else { None };
        let body = match whole {
            Some(bytes) => {
                record.ended();
                worker.pool.put(link);
                Body::whole(bytes, Some(record), guard)
            }
            None => {
                let stall = Stream::stall_clock(self.forward.stream_idle_timeout);
                let pool = worker.pool.clone();
                let received = record.received;
                let stream = Stream { link: Some(link), pool, request, received, active: Some(active), stall };
                Body::stream(Box::new(stream), Some(record), guard)
            }
        };
        let mut response = Response::new(body);
        *response.status_mut() = status;
        *response.headers_mut() = headers;
        response
    }
}

impl Outbound<'_> {
    /// The rewrites, and behind them, where no rule can hurt them, the cookies of a session that begins.
    fn edit_answer(&self, status: StatusCode, headers: &mut HeaderMap, begun: Option<Token>) {
        if let Headers::Rewritten(rewritten) = self.headers {
            rewritten.answer(status, headers);
        }
        if let (Some(affinity), Some(token)) = (&self.forward.affinity, begun) {
            affinity::begin(affinity, token, headers);
        }
    }
}
