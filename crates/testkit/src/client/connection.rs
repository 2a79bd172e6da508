//! One HTTP/1.1 connection of a test: whole exchanges, an answer piece by piece, or raw bytes.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

use super::message::{Head, Request, Response, owned};
use super::{Io, TlsClient};

/// How long any one read may take.
const PATIENCE: Duration = Duration::from_secs(15);

/// How much of the body of the current answer is still to come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Left {
    Bytes(u64),
    Chunks,
    UntilClose,
}

/// A connection, kept alive between requests.
pub struct Connection {
    io: Box<dyn Io>,
    buffer: Vec<u8>,
    left: Left,
    trailers: Vec<(String, String)>,
    patience: Duration,
    local: SocketAddr,
}

impl Connection {
    /// Connects over TCP.
    ///
    /// # Errors
    /// Refused, or no answer in time.
    pub async fn open(addr: SocketAddr) -> Result<Self> {
        let stream = connect(addr).await?;
        let local = stream.local_addr()?;
        Ok(Self::over(Box::new(stream), local))
    }

    /// Connects over TCP from this address, any of 127.0.0.0/8.
    ///
    /// # Errors
    /// Refused, or no answer in time.
    pub async fn open_from(source: IpAddr, addr: SocketAddr) -> Result<Self> {
        let socket = TcpSocket::new_v4()?;
        socket.bind((source, 0).into())?;
        let stream =
            timeout(PATIENCE, socket.connect(addr)).await.map_err(|_| anyhow!("no connection to {addr}"))??;
        let local = stream.local_addr()?;
        Ok(Self::over(Box::new(stream), local))
    }

    /// Connects over TLS with this server name.
    ///
    /// # Errors
    /// Refused, a certificate that the client does not accept, or no answer in time.
    pub async fn open_tls(addr: SocketAddr, tls: &TlsClient, server_name: &str) -> Result<Self> {
        let stream = connect(addr).await?;
        let local = stream.local_addr()?;
        let handshake = tls.connect(stream, server_name);
        let stream = timeout(PATIENCE, handshake)
            .await
            .map_err(|_| anyhow!("no TLS handshake with {addr} in {PATIENCE:?}"))??;
        Ok(Self::over(Box::new(stream), local))
    }

    fn over(io: Box<dyn Io>, local: SocketAddr) -> Self {
        Self { io, buffer: Vec::new(), left: Left::Bytes(0), trailers: Vec::new(), patience: PATIENCE, local }
    }

    /// How long any one read may take from now on.
    #[must_use]
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// This end's address.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// Sends a request and reads its whole answer.
    ///
    /// # Errors
    /// The connection broke, the answer is none, or it did not come in time.
    pub async fn exchange(&mut self, request: &Request) -> Result<Response> {
        self.send(request).await?;
        self.response(request.method()).await
    }

    /// Sends a request.
    ///
    /// # Errors
    /// The connection broke.
    pub async fn send(&mut self, request: &Request) -> Result<()> {
        let mut bytes = request.head_bytes();
        bytes.extend_from_slice(&request.body_bytes());
        self.send_raw(&bytes).await
    }

    /// Sends bytes as they are.
    ///
    /// # Errors
    /// The connection broke, or the peer does not read.
    pub async fn send_raw(&mut self, bytes: &[u8]) -> Result<()> {
        let write = async {
            self.io.write_all(bytes).await?;
            self.io.flush().await
        };
        timeout(self.patience, write).await.context("the peer does not read")?.context("sending")
    }

    /// Says that nothing more will be sent (FIN, over TLS close_notify first).
    ///
    /// # Errors
    /// The connection broke.
    pub async fn finish(&mut self) -> Result<()> {
        self.io.shutdown().await.context("closing")
    }

    /// Reads the whole answer to a request of this method, with the interim answers before it.
    ///
    /// # Errors
    /// The connection broke, the answer is none, or it did not come in time.
    pub async fn response(&mut self, method: &str) -> Result<Response> {
        let mut interim = Vec::new();
        let head = loop {
            let head = self.head(method).await?;
            if head.status >= 200 || head.status == 101 {
                break head;
            }
            interim.push(head);
        };
        let mut body = Vec::new();
        while let Some(piece) = self
            .piece()
            .await
            .with_context(|| format!("in the body of a {} after {} bytes", head.status, body.len()))?
        {
            body.extend_from_slice(&piece);
        }
        let trailers = std::mem::take(&mut self.trailers);
        Ok(Response { interim, minor: head.minor, status: head.status, headers: head.headers, body, trailers })
    }

    /// Reads the next head, also an interim one; the body follows by [`piece`](Self::piece).
    ///
    /// # Errors
    /// The connection broke, the answer is none, or it did not come in time.
    pub async fn head(&mut self, method: &str) -> Result<Head> {
        let (head, length) = loop {
            if let Some(found) = Head::parse(&self.buffer)? {
                break found;
            }
            if !self.fill().await? {
                bail!("closed after {} bytes of an answer's head", self.buffer.len());
            }
        };
        self.buffer.drain(..length);
        let chunked = head.header("transfer-encoding").is_some_and(|v| v.to_ascii_lowercase().ends_with("chunked"));
        self.left = if method == "HEAD" || head.status < 200 || head.status == 204 || head.status == 304 {
            Left::Bytes(0)
        } else if chunked {
            Left::Chunks
        } else if let Some(length) = head.header("content-length") {
            Left::Bytes(length.parse().with_context(|| format!("Content-Length {length}"))?)
        } else {
            Left::UntilClose
        };
        Ok(head)
    }

    /// Reads the next piece of the body: a chunk, or what has come; none at its end.
    ///
    /// # Errors
    /// The connection broke inside the body, its framing is broken, or nothing came in time.
    pub async fn piece(&mut self) -> Result<Option<Vec<u8>>> {
        match self.left {
            Left::Bytes(0) => Ok(None),
            Left::Bytes(left) => {
                if self.buffer.is_empty() && !self.fill().await? {
                    bail!("closed with {left} bytes of the body missing");
                }
                let take = self.buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
                self.left = Left::Bytes(left - take as u64);
                Ok(Some(self.buffer.drain(..take).collect()))
            }
            Left::UntilClose => {
                if self.buffer.is_empty() && !self.fill().await? {
                    self.left = Left::Bytes(0);
                    return Ok(None);
                }
                Ok(Some(std::mem::take(&mut self.buffer)))
            }
            Left::Chunks => self.chunk().await,
        }
    }

    async fn chunk(&mut self) -> Result<Option<Vec<u8>>> {
        let line = self.line().await?;
        let digits = line.split(';').next().unwrap_or_default().trim();
        let size = usize::from_str_radix(digits, 16).with_context(|| format!("chunk size {line:?}"))?;
        if size == 0 {
            self.left = Left::Bytes(0);
            self.trailers = self.read_trailers().await?;
            return Ok(None);
        }
        while self.buffer.len() < size + 2 {
            if !self.fill().await? {
                bail!("closed inside a chunk");
            }
        }
        let chunk = self.buffer.drain(..size).collect();
        let end: Vec<u8> = self.buffer.drain(..2).collect();
        if end != b"\r\n" {
            bail!("a chunk ends in {end:?}");
        }
        Ok(Some(chunk))
    }

    async fn read_trailers(&mut self) -> Result<Vec<(String, String)>> {
        let mut slots = [httparse::EMPTY_HEADER; 64];
        let mut block = String::new();
        loop {
            let line = self.line().await?;
            let end = line.is_empty();
            block = block + &line + "\r\n";
            if end {
                break;
            }
        }
        match httparse::parse_headers(block.as_bytes(), &mut slots) {
            Ok(httparse::Status::Complete((_, trailers))) => Ok(owned(trailers)),
            other => bail!("trailers {block:?}: {other:?}"),
        }
    }

    async fn line(&mut self) -> Result<String> {
        loop {
            if let Some(at) = self.buffer.windows(2).position(|w| w == b"\r\n") {
                let line: Vec<u8> = self.buffer.drain(..at + 2).collect();
                return Ok(String::from_utf8_lossy(&line[..at]).into_owned());
            }
            if !self.fill().await? {
                bail!("closed inside the framing of a chunked body");
            }
        }
    }

    /// Reads whatever comes next as raw bytes; empty at the end of the connection.
    ///
    /// # Errors
    /// The connection was reset, or nothing came in time.
    pub async fn read_raw(&mut self) -> Result<Vec<u8>> {
        if self.buffer.is_empty() {
            self.fill().await?;
        }
        Ok(std::mem::take(&mut self.buffer))
    }

    /// Waits until the peer closes, in order or by a reset, and returns what came before that.
    ///
    /// # Errors
    /// It is still open after `deadline`.
    pub async fn closed(&mut self, deadline: Duration) -> Result<Vec<u8>> {
        // Longer than the deadline: a read that gives up must not pass for the end of the connection.
        let patience = std::mem::replace(&mut self.patience, deadline * 2);
        let all = async { while let Ok(true) = self.fill().await {} };
        let over = timeout(deadline, all).await;
        self.patience = patience;
        let came = std::mem::take(&mut self.buffer);
        over.map_err(|_| anyhow!("still open after {deadline:?}; came: {:?}", String::from_utf8_lossy(&came)))?;
        Ok(came)
    }

    /// The stream and the bytes that were read ahead of it.
    pub(super) fn into_parts(self) -> (Box<dyn Io>, Vec<u8>) {
        (self.io, self.buffer)
    }

    /// Reads once; false at the end of the connection.
    async fn fill(&mut self) -> Result<bool> {
        let read = timeout(self.patience, self.io.read_buf(&mut self.buffer)).await;
        let read = read.map_err(|_| anyhow!("nothing came for {:?}", self.patience))?;
        Ok(read.context("reading")? > 0)
    }
}

async fn connect(addr: SocketAddr) -> Result<TcpStream> {
    let stream = timeout(PATIENCE, TcpStream::connect(addr)).await;
    let stream = stream.map_err(|_| anyhow!("no connection to {addr} in {PATIENCE:?}"))?;
    let stream = stream.with_context(|| format!("connecting to {addr}"))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}
