//! The way of a request, in phases: [`validate`] → route → [`admit`] → [`forward`] (or an [`answer`] of our own) → its [`body`],
//! or its [`tunnel`]. Plain async functions, one after the other; what happened is in the [`record`].

mod admit;
mod affinity;
mod answer;
mod attempt;
mod body;
mod carry;
mod client;
mod closed_by;
mod forward;
pub(crate) mod grpc;
mod headers;
mod interim;
mod record;
mod rewrite;
mod target;
mod tunnel;
mod upload;
mod validate;

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use http::header::{CONNECTION, HeaderValue, USER_AGENT};
use http::{Request, Response, StatusCode, Version, request};
use hyper::body::Incoming;
use penstock_model::{Action, Forward};
use penstock_routing::{Miss, RouteRequest};

use crate::access_log::Client;
use crate::route_state::RouteState;
use crate::tls::ClientCertificate;
use crate::trace::{Context, Trace};
use crate::worker::Worker;

pub(crate) use body::Body;
pub(crate) use closed_by::ClosedBy;
use headers::{Added, Kept, Origin};
pub(crate) use interim::Interim;
use record::Record;
use rewrite::{Facts, Rewritten};
pub(crate) use tunnel::{Acceptance, Held, Pending};
pub(crate) use upload::Upload;
use validate::{Valid, validate};

/// A client's connection, as its requests see it.
#[derive(Debug)]
pub(crate) struct Downstream {
    pub(crate) worker: Rc<Worker>,
    /// The local port it came to.
    pub(crate) port: u16,
    pub(crate) peer: SocketAddr,
    /// Address of the peer as headers and logs say it.
    pub(crate) peer_text: Box<str>,
    pub(crate) tls: Option<Tls>,
    /// Requests under way.
    pub(crate) active: Cell<u32>,
    /// A tunnel that waits for its 101 to be written.
    pub(crate) upgrade: RefCell<Option<Box<Pending>>>,
    /// The listener's port or the process is closing: this request is the last one.
    pub(crate) last: Cell<bool>,
    /// Requests so far.
    pub(crate) served: Cell<u32>,
}

/// What the handshake agreed on.
#[derive(Clone, Debug)]
pub(crate) struct Tls {
    /// Number of the listener whose certificate the client took.
    pub(crate) listener: u64,
    /// What it showed of itself, where it was asked.
    pub(crate) client: Option<Rc<ClientCertificate>>,
    pub(crate) version: Option<&'static str>,
    pub(crate) cipher: Option<&'static str>,
    /// HTTP/2 by ALPN.
    pub(crate) http2: bool,
}

/// Held while a request is under way: by its handler, then by the body of its answer.
#[derive(Debug)]
pub(crate) struct Guard(Rc<Downstream>);

impl Guard {
    pub(crate) fn new(downstream: &Rc<Downstream>) -> Self {
        downstream.active.set(downstream.active.get() + 1);
        downstream.served.set(downstream.served.get().wrapping_add(1));
        Self(Rc::clone(downstream))
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.active.set(self.0.active.get() - 1);
    }
}

/// Answers a request of HTTP/1.
pub(crate) async fn serve(
    downstream: Rc<Downstream>,
    request: Request<Incoming>,
) -> Result<Response<Body>, Infallible> {
    let guard = Guard::new(&downstream);
    let (parts, body) = request.into_parts();
    let mut response = answer(&downstream, &parts, Upload::new(body), guard, Interim::default()).await;
    if downstream.last.get() && response.status() != StatusCode::SWITCHING_PROTOCOLS {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    Ok(response)
}

/// Answers a request, whatever protocol it came by.
pub(crate) async fn answer(
    downstream: &Rc<Downstream>,
    parts: &request::Parts,
    body: Upload,
    guard: Guard,
    interim: Interim<'_>,
) -> Response<Body> {
    let worker = &downstream.worker;
    let request_id = worker.request_id();
    let context = worker.tracer.begin(&parts.headers);
    let trace = context.filter(|context| context.sampled).map(Trace::new);
    let told = worker.log.is_on() || trace.is_some();
    let client = told.then(|| Box::new(downstream.client(parts, &request_id, context.as_ref())));
    let mut record = Record::new(worker, parts.method.clone(), client, trace);
    let valid = match validate(parts) {
        Ok(valid) => valid,
        Err(refusal) => {
            downstream.count_refused("none", refusal.reason);
            return answer::text(refusal.status, refusal.detail, Some(refusal.reason), record, guard);
        }
    };
    let live = worker.live();
    let found = live.routes.find(&RouteRequest {
        port: downstream.port,
        host: valid.host,
        path: &valid.path.path,
        query: valid.query,
        method: &parts.method,
        headers: &parts.headers,
    });
    let (listener, route) = match found {
        Ok(found) => (&found.listener.listener.id, Some(Arc::clone(found.value))),
        Err(Miss::NoRoute(listener)) => (&listener.listener.id, None),
        Err(Miss::NoListener) => {
            downstream.count_refused("none", "no_listener");
            return answer::text(
                StatusCode::NOT_FOUND,
                "no listener for this host",
                Some("no_listener"),
                record,
                guard,
            );
        }
    };
    let listener = live.listeners.get(listener).cloned();
    // The table may be swapped while this request is under way; what it found stays with it.
    drop(live);
    let client_address = listener.as_ref().map(|listener| &listener.listener.client_address);
    let proxies = client_address.filter(|address| address.trusts(downstream.peer.ip()));
    let origin = Origin {
        address: downstream.peer.ip(),
        peer: &downstream.peer_text,
        scheme: if downstream.tls.is_some() { "https" } else { "http" },
        port: listener.as_ref().map_or(downstream.port, |listener| listener.listener.port),
        proxies,
        client: downstream.tls.as_ref().and_then(|tls| tls.client.as_deref()),
    };
    let Valid { host, authority, path, query } = &valid;
    let kept = Kept::of(&parts.headers, &origin);
    let added = Added { parts, origin: &origin, kept: &kept, authority, request_id: &request_id };
    if proxies.is_some()
        && let Some(client) = record.client()
    {
        added.identify(client);
    }
    if let Some(listener) = &listener {
        record.routed(listener, route.as_ref());
        if let Err(refusal) = admit::admit(downstream.tls.as_ref(), listener) {
            record.refused(refusal.reason);
            return answer::text(refusal.status, refusal.detail, Some(refusal.reason), record, guard);
        }
    }
    let Some(route) = route else {
        record.refused("no_rule");
        return answer::text(StatusCode::NOT_FOUND, "no rule takes this request", Some("no_rule"), record, guard);
    };
    let (route, rewritten) = match &*route.route.action {
        Action::Forward(Forward { rewrites: Some(set), .. }) => {
            let facts = Facts { downstream, parts, host, authority, port: origin.port };
            let headers = headers::outgoing(&parts.headers, &kept, &added);
            let Ok(rewritten) = Rewritten::request(set, facts, headers, &path.path, *query) else {
                let detail = "the path as rewritten is not valid";
                return answer::text(StatusCode::BAD_REQUEST, detail, Some("rewrite"), record, guard);
            };
            match rewritten.reroute.then(|| reroute(downstream, &rewritten, &route)) {
                None => (route, Some(Box::new(rewritten))),
                Some(Some(other)) => (other, Some(Box::new(rewritten))),
                Some(None) => {
                    record.refused("no_rule");
                    let detail = "no path of the rule takes this request as rewritten";
                    return answer::text(StatusCode::NOT_FOUND, detail, Some("no_rule"), record, guard);
                }
            }
        }
        _ => (route, None),
    };
    match &*route.route.action {
        Action::Respond(status) => answer::text(*status, "as configured", None, record, guard),
        Action::Redirect(redirect) => answer::redirect(redirect, parts, valid.host, record, guard),
        Action::Forward(to) => {
            let own = match &rewritten {
                Some(rewritten) => Some(target::rewritten(&to.path, rewritten, path, parts.uri.path())),
                None => target::received(&to.path, path, *query),
            };
            let received = || parts.uri.path_and_query().map_or("/", |target| target.as_str());
            let headers = match &rewritten {
                Some(rewritten) => forward::Headers::Rewritten(rewritten),
                None => forward::Headers::Passed,
            };
            let out = forward::Outbound {
                downstream,
                route: &route,
                forward: to,
                parts,
                target: own.as_deref().unwrap_or_else(received).as_bytes(),
                authority,
                added: &added,
                headers,
                context: context.as_ref(),
                interim,
            };
            forward::forward(out, body, record, guard).await
        }
    }
}

/// Matches the paths of the request's rule again. Once: the rewrites were carried out and are not again.
fn reroute(downstream: &Downstream, rewritten: &Rewritten<'_>, route: &RouteState) -> Option<Arc<RouteState>> {
    let request = RouteRequest {
        port: downstream.port,
        host: rewritten.facts.host,
        path: &rewritten.path,
        query: rewritten.query.as_deref(),
        method: &rewritten.facts.parts.method,
        headers: &rewritten.headers,
    };
    let live = downstream.worker.live();
    live.routes.find_of(&request, &route.route.rule).ok().map(|found| Arc::clone(found.value))
}

impl Downstream {
    pub(crate) fn new(worker: &Rc<Worker>, port: u16, peer: SocketAddr, tls: Option<Tls>) -> Rc<Self> {
        Rc::new(Self {
            worker: Rc::clone(worker),
            port,
            peer,
            peer_text: peer.ip().to_string().into(),
            tls,
            active: Cell::new(0),
            upgrade: RefCell::new(None),
            last: Cell::new(false),
            served: Cell::new(0),
        })
    }

    /// The client's side failed: bytes that are no HTTP are counted, a client that went away is not.
    pub(crate) fn connection_failed(&self, error: &hyper::Error) {
        if error.is_parse_too_large() {
            self.count_refused("none", "header_too_large");
        } else if error.is_parse() {
            self.count_refused("none", "bad_request");
        }
        tracing::debug!(peer = %self.peer, %error, "client connection ended");
    }

    pub(crate) fn count_refused(&self, listener: &str, reason: &'static str) {
        self.worker.metrics.refused(listener, reason);
    }

    /// What the access log and a span say about the client's side.
    fn client(&self, parts: &request::Parts, request_id: &[u8], context: Option<&Context>) -> Client {
        let text = |name: &str| parts.headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let host = parts.uri.authority().map(|authority| authority.as_str().to_owned()).or_else(|| text("host"));
        // Where nothing is traced here, it may be elsewhere. W3C Trace Context: version-traceid-parentid-flags.
        let passed = || text("traceparent").and_then(|value| value.split('-').nth(1).map(str::to_owned));
        let trace_id = context.map(Context::trace_text).or_else(passed);
        Client {
            address: self.peer_text.clone().into(),
            peer: None,
            scheme: if self.tls.is_some() { "https" } else { "http" },
            host: host.unwrap_or_default(),
            path: parts.uri.path().to_owned(),
            query: parts.uri.query().map(str::to_owned),
            protocol: match parts.version {
                Version::HTTP_10 => "HTTP/1.0",
                Version::HTTP_2 => "HTTP/2",
                _ => "HTTP/1.1",
            },
            user_agent: text(USER_AGENT.as_str()),
            request_id: String::from_utf8_lossy(request_id).into_owned(),
            trace_id,
            tls_version: self.tls.as_ref().and_then(|tls| tls.version),
            tls_cipher: self.tls.as_ref().and_then(|tls| tls.cipher),
        }
    }
}
