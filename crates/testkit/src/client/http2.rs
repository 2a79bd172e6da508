//! An HTTP/2 client: whole exchanges, or a stream piece by piece. For what no library would send see
//! [`Frames`](super::Frames).

use std::future::poll_fn;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use h2::ext::Protocol;
use h2::{RecvStream, SendStream};
use http::{HeaderMap, HeaderName, HeaderValue};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::message::{Head, Request, Response};
use super::{Io, TlsClient};

/// How long any one step may take.
const PATIENCE: Duration = Duration::from_secs(15);

/// A connection that carries any number of streams.
pub struct Http2 {
    requests: SendRequest<Bytes>,
    connection: JoinHandle<Result<(), h2::Error>>,
    scheme: &'static str,
}

impl std::fmt::Debug for Http2 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Http2").field("scheme", &self.scheme).finish_non_exhaustive()
    }
}

impl Http2 {
    /// Connects over TCP, with prior knowledge.
    ///
    /// # Errors
    /// Refused, or the peer does not speak HTTP/2.
    pub async fn open(addr: SocketAddr) -> Result<Self> {
        Self::open_with(addr, &h2::client::Builder::new()).await
    }

    /// The same with settings of the test's.
    ///
    /// # Errors
    /// Refused, or the peer does not speak HTTP/2.
    pub async fn open_with(addr: SocketAddr, settings: &h2::client::Builder) -> Result<Self> {
        let stream = timeout(PATIENCE, TcpStream::connect(addr)).await.context("no connection")??;
        stream.set_nodelay(true)?;
        Self::over(Box::new(stream), "http", settings).await
    }

    /// Connects over TLS, offering `h2` by ALPN.
    ///
    /// # Errors
    /// Refused, or the peer chose another protocol.
    pub async fn open_tls(addr: SocketAddr, tls: &TlsClient, server_name: &str) -> Result<Self> {
        let stream = timeout(PATIENCE, TcpStream::connect(addr)).await.context("no connection")??;
        stream.set_nodelay(true)?;
        let tls = tls.alpn(&["h2", "http/1.1"]);
        let stream = timeout(PATIENCE, tls.connect(stream, server_name)).await.context("no TLS handshake")??;
        if stream.get_ref().1.alpn_protocol() != Some(b"h2") {
            bail!("ALPN chose {:?}", stream.get_ref().1.alpn_protocol());
        }
        Self::over(Box::new(stream), "https", &h2::client::Builder::new()).await
    }

    async fn over(io: Box<dyn Io>, scheme: &'static str, settings: &h2::client::Builder) -> Result<Self> {
        let (requests, connection) = timeout(PATIENCE, settings.handshake(io)).await.context("no HTTP/2")??;
        let mut http2 = Self { requests, connection: tokio::spawn(connection), scheme };
        // The peer's settings say that it does speak it, and what it can.
        http2.exchange_ping().await?;
        Ok(http2)
    }

    /// Waits until the peer's settings are known: h2 makes no promise about that, so a stream must be ready.
    async fn exchange_ping(&mut self) -> Result<()> {
        timeout(PATIENCE, poll_fn(|cx| self.requests.poll_ready(cx))).await.context("no settings came")??;
        Ok(())
    }

    /// Sends a request and reads its whole answer.
    ///
    /// # Errors
    /// The stream was reset, the connection broke, or nothing came in time.
    pub async fn exchange(&self, request: &Request) -> Result<Response> {
        self.send(request).await?.response().await
    }

    /// Sends a request with its whole body.
    ///
    /// # Errors
    /// The connection broke.
    pub async fn send(&self, request: &Request) -> Result<Stream> {
        let body = request.body_content();
        let trailers = request.sent_trailers();
        let mut stream = self.begin(request, body.is_empty() && trailers.is_empty()).await?;
        if !body.is_empty() {
            stream.data(body, trailers.is_empty()).await?;
        }
        if !trailers.is_empty() {
            let mut map = HeaderMap::new();
            for (name, value) in trailers {
                map.append(HeaderName::from_bytes(name.as_bytes())?, HeaderValue::from_str(value)?);
            }
            stream.send.send_trailers(map)?;
        }
        Ok(stream)
    }

    /// Sends the head of a request; with `end` there is no body.
    ///
    /// # Errors
    /// The connection broke, or takes no more streams.
    pub async fn begin(&self, request: &Request, end: bool) -> Result<Stream> {
        let mut requests = self.requests.clone();
        timeout(PATIENCE, poll_fn(|cx| requests.poll_ready(cx))).await.context("no stream to be had")??;
        let (answer, send) = requests.send_request(self.request(request)?, end)?;
        Ok(Stream { answer: Some(answer), send, body: None })
    }

    /// Sends an extended CONNECT (RFC 8441) for this protocol.
    ///
    /// # Errors
    /// The peer does not offer it, or the connection broke.
    pub async fn connect(&self, request: &Request, protocol: &'static str) -> Result<Stream> {
        let mut requests = self.requests.clone();
        timeout(PATIENCE, poll_fn(|cx| requests.poll_ready(cx))).await.context("no stream to be had")??;
        let mut head = self.request(request)?;
        *head.method_mut() = http::Method::CONNECT;
        head.extensions_mut().insert(Protocol::from_static(protocol));
        let (answer, send) = requests.send_request(head, false)?;
        Ok(Stream { answer: Some(answer), send, body: None })
    }

    /// Whether the peer offers extended CONNECT.
    #[must_use]
    pub fn offers_connect(&self) -> bool {
        self.requests.is_extended_connect_protocol_enabled()
    }

    /// How many streams the peer lets be open at the same time.
    #[must_use]
    pub fn max_streams(&self) -> usize {
        self.requests.current_max_send_streams()
    }

    /// Cuts the connection.
    pub fn abort(self) {
        self.connection.abort();
    }

    /// Waits until the connection has ended, and says how.
    ///
    /// # Errors
    /// It is still open after `deadline`.
    pub async fn ended(&mut self, deadline: Duration) -> Result<Result<(), h2::Error>> {
        let ended = timeout(deadline, &mut self.connection).await;
        Ok(ended.map_err(|_| anyhow!("still open after {deadline:?}"))??)
    }

    fn request(&self, request: &Request) -> Result<http::Request<()>> {
        let authority = request.header("host").context("a request without Host")?;
        let mut built = http::Request::builder()
            .method(request.method())
            .uri(format!("{}://{authority}{}", self.scheme, request.target()))
            .version(http::Version::HTTP_2);
        for (name, value) in request.headers().iter().filter(|(name, _)| !name.eq_ignore_ascii_case("host")) {
            built = built.header(name.to_ascii_lowercase(), value);
        }
        // As HTTP/1 would: a length unless the body has trailers.
        if !request.body_content().is_empty() && request.sent_trailers().is_empty() && !request.is_chunked() {
            built = built.header("content-length", request.body_content().len());
        }
        Ok(built.body(())?)
    }
}

/// One request and its answer.
#[derive(Debug)]
pub struct Stream {
    answer: Option<ResponseFuture>,
    send: SendStream<Bytes>,
    body: Option<RecvStream>,
}

impl Stream {
    /// Sends a piece of the body as far as the windows allow, and waits until all of it is sent.
    ///
    /// # Errors
    /// The stream was reset, or the peer takes nothing.
    pub async fn data(&mut self, data: &[u8], end: bool) -> Result<()> {
        let mut left = Bytes::copy_from_slice(data);
        while !left.is_empty() {
            self.send.reserve_capacity(left.len());
            while self.send.capacity() == 0 {
                let got = timeout(PATIENCE, poll_fn(|cx| self.send.poll_capacity(cx))).await;
                got.context("the peer takes nothing")?.context("the stream is over")??;
            }
            let piece = left.split_to(self.send.capacity().min(left.len()));
            self.send.send_data(piece, end && left.is_empty())?;
        }
        if data.is_empty() && end {
            self.send.send_data(Bytes::new(), true)?;
        }
        Ok(())
    }

    /// Gives the stream up.
    pub fn reset(&mut self, reason: h2::Reason) {
        self.send.send_reset(reason);
    }

    /// The next interim answer, or none when the answer itself has come.
    ///
    /// # Errors
    /// The stream was reset, or nothing came in time.
    pub async fn interim(&mut self) -> Result<Option<Head>> {
        let answer = self.answer.as_mut().context("the head was read already")?;
        let next = timeout(PATIENCE, poll_fn(|cx| answer.poll_informational(cx))).await.context("nothing came")?;
        Ok(next.transpose()?.map(|head| {
            let (head, ()) = head.into_parts();
            Head { minor: 0, status: head.status.as_u16(), headers: owned(&head.headers) }
        }))
    }

    /// The head of the answer.
    ///
    /// # Errors
    /// The stream was reset, or nothing came in time.
    pub async fn head(&mut self) -> Result<Head> {
        let answer = self.answer.take().context("the head was read already")?;
        let (head, body) = timeout(PATIENCE, answer).await.context("no answer came")??.into_parts();
        self.body = Some(body);
        Ok(Head { minor: 0, status: head.status.as_u16(), headers: owned(&head.headers) })
    }

    /// The next piece of the answer's body; none at its end.
    ///
    /// # Errors
    /// The stream was reset, or nothing came in time.
    pub async fn piece(&mut self) -> Result<Option<Bytes>> {
        let body = self.body.as_mut().context("the head was not read")?;
        loop {
            let piece = timeout(PATIENCE, poll_fn(|cx| body.poll_data(cx))).await.context("nothing came")?;
            let Some(piece) = piece.transpose()? else { return Ok(None) };
            if !piece.is_empty() {
                body.flow_control().release_capacity(piece.len())?;
                return Ok(Some(piece));
            }
        }
    }

    /// The whole answer.
    ///
    /// # Errors
    /// The stream was reset, or nothing came in time.
    pub async fn response(mut self) -> Result<Response> {
        let mut interim = Vec::new();
        while let Some(head) = self.interim().await? {
            interim.push(head);
        }
        let head = self.head().await?;
        Ok(Response { interim, ..self.rest(head).await? })
    }

    /// What follows a head that was read.
    pub(super) async fn rest(mut self, head: Head) -> Result<Response> {
        let mut body = Vec::new();
        while let Some(piece) = self.piece().await? {
            body.extend_from_slice(&piece);
        }
        let stream = self.body.as_mut().context("the head was read")?;
        let trailers = timeout(PATIENCE, poll_fn(|cx| stream.poll_trailers(cx))).await.context("nothing came")??;
        let trailers = trailers.map(|trailers| owned(&trailers)).unwrap_or_default();
        Ok(Response { interim: Vec::new(), minor: 0, status: head.status, headers: head.headers, body, trailers })
    }

    /// The stream as two-way bytes, after the head of its answer. Dropped, it ends with END_STREAM.
    pub(super) fn into_io(self) -> Result<DuplexStream> {
        let Self { mut send, body, .. } = self;
        let mut body = body.context("the head was not read")?;
        let (near, far) = tokio::io::duplex(64 * 1024);
        let (mut from_near, mut to_near) = tokio::io::split(far);
        tokio::spawn(async move {
            let mut block = vec![0; 16 * 1024];
            while let Ok(read @ 1..) = from_near.read(&mut block).await {
                let mut sending = Stream { answer: None, send, body: None };
                if sending.data(&block[..read], false).await.is_err() {
                    return;
                }
                send = sending.send;
            }
            // Fails when the stream is over.
            let _ = send.send_data(Bytes::new(), true);
        });
        tokio::spawn(async move {
            while let Some(Ok(piece)) = poll_fn(|cx| body.poll_data(cx)).await {
                let _ = body.flow_control().release_capacity(piece.len());
                if to_near.write_all(&piece).await.is_err() {
                    return;
                }
            }
            let _ = to_near.shutdown().await;
        });
        Ok(near)
    }
}

fn owned(headers: &HeaderMap) -> Vec<(String, String)> {
    headers.iter().map(|(n, v)| (n.as_str().to_owned(), String::from_utf8_lossy(v.as_bytes()).into_owned())).collect()
}
