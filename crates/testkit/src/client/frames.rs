//! HTTP/2 frame by frame, for what no library would send (RFC 9113 4). Headers are literals without indexing (RFC 7541 6.2.2).

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(15);

/// Types of frames.
pub mod kind {
    /// DATA.
    pub const DATA: u8 = 0;
    /// HEADERS.
    pub const HEADERS: u8 = 1;
    /// PRIORITY.
    pub const PRIORITY: u8 = 2;
    /// RST_STREAM.
    pub const RST_STREAM: u8 = 3;
    /// SETTINGS.
    pub const SETTINGS: u8 = 4;
    /// PING.
    pub const PING: u8 = 6;
    /// GOAWAY.
    pub const GOAWAY: u8 = 7;
    /// WINDOW_UPDATE.
    pub const WINDOW_UPDATE: u8 = 8;
    /// CONTINUATION.
    pub const CONTINUATION: u8 = 9;
}

/// Of DATA and HEADERS: nothing follows on this stream.
pub const END_STREAM: u8 = 1;
/// Of HEADERS and CONTINUATION: the head is complete.
pub const END_HEADERS: u8 = 4;
/// Of SETTINGS and PING.
pub const ACK: u8 = 1;

/// One frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// See [`kind`].
    pub kind: u8,
    /// Flags.
    pub flags: u8,
    /// Number of the stream; 0 is the connection.
    pub stream: u32,
    /// What it carries.
    pub payload: Vec<u8>,
}

impl Frame {
    /// A frame.
    #[must_use]
    pub fn new(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Self {
        Self { kind, flags, stream, payload: payload.to_vec() }
    }

    /// A whole head: pseudo-headers and headers in this order.
    #[must_use]
    pub fn headers(stream: u32, end: bool, headers: &[(&str, &str)]) -> Self {
        Self::new(kind::HEADERS, END_HEADERS | u8::from(end), stream, &header_block(headers))
    }

    /// The head of a GET.
    #[must_use]
    pub fn get(stream: u32, host: &str, path: &str) -> Self {
        let headers = [(":method", "GET"), (":scheme", "http"), (":authority", host), (":path", path)];
        Self::headers(stream, true, &headers)
    }

    /// As bytes.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        let length = u32::try_from(self.payload.len()).unwrap_or(u32::MAX).to_be_bytes();
        let mut bytes = vec![length[1], length[2], length[3], self.kind, self.flags];
        bytes.extend_from_slice(&self.stream.to_be_bytes());
        bytes.extend_from_slice(&self.payload);
        bytes
    }

    /// The error code of a RST_STREAM or GOAWAY (RFC 9113 7).
    #[must_use]
    pub fn error_code(&self) -> Option<u32> {
        let at = match self.kind {
            kind::RST_STREAM => 0,
            kind::GOAWAY => 4,
            _ => return None,
        };
        Some(u32::from_be_bytes(self.payload.get(at..at + 4)?.try_into().ok()?))
    }
}

/// Headers as a block.
#[must_use]
pub fn header_block(headers: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in headers {
        block.push(0);
        for text in [name, value] {
            put_length(&mut block, text.len());
            block.extend_from_slice(text.as_bytes());
        }
    }
    block
}

/// A length with a prefix of seven bits (RFC 7541 5.1).
fn put_length(block: &mut Vec<u8>, length: usize) {
    if length < 127 {
        return block.push(u8::try_from(length).unwrap_or(0));
    }
    block.push(127);
    let mut rest = length - 127;
    while rest >= 128 {
        block.push(u8::try_from(rest % 128).unwrap_or(0) | 128);
        rest /= 128;
    }
    block.push(u8::try_from(rest).unwrap_or(0));
}

/// A connection whose frames the test itself writes and reads.
#[derive(Debug)]
pub struct Frames {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Frames {
    /// Connects and sends the preface with these settings (RFC 9113 6.5.1).
    ///
    /// # Errors
    /// Refused.
    pub async fn open(addr: SocketAddr, settings: &[(u16, u32)]) -> Result<Self> {
        let stream = timeout(PATIENCE, TcpStream::connect(addr)).await.context("no connection")??;
        stream.set_nodelay(true)?;
        let mut frames = Self { stream, buffer: Vec::new() };
        let mut payload = Vec::new();
        for (name, value) in settings {
            payload.extend_from_slice(&name.to_be_bytes());
            payload.extend_from_slice(&value.to_be_bytes());
        }
        frames.send_raw(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await?;
        frames.send(&[Frame::new(kind::SETTINGS, 0, 0, &payload)]).await?;
        Ok(frames)
    }

    /// Sends frames in one piece.
    ///
    /// # Errors
    /// The connection broke, or the peer does not read.
    pub async fn send(&mut self, frames: &[Frame]) -> Result<()> {
        let bytes: Vec<u8> = frames.iter().flat_map(Frame::bytes).collect();
        self.send_raw(&bytes).await
    }

    /// Sends bytes.
    ///
    /// # Errors
    /// The connection broke, or the peer does not read.
    pub async fn send_raw(&mut self, bytes: &[u8]) -> Result<()> {
        timeout(PATIENCE, self.stream.write_all(bytes)).await.context("the peer does not read")?.context("sending")
    }

    /// The next frame; none at the end of the connection, in order or by a reset.
    ///
    /// # Errors
    /// Nothing came in time.
    pub async fn next(&mut self) -> Result<Option<Frame>> {
        loop {
            if let Some(frame) = self.take() {
                return Ok(Some(frame));
            }
            let read = timeout(PATIENCE, self.stream.read_buf(&mut self.buffer)).await;
            if read.map_err(|_| anyhow!("nothing came for {PATIENCE:?}"))?.unwrap_or(0) == 0 {
                return Ok(None);
            }
        }
    }

    /// Reads until a frame is as `accept` wants it.
    ///
    /// # Errors
    /// The connection ended before, or nothing came in time.
    pub async fn wait_for(&mut self, mut accept: impl FnMut(&Frame) -> bool) -> Result<Frame> {
        let mut others = Vec::new();
        while let Some(frame) = self.next().await? {
            if accept(&frame) {
                return Ok(frame);
            }
            others.push((frame.kind, frame.stream, frame.error_code()));
        }
        bail!("the connection ended after {others:?}")
    }

    /// Reads to the end of the connection; the error code of a GOAWAY, if one came.
    ///
    /// # Errors
    /// It is still open after `deadline`.
    pub async fn ended(&mut self, deadline: Duration) -> Result<Option<u32>> {
        let all = async {
            let mut code = None;
            while let Ok(Some(frame)) = self.next().await {
                if frame.kind == kind::GOAWAY {
                    code = frame.error_code();
                }
            }
            code
        };
        timeout(deadline, all).await.map_err(|_| anyhow!("still open after {deadline:?}"))
    }

    fn take(&mut self) -> Option<Frame> {
        let head: [u8; 9] = self.buffer.get(..9)?.try_into().ok()?;
        let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
        if self.buffer.len() < 9 + length {
            return None;
        }
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]) & 0x7fff_ffff;
        let frame = Frame { kind: head[3], flags: head[4], stream, payload: self.buffer[9..9 + length].to_vec() };
        self.buffer.drain(..9 + length);
        Some(frame)
    }
}
