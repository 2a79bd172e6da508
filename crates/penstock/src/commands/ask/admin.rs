//! The admin server of one instance, asked over HTTP.

use anyhow::{Context as _, bail};
use http::StatusCode;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::Page;

/// The largest answer: thousands of endpoints with room to spare.
const LARGEST: usize = 256 * 1024 * 1024;

/// What it answers to a path, or to YAML that is posted there.
pub(super) async fn ask(admin: &http::Uri, path: &str, yaml: Option<String>) -> anyhow::Result<Page> {
    let (None | Some("http"), Some(authority)) = (admin.scheme_str(), admin.authority()) else {
        bail!("--admin {admin}: it must be a URL such as http://127.0.0.1:9090");
    };
    let host = authority.host().trim_start_matches('[').trim_end_matches(']');
    let stream = TcpStream::connect((host, authority.port_u16().unwrap_or(80))).await.with_context(|| {
        format!("--admin {admin}: nothing answers there; start `penstock run`, or name its --admin-address")
    })?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let connection = tokio::spawn(connection);
    let method = if yaml.is_some() { http::Method::POST } else { http::Method::GET };
    let mut request = hyper::Request::builder()
        .method(method)
        .uri(format!("{}{path}", admin.path().trim_end_matches('/')))
        .header(http::header::HOST, authority.as_str())
        .header(http::header::CONNECTION, "close");
    if yaml.is_some() {
        request = request.header(http::header::CONTENT_TYPE, super::YAML);
    }
    let request = request.body(Full::<Bytes>::from(yaml.unwrap_or_default()))?;
    let response = sender.send_request(request).await.with_context(|| format!("--admin {admin}: no HTTP answer"))?;
    let code = response.status();
    let body = Limited::new(response.into_body(), LARGEST).collect().await;
    connection.abort();
    let body = body.map_err(|error| anyhow::anyhow!("--admin {admin}: the answer broke off: {error}"))?.to_bytes();
    let text = String::from_utf8(body.into()).with_context(|| format!("--admin {admin}: the answer is not text"))?;
    match code {
        code if code.is_success() => Ok(Ok(text)),
        StatusCode::NOT_FOUND => Ok(Err(text)),
        code => bail!("--admin {admin}: {path} answers {code}: {}", text.trim_end()),
    }
}
