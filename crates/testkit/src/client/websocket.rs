//! A WebSocket client: the handshake by hand, so that a refusal is an ordinary answer; the frames by tungstenite.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use futures_util::{SinkExt, StreamExt};
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::client::generate_key;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role};

use super::message::Head;
use super::{Connection, Http2, Io, Request, Response, TlsClient};

/// How long any one message may take.
const PATIENCE: Duration = Duration::from_secs(15);

/// What a handshake came to.
#[derive(Debug)]
pub enum Handshake {
    /// 101: an open WebSocket.
    Open(WebSocket),
    /// Any other answer, whole.
    Refused(Response),
}

/// An open WebSocket.
pub struct WebSocket {
    // Boxed, because a handshake's outcome is either this or an answer.
    stream: Box<WebSocketStream<Box<dyn Io>>>,
    response: Response,
}

impl std::fmt::Debug for WebSocket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WebSocket").field("response", &self.response).finish_non_exhaustive()
    }
}

impl WebSocket {
    /// Opens a WebSocket over TCP.
    ///
    /// # Errors
    /// No connection, no answer, or a refusal (its status and body are in the message).
    pub async fn open(addr: SocketAddr, host: &str, path: &str) -> Result<Self> {
        Self::handshake(Connection::open(addr).await?, &Request::get(host, path)).await?.opened()
    }

    /// Opens a WebSocket over TLS; the server name is the host.
    ///
    /// # Errors
    /// No connection, no answer, or a refusal (its status and body are in the message).
    pub async fn open_tls(addr: SocketAddr, tls: &TlsClient, host: &str, path: &str) -> Result<Self> {
        Self::handshake(Connection::open_tls(addr, tls, host).await?, &Request::get(host, path)).await?.opened()
    }

    /// Performs the handshake on a connection; `request` brings target, Host and other headers, the rest is added.
    ///
    /// # Errors
    /// No answer, or a 101 that RFC 6455 section 4.1 tells the client to fail.
    pub async fn handshake(mut connection: Connection, request: &Request) -> Result<Handshake> {
        let key = generate_key();
        let request = request.clone().with("Connection", "Upgrade").with("Upgrade", "websocket");
        connection.send(&request.with("Sec-WebSocket-Version", "13").with("Sec-WebSocket-Key", &key)).await?;
        let response = connection.response("GET").await?;
        if response.status != 101 {
            return Ok(Handshake::Refused(response));
        }
        let accept = response.header("sec-websocket-accept").unwrap_or_default();
        if accept != derive_accept_key(key.as_bytes()) {
            bail!("Sec-WebSocket-Accept {accept:?} does not fit the key");
        }
        if !response.header("upgrade").is_some_and(|u| u.eq_ignore_ascii_case("websocket")) {
            bail!("101 without Upgrade: websocket: {:?}", response.headers);
        }
        let (io, ahead) = connection.into_parts();
        let stream = WebSocketStream::from_partially_read(io, ahead, Role::Client, None).await;
        let stream = Box::new(stream);
        Ok(Handshake::Open(Self { stream, response }))
    }

    /// The same over a stream of HTTP/2 (RFC 8441).
    ///
    /// # Errors
    /// No answer, or the peer does not offer it.
    pub async fn handshake_http2(client: &Http2, request: &Request) -> Result<Handshake> {
        let mut stream = client.connect(&request.clone().with("Sec-WebSocket-Version", "13"), "websocket").await?;
        let head = stream.head().await?;
        if head.status != 200 {
            return Ok(Handshake::Refused(stream.rest(head).await?));
        }
        let Head { minor, status, headers } = head;
        let response = Response { interim: Vec::new(), minor, status, headers, body: Vec::new(), trailers: Vec::new() };
        let io: Box<dyn Io> = Box::new(stream.into_io()?);
        let stream = Box::new(WebSocketStream::from_raw_socket(io, Role::Client, None).await);
        Ok(Handshake::Open(Self { stream, response }))
    }

    /// The answer that opened it.
    #[must_use]
    pub fn response(&self) -> &Response {
        &self.response
    }

    /// Sends a text message.
    ///
    /// # Errors
    /// The WebSocket is closed.
    pub async fn send(&mut self, text: &str) -> Result<()> {
        self.send_message(Message::text(text)).await
    }

    /// Sends any message or control frame.
    ///
    /// # Errors
    /// The WebSocket is closed, or the peer does not read.
    pub async fn send_message(&mut self, message: Message) -> Result<()> {
        timeout(PATIENCE, self.stream.send(message)).await.context("the peer does not read")?.context("sending")
    }

    /// The next message or control frame; a ping is answered by itself.
    ///
    /// # Errors
    /// The connection ended without a Close, or nothing came in time.
    pub async fn next(&mut self) -> Result<Message> {
        let next = timeout(PATIENCE, self.stream.next()).await;
        let next = next.map_err(|_| anyhow!("no message for {PATIENCE:?}"))?;
        next.context("the connection ended")?.context("reading a message")
    }

    /// The next text message; control frames are passed over.
    ///
    /// # Errors
    /// Something else than a text came, or nothing.
    pub async fn text(&mut self) -> Result<String> {
        loop {
            match self.next().await? {
                Message::Text(text) => return Ok(text.as_str().to_owned()),
                Message::Ping(_) | Message::Pong(_) => {}
                other => bail!("expected a text, got {other:?}"),
            }
        }
    }

    /// Sends a text and returns the next one.
    ///
    /// # Errors
    /// As [`send`](Self::send) and [`text`](Self::text).
    pub async fn echo(&mut self, text: &str) -> Result<String> {
        self.send(text).await?;
        self.text().await
    }

    /// Closes with this code, and waits for the peer's Close.
    ///
    /// # Errors
    /// The peer did not answer with a Close.
    pub async fn close(&mut self, code: u16, reason: &str) -> Result<()> {
        let frame = CloseFrame { code: CloseCode::from(code), reason: reason.to_owned().into() };
        self.send_message(Message::Close(Some(frame))).await?;
        self.ended(PATIENCE).await?;
        Ok(())
    }

    /// Waits for the end and returns the code of the Close (1005 without one in it, 1006 when there was no Close frame).
    /// Messages that come before are passed over.
    ///
    /// # Errors
    /// It is still open after `deadline`.
    pub async fn ended(&mut self, deadline: Duration) -> Result<u16> {
        let end = async {
            let mut code = 1006;
            loop {
                match self.stream.next().await {
                    Some(Ok(Message::Close(frame))) => code = frame.map_or(1005, |f| f.code.into()),
                    Some(Ok(_)) => {}
                    Some(Err(_)) | None => return code,
                }
            }
        };
        timeout(deadline, end).await.map_err(|_| anyhow!("the WebSocket is still open after {deadline:?}"))
    }

    /// Takes the stream below, for what a WebSocket client would not do.
    #[must_use]
    pub fn into_inner(self) -> Box<dyn Io> {
        self.stream.into_inner()
    }
}

impl Handshake {
    /// The WebSocket.
    ///
    /// # Errors
    /// It was refused.
    pub fn opened(self) -> Result<WebSocket> {
        match self {
            Self::Open(socket) => Ok(socket),
            Self::Refused(answer) => bail!("the WebSocket was refused with {}: {}", answer.status, answer.text()),
        }
    }

    /// The refusal.
    ///
    /// # Errors
    /// It was accepted.
    pub fn refused(self) -> Result<Response> {
        match self {
            Self::Refused(answer) => Ok(answer),
            Self::Open(socket) => bail!("the WebSocket was accepted: {:?}", socket.response),
        }
    }
}
