//! The admin server of one instance, asked over HTTP.

use anyhow::{Context as _, bail};
use http::StatusCode;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::Question;

/// The largest answer: thousands of endpoints with room to spare.
const LARGEST: usize = 256 * 1024 * 1024;

/// What it answers.
pub(super) async fn ask(admin: &http::Uri, question: &Question<'_>) -> anyhow::Result<(StatusCode, String)> {
    let (None | Some("http"), Some(authority)) = (admin.scheme_str(), admin.authority()) else {
        bail!("--admin {admin}: it must be a URL such as http://127.0.0.1:9090");
    };
    let host = authority.host().trim_start_matches('[').trim_end_matches(']');
    let stream = TcpStream::connect((host, authority.port_u16().unwrap_or(80))).await.with_context(|| {
        format!("--admin {admin}: nothing answers there; start `penstock run`, or name its --admin-address")
    })?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let connection = tokio::spawn(connection);
    let request = question
        .request(admin.path().trim_end_matches('/'))
        .header(http::header::HOST, authority.as_str())
        .header(http::header::CONNECTION, "close")
        .body(Full::new(Bytes::copy_from_slice(question.body())))?;
    let response = sender.send_request(request).await.with_context(|| format!("--admin {admin}: no HTTP answer"))?;
    let code = response.status();
    let body = Limited::new(response.into_body(), LARGEST).collect().await;
    connection.abort();
    let body = body.map_err(|error| anyhow::anyhow!("--admin {admin}: the answer broke off: {error}"))?.to_bytes();
    let text = String::from_utf8(body.into()).with_context(|| format!("--admin {admin}: the answer is not text"))?;
    Ok((code, text))
}
