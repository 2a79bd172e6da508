//! The web backend of the demo: shows what it was sent, so that one sees what the gateway does to a request.

use std::convert::Infallible;
use std::fmt::Write as _;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

pub(super) async fn serve(io: TokioIo<TcpStream>) {
    let service = service_fn(|request| async move { Ok::<_, Infallible>(answer(&request)) });
    if let Err(error) = http1::Builder::new().serve_connection(io, service).await {
        tracing::debug!(%error, "a connection of the web backend ended early");
    }
}

fn answer(request: &Request<Incoming>) -> Response<Full<Bytes>> {
    let text = match request.uri().path() {
        "/healthz" => "ok\n".to_owned(),
        _ => echo(request),
    };
    page(StatusCode::OK, "text/plain; charset=utf-8", text.into())
}

fn echo<B>(request: &Request<B>) -> String {
    let mut text =
        format!("The web backend was sent:\n\n{} {} {:?}\n", request.method(), request.uri(), request.version());
    for (name, value) in request.headers() {
        let _ = writeln!(text, "{name}: {}", String::from_utf8_lossy(value.as_bytes()));
    }
    text
}

/// An answer with a body.
pub(super) fn page(status: StatusCode, kind: &'static str, body: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    response.headers_mut().insert(http::header::CONTENT_TYPE, http::HeaderValue::from_static(kind));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_the_head() {
        let request = Request::get("/a?b").header("x-forwarded-proto", "http").body(()).unwrap();
        assert_eq!(echo(&request), "The web backend was sent:\n\nGET /a?b HTTP/1.1\nx-forwarded-proto: http\n");
    }
}
