//! Answers of the gateway itself: refusals, failures, redirects. Errors turn into HTTP here and nowhere else.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_TYPE, HeaderValue, LOCATION, RETRY_AFTER};
use http::{Response, StatusCode, Version, request};
use penstock_model::{Redirect, RedirectTarget};

use super::Guard;
use super::attempt::Failure;
use super::body::Body;
use super::grpc;
use super::record::Record;
use crate::upstream::ConnectError;

/// A short text, or the page that the listener's owner wants in its place. `error` is what the access log says.
pub(crate) fn text(
    status: StatusCode,
    detail: &str,
    error: Option<&'static str>,
    mut record: Record,
    guard: Guard,
) -> Response<Body> {
    record.status = Some(status);
    record.error = error;
    let (content_type, body) = match record.error_page(status) {
        Some(page) => (page.content_type, Bytes::from_owner(Arc::clone(&page.body))),
        None => {
            let reason = status.canonical_reason().unwrap_or("Error");
            ("text/plain; charset=utf-8", Bytes::from(format!("{} {reason}: {detail}\n", status.as_str())))
        }
    };
    let mut response = Response::new(Body::whole(body, Some(record), guard));
    if let Ok(message) = HeaderValue::from_str(detail) {
        response.extensions_mut().insert(grpc::Own(message));
    }
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// The backend has all that it may have, and as much waits as may wait.
pub(crate) fn overflow(record: Record, guard: Guard) -> Response<Body> {
    record.refused("overflow");
    let detail = "the backend is at its limit of connections";
    let mut answer = text(StatusCode::SERVICE_UNAVAILABLE, detail, Some("overflow"), record, guard);
    answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
    answer
}

/// What the client gets when every attempt failed.
pub(crate) fn failed(failure: &Failure, version: Version, record: Record, guard: Guard) -> Response<Body> {
    let (status, detail) = match failure {
        Failure::ClientTimedOut(_) => {
            record.refused("timeout");
            (StatusCode::REQUEST_TIMEOUT, "the request body did not come in time")
        }
        Failure::TimedOut(_) => (StatusCode::GATEWAY_TIMEOUT, "the backend did not answer in time"),
        Failure::Client => (StatusCode::BAD_REQUEST, "the request body ended early"),
        Failure::TooLarge => {
            record.refused(Failure::TooLarge.reason());
            (StatusCode::PAYLOAD_TOO_LARGE, "the request body is too large")
        }
        Failure::Connect(ConnectError::Tls(..)) => (StatusCode::BAD_GATEWAY, "no TLS with the backend"),
        Failure::Backend(error) if error.is_tls() => (StatusCode::BAD_GATEWAY, "no TLS with the backend"),
        Failure::Connect(ConnectError::NoRoom(..)) => {
            record.refused(failure.reason());
            (StatusCode::SERVICE_UNAVAILABLE, "the gateway is at its limit of connections to backends")
        }
        Failure::Connect(_) => (StatusCode::BAD_GATEWAY, "no connection to the backend"),
        Failure::Backend(_) => (StatusCode::BAD_GATEWAY, "the backend failed to answer"),
        Failure::Drained => (StatusCode::BAD_GATEWAY, "the backend went away"),
    };
    let mut answer = text(status, detail, Some(failure.reason()), record, guard);
    if matches!(failure, Failure::Connect(ConnectError::NoRoom(..))) {
        answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
    }
    if matches!(failure, Failure::ClientTimedOut(_)) && version < Version::HTTP_2 {
        // RFC 9110 15.5.9: what may still come of the body is not waited for.
        answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    answer
}

/// A redirect.
pub(crate) fn redirect(
    to: &Redirect,
    parts: &request::Parts,
    host: &str,
    mut record: Record,
    guard: Guard,
) -> Response<Body> {
    let fixed = match &to.target {
        RedirectTarget::Listener { host, .. } => host.is_some(),
        RedirectTarget::Url { .. } => true,
    };
    if host.is_empty() && !fixed {
        let detail = "the request names no host to be redirected to";
        return text(StatusCode::BAD_REQUEST, detail, Some("redirect"), record, guard);
    }
    let target = location(to, parts, host);
    let Ok(value) = HeaderValue::from_str(&target) else {
        return text(StatusCode::BAD_REQUEST, "the request cannot be redirected", Some("redirect"), record, guard);
    };
    record.status = Some(to.status);
    let mut response = Response::new(Body::empty(Some(record), guard));
    *response.status_mut() = to.status;
    response.headers_mut().insert(LOCATION, value);
    response
}

fn location(to: &Redirect, parts: &request::Parts, host: &str) -> String {
    let (mut target, own_path, fragment) = match &to.target {
        RedirectTarget::Listener { https, port, host: fixed } => {
            let (scheme, usual) = if *https { ("https", 443) } else { ("http", 80) };
            let host = fixed.as_deref().unwrap_or(host);
            let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
            let authority = if *port == usual { host } else { format!("{host}:{port}") };
            (format!("{scheme}://{authority}"), String::new(), None)
        }
        RedirectTarget::Url { url, fragment } => {
            let scheme = url.scheme_str().unwrap_or("https");
            let authority = url.authority().map_or("", |authority| authority.as_str());
            let own_path = url.path_and_query().map_or("", |path| path.as_str()).to_owned();
            (format!("{scheme}://{authority}"), own_path, fragment.as_deref())
        }
    };
    let request_path = parts.uri.path();
    if to.include_path {
        // A path of the URL stays in front of the request's.
        let (base, query) = own_path.split_once('?').unwrap_or((&own_path, ""));
        target.push_str(base.trim_end_matches('/'));
        target.push_str(request_path);
        if !query.is_empty() {
            target.push('?');
            target.push_str(query);
        }
    } else {
        target.push_str(if own_path.is_empty() { "/" } else { &own_path });
    }
    if let Some(query) = parts.uri.query().filter(|_| to.include_query) {
        target.push(if target.contains('?') { '&' } else { '?' });
        target.push_str(query);
    }
    if let Some(fragment) = fragment {
        target.push('#');
        target.push_str(fragment);
    }
    target
}
