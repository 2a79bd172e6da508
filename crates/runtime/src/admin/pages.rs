//! The pages of the admin server, each a function of the sources.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{
    ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Body;
use prometheus::TextEncoder;

use super::diff;
use super::events::{Answer, MAX_CLIENTS};
use super::{Site, Sources};

pub(super) const TEXT: &str = "text/plain; charset=utf-8";
const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
pub(super) const JSON: &str = "application/json";
const EVENTS: &str = "text/event-stream";
const METRICS: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The dashboard loads its own two files, speaks to this server, and nothing else.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Before the id of a request.
const REQUESTS: &str = "/requests/";

/// Status, type and text.
pub(super) type Page = (StatusCode, &'static str, String);

/// Answers a request.
pub(super) async fn answer<B>(request: Request<B>, site: &Site) -> Response<Answer>
where
    B: Body<Data = Bytes>,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    if request.uri().path() == "/diff" {
        if *request.method() == Method::POST {
            return whole(diff::answer(request, site).await);
        }
        let text = "POST objects as application/yaml to see what they would change\n".to_owned();
        let mut response = whole((StatusCode::METHOD_NOT_ALLOWED, TEXT, text));
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("POST"));
        return response;
    }
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut response = whole((StatusCode::METHOD_NOT_ALLOWED, TEXT, "read-only: GET or HEAD\n".to_owned()));
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return response;
    }
    let sources = &site.sources;
    let fixed = |kind, text: &str| (StatusCode::OK, kind, text.to_owned());
    whole(match request.uri().path() {
        "/" => return dashboard(),
        "/dashboard.css" => fixed(CSS, include_str!("dashboard/dashboard.css")),
        "/dashboard.js" => fixed(SCRIPT, include_str!("dashboard/dashboard.js")),
        "/events" => return events(request.method(), site),
        "/explain" => explain(request.uri().query().unwrap_or_default(), site).await,
        "/metrics" => metrics(sources),
        "/healthz" => fixed(TEXT, "ok\n"),
        "/readyz" => readyz(sources),
        "/status" => status(sources),
        path => match path.strip_prefix(REQUESTS) {
            Some(id) => one_request(sources, id),
            None => (StatusCode::NOT_FOUND, TEXT, "no such page: / links to them\n".to_owned()),
        },
    })
}

pub(super) fn whole((code, kind, body): Page) -> Response<Answer> {
    let mut response = Response::new(Answer::Whole(Full::new(Bytes::from(body))));
    *response.status_mut() = code;
    with_headers(response, kind)
}

fn with_headers(mut response: Response<Answer>, kind: &'static str) -> Response<Answer> {
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

fn dashboard() -> Response<Answer> {
    let mut response = whole((StatusCode::OK, HTML, include_str!("dashboard/dashboard.html").to_owned()));
    let headers = response.headers_mut();
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    response
}

fn events(method: &Method, site: &Site) -> Response<Answer> {
    if *method == Method::HEAD {
        return whole((StatusCode::OK, EVENTS, String::new()));
    }
    match site.events.subscribe() {
        Some(stream) => with_headers(Response::new(Answer::Events(stream)), EVENTS),
        None => {
            let text = format!("no more events: the process is leaving, or {MAX_CLIENTS} clients listen already\n");
            whole((StatusCode::SERVICE_UNAVAILABLE, TEXT, text))
        }
    }
}

/// A table of all routes is made for each question: elsewhere, and for one at a time.
async fn explain(query: &str, site: &Site) -> Page {
    let (query, explain) = (query.to_owned(), Arc::clone(&site.sources.explain));
    let turn = Arc::clone(&site.slow).acquire_owned().await;
    let asked = move || {
        let answer = explain(&query);
        drop(turn);
        answer
    };
    match tokio::task::spawn_blocking(asked).await {
        Ok(Ok(text)) => (StatusCode::OK, TEXT, text),
        Ok(Err(wrong)) => (StatusCode::BAD_REQUEST, TEXT, format!("{wrong}\n")),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, TEXT, format!("no explanation: {error}\n")),
    }
}

fn metrics(sources: &Sources) -> Page {
    match TextEncoder::new().encode_to_string(&sources.registry.gather()) {
        Ok(text) => (StatusCode::OK, METRICS, text),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, TEXT, format!("the metrics cannot be written: {error}\n")),
    }
}

fn readyz(sources: &Sources) -> Page {
    let state = sources.readiness.state();
    let code = if state.is_ready() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (code, TEXT, format!("{state}\n"))
}

fn status(sources: &Sources) -> Page {
    (StatusCode::OK, JSON, format!("{:#}\n", (sources.status)()))
}

fn one_request(sources: &Sources, id: &str) -> Page {
    match (sources.request)(id) {
        Some(line) => (StatusCode::OK, JSON, format!("{line}\n")),
        None => {
            let text = format!(
                "no request {id:?} among the recent ones: it is not over, was too long ago, or the access log is off\n"
            );
            (StatusCode::NOT_FOUND, TEXT, text)
        }
    }
}
