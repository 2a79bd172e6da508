//! The one page that makes something happen: `/probe`. It comes by POST, as JSON and from no browser, so that no web page can
//! make somebody's browser send it; what it may ask for is for the process to judge.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ALLOW, CONTENT_TYPE, HeaderName, ORIGIN};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Body;
use tokio::time::timeout;

use super::Sources;
use super::events::Answer as Page;
use super::pages::{JSON, TEXT, whole};

/// Where it is.
pub(super) const PROBE: &str = "/probe";
/// The largest order.
const LARGEST: usize = 16 * 1024;
/// How long it may take to come.
const PATIENCE: Duration = Duration::from_secs(10);
/// What browsers add, whatever the page that makes them ask.
const FROM_A_BROWSER: [HeaderName; 2] = [ORIGIN, HeaderName::from_static("sec-fetch-site")];

/// What somebody asks for.
#[derive(Clone, Debug)]
pub struct Order {
    /// JSON, hopefully.
    pub body: Bytes,
    /// Whether it came over loopback: from this machine, or from somebody who may forward ports into this Pod.
    pub local: bool,
}

/// The answer to an order: JSON with 200, else a sentence.
pub type Answer = Pin<Box<dyn Future<Output = (StatusCode, String)> + Send>>;

/// From an order to its answer.
pub type TakeOrder = dyn Fn(Order) -> Answer + Send + Sync;

/// Answers a request for [`PROBE`].
pub(super) async fn answer<B>(request: Request<B>, sources: &Sources, local: bool) -> Response<Page>
where
    B: Body,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let refused = match read(request).await {
        Ok(body) => {
            let (code, text) = (sources.probe)(Order { body, local }).await;
            return whole((code, if code == StatusCode::OK { JSON } else { TEXT }, text));
        }
        Err(refused) => refused,
    };
    let (code, text) = refused;
    let mut response = whole((code, TEXT, text.to_owned()));
    if code == StatusCode::METHOD_NOT_ALLOWED {
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("POST"));
    }
    response
}

async fn read<B>(request: Request<B>) -> Result<Bytes, (StatusCode, &'static str)>
where
    B: Body,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    if *request.method() != Method::POST {
        return Err((StatusCode::METHOD_NOT_ALLOWED, "endpoints are probed by POST: `penstock probe` does that\n"));
    }
    let headers: &HeaderMap = request.headers();
    if FROM_A_BROWSER.iter().any(|name| headers.contains_key(name)) {
        return Err((StatusCode::FORBIDDEN, "not from a browser: use `penstock probe`\n"));
    }
    let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    if !kind.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case(JSON) {
        return Err((StatusCode::UNSUPPORTED_MEDIA_TYPE, "it must be application/json\n"));
    }
    match timeout(PATIENCE, Limited::new(request.into_body(), LARGEST).collect()).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(_)) => Err((StatusCode::PAYLOAD_TOO_LARGE, "it is longer than 16 KiB, or broke off\n")),
        Err(_) => Err((StatusCode::REQUEST_TIMEOUT, "it did not come within 10 s\n")),
    }
}
