//! The collector, asked over HTTP/1.1 by a connection that is kept.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST, RETRY_AFTER, USER_AGENT};
use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, Collected, Full, Limited};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use prost::Message as _;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::Endpoint;
use crate::messages::Response;

/// From the connection to the last byte of the answer.
const DEADLINE: Duration = Duration::from_secs(10);
/// The largest answer that is read.
const LARGEST: usize = 64 * 1024;

/// What came of a batch.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Taken, but for so many spans.
    Taken { rejected: u64 },
    /// Not taken, and not to be sent again.
    Refused(String),
    /// It may be sent again, not before so long if the collector says so.
    Later(String, Option<Duration>),
}

/// A collector.
pub(crate) struct Collector {
    endpoint: Endpoint,
    tls: Option<(TlsConnector, ServerName<'static>)>,
    connection: Option<SendRequest<Full<Bytes>>>,
}

impl Collector {
    /// Nothing is connected yet.
    ///
    /// # Errors
    /// There can be no TLS.
    pub(crate) fn new(endpoint: Endpoint) -> Result<Self, String> {
        let tls = endpoint.https.then(|| tls(&endpoint)).transpose()?;
        Ok(Self { endpoint, tls, connection: None })
    }

    /// Sends a batch once.
    pub(crate) async fn send(&mut self, body: Bytes) -> Outcome {
        match timeout(DEADLINE, self.exchange(body)).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(error)) => Outcome::Later(error, None),
            Err(_) => Outcome::Later(format!("no answer in {DEADLINE:?}"), None),
        }
    }

    async fn exchange(&mut self, body: Bytes) -> Result<Outcome, String> {
        // While it is used it is not kept: what is given up half-way is not used again.
        let mut kept = None;
        if let Some(mut connection) = self.connection.take()
            && connection.ready().await.is_ok()
        {
            // A collector may close what is idle at any time, which says nothing about it.
            kept = connection.send_request(self.request(&body)?).await.ok().map(|response| (connection, response));
        }
        let (connection, response) = match kept {
            Some(exchange) => exchange,
            None => {
                let mut connection = self.connect().await?;
                let response =
                    connection.send_request(self.request(&body)?).await.map_err(|error| error.to_string())?;
                (connection, response)
            }
        };
        let status = response.status();
        let wait = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
        // The status has said what became of the batch: a body that breaks off does not have it sent again.
        let answer = Limited::new(response.into_body(), LARGEST).collect().await.ok().map(Collected::to_bytes);
        self.connection = answer.is_some().then_some(connection);
        Ok(judge(status, wait.map(Duration::from_secs), answer.unwrap_or_default()))
    }

    async fn connect(&self) -> Result<SendRequest<Full<Bytes>>, String> {
        let address = (self.endpoint.host(), self.endpoint.port());
        let socket = TcpStream::connect(address).await.map_err(|error| error.to_string())?;
        match &self.tls {
            None => serve(socket).await,
            Some((connector, name)) => {
                let socket = connector.connect(name.clone(), socket).await;
                serve(socket.map_err(|error| error.to_string())?).await
            }
        }
    }

    fn request(&self, body: &Bytes) -> Result<Request<Full<Bytes>>, String> {
        let request = Request::post(self.endpoint.path.as_str())
            .header(HOST, self.endpoint.authority.as_str())
            .header(USER_AGENT, concat!("penstock/", env!("CARGO_PKG_VERSION")))
            .header(CONTENT_TYPE, "application/x-protobuf");
        request.body(Full::new(body.clone())).map_err(|error| error.to_string())
    }
}

/// HTTP on a connection, which is driven in a task of its own.
async fn serve<S>(socket: S) -> Result<SendRequest<Full<Bytes>>, String>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin + 'static,
{
    let (sender, connection) = handshake(TokioIo::new(socket)).await.map_err(|error| error.to_string())?;
    tokio::spawn(async move {
        // Whoever sends a request hears of its end.
        let _ = connection.await;
    });
    Ok(sender)
}

/// What an answer means (OTLP, OTLP/HTTP Response).
fn judge(status: StatusCode, wait: Option<Duration>, body: Bytes) -> Outcome {
    if status.is_success() {
        let partial = Response::decode(body).ok().and_then(|response| response.partial_success);
        let rejected = partial.map_or(0, |partial| u64::try_from(partial.rejected_spans).unwrap_or(0));
        return Outcome::Taken { rejected };
    }
    let why = format!("it answered {status}");
    match status.as_u16() {
        429 | 502 | 503 | 504 => Outcome::Later(why, wait),
        _ => Outcome::Refused(why),
    }
}

/// TLS with the authorities of the system.
fn tls(endpoint: &Endpoint) -> Result<(TlsConnector, ServerName<'static>), String> {
    let name = ServerName::try_from(endpoint.host().to_owned()).map_err(|error| error.to_string())?;
    let mut roots = RootCertStore::empty();
    let (taken, _) = roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if taken == 0 {
        return Err("the system has no certificate authorities".to_owned());
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = config.map_err(|error| error.to_string())?.with_root_certificates(roots).with_no_client_auth();
    Ok((TlsConnector::from(Arc::new(config)), name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::messages::PartialSuccess;

    #[test]
    fn answers_mean_what_otlp_says() {
        let judged = |status: u16, body: Bytes| judge(StatusCode::from_u16(status).unwrap(), None, body);
        let partial = PartialSuccess { rejected_spans: 2, error_message: String::new() };
        let body = Response { partial_success: Some(partial) }.encode_to_vec();
        assert_eq!(judged(200, body.into()), Outcome::Taken { rejected: 2 });
        for body in ["", "no protobuf"] {
            assert_eq!(judged(200, body.into()), Outcome::Taken { rejected: 0 });
        }
        for status in [429, 502, 503, 504] {
            assert!(matches!(judged(status, Bytes::new()), Outcome::Later(..)), "{status}");
        }
        for status in [301, 400, 401, 404, 413, 500] {
            assert!(matches!(judged(status, Bytes::new()), Outcome::Refused(_)), "{status}");
        }
    }
}
