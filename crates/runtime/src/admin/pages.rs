//! The pages of the admin server, each a function of the sources.

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use prometheus::TextEncoder;

use super::Sources;

pub(super) const TEXT: &str = "text/plain; charset=utf-8";
const HTML: &str = "text/html; charset=utf-8";
pub(super) const JSON: &str = "application/json";
const METRICS: &str = "text/plain; version=0.0.4; charset=utf-8";

const INDEX: &str = "<!doctype html>
<html lang=\"en\"><title>Penstock</title><h1>Penstock</h1>
<ul>
<li><a href=\"/metrics\">/metrics</a>: for Prometheus</li>
<li><a href=\"/status\">/status</a>: listeners, backends and problems as JSON</li>
<li>POST /probe: asks backends at once, as <code>penstock probe</code> does</li>
<li>/requests/ID: one recent request as JSON, by the request_id of the access log</li>
<li><a href=\"/readyz\">/readyz</a>: 200 while traffic may be sent here</li>
<li><a href=\"/healthz\">/healthz</a>: 200 while the process works</li>
</ul>
</html>
";

/// Before the id of a request.
const REQUESTS: &str = "/requests/";

/// Answers a request.
pub(super) fn answer<B>(request: &Request<B>, sources: &Sources) -> Response<Full<Bytes>> {
    let path = request.uri().path();
    let page: fn(&Sources, &str) -> (StatusCode, &'static str, String) = match path {
        "/" => |_, _| (StatusCode::OK, HTML, INDEX.to_owned()),
        "/metrics" => |sources, _| metrics(sources),
        "/healthz" => |_, _| (StatusCode::OK, TEXT, "ok\n".to_owned()),
        "/readyz" => |sources, _| readyz(sources),
        "/status" => |sources, _| status(sources),
        path if path.starts_with(REQUESTS) => one_request,
        _ => |_, _| (StatusCode::NOT_FOUND, TEXT, "no such page: / lists them\n".to_owned()),
    };
    let read_only = matches!(*request.method(), Method::GET | Method::HEAD);
    let (code, kind, body) = if read_only {
        page(sources, path)
    } else {
        (StatusCode::METHOD_NOT_ALLOWED, TEXT, "read-only: GET or HEAD\n".to_owned())
    };
    let mut response = self::page(code, kind, body);
    if !read_only {
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
    }
    response
}

/// A page with what all of them have.
pub(super) fn page(code: StatusCode, kind: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = code;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

fn metrics(sources: &Sources) -> (StatusCode, &'static str, String) {
    match TextEncoder::new().encode_to_string(&sources.registry.gather()) {
        Ok(text) => (StatusCode::OK, METRICS, text),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, TEXT, format!("the metrics cannot be written: {error}\n")),
    }
}

fn readyz(sources: &Sources) -> (StatusCode, &'static str, String) {
    let state = sources.readiness.state();
    let code = if state.is_ready() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (code, TEXT, format!("{state}\n"))
}

fn status(sources: &Sources) -> (StatusCode, &'static str, String) {
    (StatusCode::OK, JSON, format!("{:#}\n", (sources.status)()))
}

fn one_request(sources: &Sources, path: &str) -> (StatusCode, &'static str, String) {
    let id = path.strip_prefix(REQUESTS).unwrap_or_default();
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
