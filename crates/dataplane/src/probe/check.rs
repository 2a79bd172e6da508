//! One probe: connect, ask, look at the answer.

use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::USER_AGENT;
use http::{HeaderMap, Method};
use http_body_util::Full;
use penstock_model::{HealthMatch, Probe, Protocol, Question};
use rustls::CertificateError;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use super::grpc;
use crate::upstream::h1::{BodyLength, Connection, Error, RequestHead, ResponseEvent, SendError};
use crate::upstream::{Carrier, ConnectError, Connector, Offer, Secured, is_none_of, single};

/// The part of a body that is kept: the expected text must stand in it.
const MAX_BODY: usize = 64 * 1024;

/// Why an endpoint is taken for down. The words in front of the colon are the classes of Azure's backend health.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unhealthy {
    #[error("ConnectFailed: {0}")]
    Connect(std::io::Error),
    #[error("CertificateNameMismatch: {0}")]
    CertificateName(ConnectError),
    #[error("CertificateNotTrusted: {0}")]
    CertificateTrust(ConnectError),
    #[error("CertificateExpired: {0}")]
    CertificateTime(ConnectError),
    #[error("TlsFailed: {0}")]
    Tls(ConnectError),
    #[error("Timeout: no complete answer in {0:?}")]
    Timeout(Duration),
    #[error("StatusMismatch: the answer was {0}")]
    Status(u16),
    #[error("BodyMismatch: the expected text is not in the body")]
    Body(u16),
    #[error("GrpcStatus: {0}")]
    Grpc(#[from] grpc::NotServing),
    #[error("BadAnswer: {0}")]
    Answer(Error),
    #[error("BadProbe: host or path cannot be sent")]
    Probe,
}

impl Unhealthy {
    /// Of the answer, where it was one.
    pub(super) fn status(&self) -> Option<u16> {
        match self {
            Self::Status(status) | Self::Body(status) => Some(*status),
            _ => None,
        }
    }

    /// Azure tells by what is wrong with a certificate: its name, its authority, its dates, or something else.
    fn secured(error: ConnectError) -> Self {
        let certificate = match &error {
            ConnectError::Tls(_, error) => error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()),
            _ => None,
        };
        let Some(rustls::Error::InvalidCertificate(wrong)) = certificate else { return Self::Tls(error) };
        match wrong {
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                Self::CertificateName(error)
            }
            CertificateError::Other(other) if is_none_of(other) => Self::CertificateName(error),
            CertificateError::UnknownIssuer => Self::CertificateTrust(error),
            CertificateError::Expired
            | CertificateError::ExpiredContext { .. }
            | CertificateError::NotValidYet
            | CertificateError::NotValidYetContext { .. } => Self::CertificateTime(error),
            _ => Self::Tls(error),
        }
    }
}

/// Asks an endpoint once, by this name, in the time that the probe has. A good answer has its status, where it is one.
pub(super) async fn within(
    probe: &Probe,
    host: &str,
    connector: Option<&Arc<Connector>>,
    address: SocketAddr,
) -> Result<Option<u16>, Unhealthy> {
    let answer = tokio::time::timeout(probe.timeout, check(probe, host, connector, address)).await;
    answer.unwrap_or(Err(Unhealthy::Timeout(probe.timeout)))
}

async fn check(
    probe: &Probe,
    host: &str,
    connector: Option<&Arc<Connector>>,
    address: SocketAddr,
) -> Result<Option<u16>, Unhealthy> {
    let Some(connector) = connector else {
        let stream = TcpStream::connect(address).await.map_err(Unhealthy::Connect)?;
        return match probe.protocol {
            Protocol::Http1 => ask(probe, host, Carrier::Http1(Connection::new(stream))).await,
            Protocol::Http2 => ask_in_http2(probe, host, stream, None).await,
        };
    };
    let connect = async {
        let secured = Arc::clone(connector).to(host.as_bytes(), address)?;
        // The probe's own timeout is about all of it.
        let (stream, http2) = secured.connect(address, Offer::Any, None).await?;
        Ok((secured, stream, http2))
    };
    match connect.await {
        Ok((secured, stream, true)) => ask_in_http2(probe, host, stream, Some(secured)).await,
        Ok((_, _, false)) if matches!(probe.question, Question::Grpc { .. }) => Err(grpc::NotServing::NoHttp2.into()),
        Ok((_, stream, false)) => ask(probe, host, Carrier::Tls(Box::new(Connection::new(stream)))).await,
        Err(ConnectError::Failed(_, error) | ConnectError::NoRoom(_, error)) => Err(Unhealthy::Connect(error)),
        Err(error) => Err(Unhealthy::secured(error)),
    }
}

/// Asks on the only stream of a connection, which is polled meanwhile.
async fn ask_in_http2<S>(
    probe: &Probe,
    host: &str,
    stream: S,
    secured: Option<Secured>,
) -> Result<Option<u16>, Unhealthy>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let opened = single(stream, secured).await;
    let (exchange, connection) = opened.map_err(|error| Unhealthy::Answer(Error::Http2(error)))?;
    let (mut connection, mut asking) = (pin!(connection), pin!(ask(probe, host, Carrier::Http2(exchange))));
    let mut over = false;
    poll_fn(|cx| {
        // What ended it shows on the stream.
        over = over || connection.as_mut().poll(cx).is_ready();
        asking.as_mut().poll(cx)
    })
    .await
}

/// A whole answer.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    pub(super) trailers: HeaderMap,
}

async fn ask(probe: &Probe, host: &str, carrier: Carrier) -> Result<Option<u16>, Unhealthy> {
    match &probe.question {
        Question::Get { path, accept } => {
            let answer = exchange(carrier, (probe, host), &Method::GET, path, None).await?;
            judge(accept, &answer)
        }
        Question::Lives => match exchange(carrier, (probe, host), &Method::GET, "/", None).await {
            Ok(answer) if answer.status < 500 => Ok(Some(answer.status)),
            Ok(answer) => Err(Unhealthy::Status(answer.status)),
            Err(Unhealthy::Answer(Error::Http2(error))) if error.is_reset() && error.is_remote() => Ok(None),
            Err(error) => Err(error),
        },
        Question::Grpc { service } => {
            let body = Some((grpc::CONTENT_TYPE, grpc::request(service)));
            let answer = exchange(carrier, (probe, host), &Method::POST, grpc::PATH, body).await?;
            if answer.status != 200 {
                return Err(Unhealthy::Status(answer.status));
            }
            grpc::judge(&answer)?;
            Ok(Some(answer.status))
        }
    }
}

async fn exchange(
    mut carrier: Carrier,
    (probe, host): (&Probe, &str),
    method: &Method,
    target: &str,
    body: Option<(&str, Bytes)>,
) -> Result<Answer, Unhealthy> {
    let content_type = body.as_ref().map(|(kind, _)| *kind);
    let headers: HeaderMap = probe.headers.iter().cloned().collect();
    let head = RequestHead {
        method,
        target: target.as_bytes(),
        host: host.as_bytes(),
        headers: &headers,
        keep: &|_| true,
        extra: &|put| {
            if !headers.contains_key(USER_AGENT) {
                put("user-agent", concat!("penstock-probe/", env!("CARGO_PKG_VERSION")).as_bytes());
            }
            if let Some(kind) = content_type {
                put("content-type", kind.as_bytes());
            }
        },
        upgrade: None,
    };
    let body = body.map(|(_, body)| body).unwrap_or_default();
    let length = match u64::try_from(body.len()) {
        Ok(length) if length > 0 => BodyLength::Known(length),
        _ => BodyLength::Empty,
    };
    carrier.start(&head, length, false).map_err(|_| Unhealthy::Probe)?;
    let mut body = Full::new(body);
    let sent = poll_fn(|cx| carrier.poll_send(cx, &mut body)).await;
    if let Err(SendError::Backend(error)) = sent {
        return Err(Unhealthy::Answer(error));
    }
    let head = loop {
        match poll_fn(|cx| carrier.poll_head(cx)).await.map_err(Unhealthy::Answer)? {
            ResponseEvent::Interim(_) => {}
            ResponseEvent::Final(head) => break head,
        }
    };
    let (mut body, mut trailers) = (BytesMut::new(), HeaderMap::new());
    while let Some(frame) = poll_fn(|cx| carrier.poll_frame(cx)).await {
        match frame.map_err(Unhealthy::Answer)?.into_data() {
            Ok(data) => body.extend_from_slice(&data[..data.len().min(MAX_BODY.saturating_sub(body.len()))]),
            Err(frame) => trailers = frame.into_trailers().unwrap_or_default(),
        }
    }
    Ok(Answer { status: head.status.as_u16(), headers: head.headers, body: body.freeze(), trailers })
}

fn judge(accept: &HealthMatch, answer: &Answer) -> Result<Option<u16>, Unhealthy> {
    if !accept.takes(answer.status) {
        return Err(Unhealthy::Status(answer.status));
    }
    match &accept.body {
        Some(text) if !contains(&answer.body, text.as_bytes()) => Err(Unhealthy::Body(answer.status)),
        _ => Ok(Some(answer.status)),
    }
}

fn contains(body: &[u8], text: &[u8]) -> bool {
    text.is_empty() || body.windows(text.len()).any(|window| window == text)
}
