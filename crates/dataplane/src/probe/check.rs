//! One probe: connect, ask, look at the answer.

use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Method};
use http_body_util::Empty;
use penstock_model::Probe;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use crate::upstream::h1::{BodyLength, Connection, Error, RequestHead, ResponseEvent, SendError};
use crate::upstream::{Carrier, ConnectError, Connector, Offer, Secured, single};

/// The part of a body in which the expected text must stand.
const MAX_BODY: usize = 64 * 1024;

/// Why an endpoint is taken for down. The words in front of the colon are the classes of Azure's backend health.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unhealthy {
    #[error("ConnectFailed: {0}")]
    Connect(std::io::Error),
    #[error("TlsFailed: {0}")]
    Tls(ConnectError),
    #[error("Timeout: no complete answer in {0:?}")]
    Timeout(Duration),
    #[error("StatusMismatch: the answer was {0}")]
    Status(u16),
    #[error("BodyMismatch: the expected text is not in the body")]
    Body,
    #[error("BadAnswer: {0}")]
    Answer(Error),
    #[error("BadProbe: host or path cannot be sent")]
    Probe,
}

/// Asks an endpoint once.
pub(crate) async fn check(
    probe: &Probe,
    connector: Option<&Arc<Connector>>,
    address: SocketAddr,
) -> Result<(), Unhealthy> {
    let Some(connector) = connector else {
        let stream = TcpStream::connect(address).await.map_err(Unhealthy::Connect)?;
        return ask(probe, Carrier::Http1(Connection::new(stream))).await;
    };
    let connect = async {
        let secured = Arc::clone(connector).to(probe.host.as_bytes(), address)?;
        // The probe's own timeout is about all of it.
        let (stream, http2) = secured.connect(address, Offer::Any, None).await?;
        Ok((secured, stream, http2))
    };
    match connect.await {
        Ok((secured, stream, true)) => ask_in_http2(probe, stream, Some(secured)).await,
        Ok((_, stream, false)) => ask(probe, Carrier::Tls(Box::new(Connection::new(stream)))).await,
        Err(ConnectError::Failed(_, error)) => Err(Unhealthy::Connect(error)),
        Err(error) => Err(Unhealthy::Tls(error)),
    }
}

/// Asks on the only stream of a connection, which is polled meanwhile.
async fn ask_in_http2<S>(probe: &Probe, stream: S, secured: Option<Secured>) -> Result<(), Unhealthy>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let opened = single(stream, secured).await;
    let (exchange, connection) = opened.map_err(|error| Unhealthy::Answer(Error::Http2(error)))?;
    let (mut connection, mut asking) = (pin!(connection), pin!(ask(probe, Carrier::Http2(exchange))));
    let mut over = false;
    poll_fn(|cx| {
        // What ended it shows on the stream.
        over = over || connection.as_mut().poll(cx).is_ready();
        asking.as_mut().poll(cx)
    })
    .await
}

async fn ask(probe: &Probe, mut carrier: Carrier) -> Result<(), Unhealthy> {
    let head = RequestHead {
        method: &Method::GET,
        target: probe.path.as_bytes(),
        host: probe.host.as_bytes(),
        headers: &HeaderMap::new(),
        keep: &|_| true,
        extra: &|put| put("user-agent", concat!("penstock-probe/", env!("CARGO_PKG_VERSION")).as_bytes()),
        upgrade: None,
    };
    carrier.start(&head, BodyLength::Empty, false).map_err(|_| Unhealthy::Probe)?;
    let mut nothing = Empty::<Bytes>::new();
    let sent = poll_fn(|cx| carrier.poll_send(cx, &mut nothing)).await;
    if let Err(SendError::Backend(error)) = sent {
        return Err(Unhealthy::Answer(error));
    }
    let answer = loop {
        match poll_fn(|cx| carrier.poll_head(cx)).await.map_err(Unhealthy::Answer)? {
            ResponseEvent::Interim(_) => {}
            ResponseEvent::Final(head) => break head,
        }
    };
    let mut body = BytesMut::new();
    while let Some(frame) = poll_fn(|cx| carrier.poll_frame(cx)).await {
        let frame = frame.map_err(Unhealthy::Answer)?;
        if let Some(data) = frame.data_ref() {
            body.extend_from_slice(&data[..data.len().min(MAX_BODY.saturating_sub(body.len()))]);
        }
    }
    let status = answer.status.as_u16();
    if !probe.accept.takes(status) {
        return Err(Unhealthy::Status(status));
    }
    match &probe.accept.body {
        Some(text) if !contains(&body, text.as_bytes()) => Err(Unhealthy::Body),
        _ => Ok(()),
    }
}

fn contains(body: &[u8], text: &[u8]) -> bool {
    text.is_empty() || body.windows(text.len()).any(|window| window == text)
}
