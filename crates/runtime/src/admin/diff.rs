//! `POST /diff`: the one page that takes something. It is looked at, answered, and forgotten; nothing is applied.

use std::sync::Arc;
use std::time::Duration;

use http::header::CONTENT_TYPE;
use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::{Body, Bytes};
use tokio::time::timeout;

use super::Site;
use super::pages::{JSON, Page, TEXT};

/// The largest text: thousands of rules.
const LARGEST: usize = 8 * 1024 * 1024;
/// How long it may take to come.
const BODY_TIMEOUT: Duration = Duration::from_secs(15);
/// What a text must be called. No page of another origin may send this without being asked for leave (CORS), which it does
/// not get.
const YAML: &str = "application/yaml";

pub(super) async fn answer<B>(request: Request<B>, site: &Site) -> Page
where
    B: Body<Data = Bytes>,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let kind = request.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    if kind.split(';').next().is_none_or(|kind| kind.trim() != YAML) {
        return (StatusCode::UNSUPPORTED_MEDIA_TYPE, TEXT, format!("send {YAML}: objects as for kubectl apply\n"));
    }
    // One after the other, the text included: so there is one in memory, however many are sent.
    let turn = Arc::clone(&site.slow).acquire_owned().await;
    let body = match timeout(BODY_TIMEOUT, Limited::new(request.into_body(), LARGEST).collect()).await {
        Ok(Ok(body)) => body.to_bytes(),
        Ok(Err(_)) => {
            let text = format!("no whole text of at most {LARGEST} bytes came: send fewer objects at once\n");
            return (StatusCode::PAYLOAD_TOO_LARGE, TEXT, text);
        }
        Err(_) => return (StatusCode::REQUEST_TIMEOUT, TEXT, format!("no whole text came in {BODY_TIMEOUT:?}\n")),
    };
    let Ok(text) = String::from_utf8(body.into()) else {
        return (StatusCode::BAD_REQUEST, TEXT, "the text is not UTF-8: save it as UTF-8\n".to_owned());
    };
    let compared = (site.sources.diff)(text);
    let compared = tokio::spawn(async move {
        let answer = compared.await;
        drop(turn);
        answer
    });
    match compared.await {
        Ok(Ok(json)) => (StatusCode::OK, JSON, format!("{json}\n")),
        Ok(Err(wrong)) => (StatusCode::SERVICE_UNAVAILABLE, TEXT, format!("{wrong}\n")),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, TEXT, format!("no answer: {error}\n")),
    }
}
