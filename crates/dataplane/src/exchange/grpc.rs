//! What a gRPC client gets of the gateway itself: a status of its own protocol in a head without a body (Trailers-Only), because
//! to it an HTTP status says little (grpc/doc/PROTOCOL-HTTP2.md, grpc/doc/http-grpc-status-mapping.md).

use http::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use http::{HeaderMap, Response, StatusCode};

use super::body::Body;

static GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
static GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");

/// Marks an answer as the gateway's own, with its text.
#[derive(Clone, Debug)]
pub(crate) struct Own(pub(crate) HeaderValue);

/// Whether a request is a call of gRPC. gRPC-Web is not: its client reads HTTP.
fn is_call(request: &HeaderMap) -> bool {
    let kind = request.get(CONTENT_TYPE).map_or(&b""[..], HeaderValue::as_bytes);
    kind.strip_prefix(b"application/grpc").is_some_and(|rest| matches!(rest.first(), None | Some(b'+' | b';')))
}

/// Says an answer of the gateway's own in the words of gRPC, if a call asked.
pub(crate) fn translate(request: &HeaderMap, mut response: Response<Body>) -> Response<Body> {
    if !is_call(request) {
        return response;
    }
    let Some(Own(message)) = response.extensions_mut().remove() else { return response };
    let code = code(response.status());
    let mut translated = Response::new(response.into_body().without_content());
    let headers = translated.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert(&GRPC_STATUS, HeaderValue::from(code));
    headers.insert(&GRPC_MESSAGE, message);
    translated
}

/// The mapping of grpc/doc/http-grpc-status-mapping.md, and what else the gateway answers.
fn code(status: StatusCode) -> u16 {
    match status {
        StatusCode::REQUEST_TIMEOUT | StatusCode::GATEWAY_TIMEOUT => 4,
        StatusCode::FORBIDDEN => 7,
        StatusCode::PAYLOAD_TOO_LARGE | StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE => 8,
        StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED => 12,
        StatusCode::BAD_REQUEST => 13,
        StatusCode::TOO_MANY_REQUESTS | StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE => 14,
        StatusCode::UNAUTHORIZED => 16,
        _ => 2,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_told_by_their_content_type() {
        for (kind, call) in [
            ("application/grpc", true),
            ("application/grpc+proto", true),
            ("application/grpc;charset=utf-8", true),
            ("application/grpc-web", false),
            ("application/json", false),
        ] {
            let headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(kind))]);
            assert_eq!(is_call(&headers), call, "{kind}");
        }
        assert!(!is_call(&HeaderMap::new()));
    }
}
