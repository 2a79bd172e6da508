//! Reading a request: its head as it came, its body without framing.

use std::io;
use std::net::SocketAddr;

use tokio::io::AsyncReadExt;

use super::connection::Wire;
use super::state::Received;

/// A request, with its body once that was read.
#[derive(Debug)]
pub(super) struct Incoming {
    pub(super) received: Received,
    pub(super) minor: u8,
    pub(super) peer: SocketAddr,
    pub(super) body: Vec<u8>,
    pub(super) trailers: Vec<(String, String)>,
}

impl Incoming {
    /// Reads a head; none when the peer closed before one.
    pub(super) async fn read(wire: &mut Wire, peer: SocketAddr) -> io::Result<Option<Self>> {
        loop {
            if let Some((incoming, length)) = Self::parse(&wire.ahead, peer)? {
                wire.ahead.drain(..length);
                return Ok(Some(incoming));
            }
            if !wire.fill().await? {
                return Ok(None);
            }
        }
    }

    fn parse(bytes: &[u8], peer: SocketAddr) -> io::Result<Option<(Self, usize)>> {
        let mut slots = vec![httparse::EMPTY_HEADER; 256];
        let mut request = httparse::Request::new(&mut slots);
        let httparse::Status::Complete(length) = request.parse(bytes).map_err(io::Error::other)? else {
            return Ok(None);
        };
        let headers = request
            .headers
            .iter()
            .map(|h| (h.name.to_owned(), String::from_utf8_lossy(h.value).into_owned()))
            .collect();
        let received = Received {
            method: request.method.unwrap_or_default().to_owned(),
            target: request.path.unwrap_or_default().to_owned(),
            headers,
            connection: peer.port(),
        };
        let minor = request.version.unwrap_or(1);
        Ok(Some((Self { received, minor, peer, body: Vec::new(), trailers: Vec::new() }, length)))
    }

    fn is(&self, name: &str, value: &str) -> bool {
        self.received.header(name).is_some_and(|v| v.split(',').any(|part| part.trim().eq_ignore_ascii_case(value)))
    }

    pub(super) fn wants_websocket(&self) -> bool {
        self.received.method == "GET" && self.is("connection", "upgrade") && self.is("upgrade", "websocket")
    }

    pub(super) fn wants_close(&self) -> bool {
        self.is("connection", "close") || (self.minor == 0 && !self.is("connection", "keep-alive"))
    }

    pub(super) fn expects_continue(&self) -> bool {
        self.is("expect", "100-continue")
    }

    pub(super) fn has_body(&self) -> bool {
        self.is("transfer-encoding", "chunked")
            || self.received.header("content-length").is_some_and(|l| l.trim() != "0")
    }

    /// Reads the body.
    pub(super) async fn read_body(&mut self, wire: &mut Wire) -> io::Result<()> {
        if self.is("transfer-encoding", "chunked") {
            return self.read_chunks(wire).await;
        }
        let length =
            self.received.header("content-length").map_or(Ok(0), |l| l.trim().parse().map_err(io::Error::other))?;
        self.body = wire.take(length).await?;
        Ok(())
    }

    async fn read_chunks(&mut self, wire: &mut Wire) -> io::Result<()> {
        loop {
            let line = wire.line().await?;
            let digits = line.split(';').next().unwrap_or_default().trim();
            let size = usize::from_str_radix(digits, 16).map_err(io::Error::other)?;
            if size == 0 {
                break;
            }
            self.body.extend(wire.take(size).await?);
            if !wire.line().await?.is_empty() {
                return Err(io::Error::other("a chunk is longer than it says"));
            }
        }
        loop {
            let line = wire.line().await?;
            let Some((name, value)) = line.split_once(':') else { return Ok(()) };
            self.trailers.push((name.to_owned(), value.trim().to_owned()));
        }
    }
}

impl Wire {
    /// Reads once; false at the end of the connection.
    pub(super) async fn fill(&mut self) -> io::Result<bool> {
        Ok(self.io.read_buf(&mut self.ahead).await? > 0)
    }

    async fn take(&mut self, length: usize) -> io::Result<Vec<u8>> {
        while self.ahead.len() < length {
            if !self.fill().await? {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(self.ahead.drain(..length).collect())
    }

    async fn line(&mut self) -> io::Result<String> {
        loop {
            if let Some(at) = self.ahead.windows(2).position(|w| w == b"\r\n") {
                let line: Vec<u8> = self.ahead.drain(..at + 2).collect();
                return Ok(String::from_utf8_lossy(&line[..at]).into_owned());
            }
            if !self.fill().await? {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }
}
