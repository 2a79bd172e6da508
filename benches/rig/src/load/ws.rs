//! A WebSocket client that sends one message and waits for its echo.

use std::io::{self, ErrorKind};
use std::rc::Rc;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::Step;
use super::stream::{Stream, Target};
use crate::backend;

/// Key and answer of RFC 6455 section 1.3: nobody has to compute anything.
pub(crate) const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
/// See [`KEY`].
pub(crate) const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// A message as it is sent, masked, and as it comes back.
pub(crate) struct Message {
    sent: Vec<u8>,
    echoed: Vec<u8>,
}

impl Message {
    /// A binary message of so many bytes, at most 65,535.
    pub(crate) fn new(size: u16) -> Rc<Self> {
        let mask = [0x37, 0xfa, 0x21, 0x3d];
        let mut payload: Vec<u8> = (0..size).map(|n| n as u8).collect();
        let (short, extended) = if size < 126 { (size as u8, &[][..]) } else { (126, &size.to_be_bytes()[..]) };
        let echoed = [&[0x82, short], extended, &payload[..]].concat();
        backend::unmask(&mut payload, mask);
        let sent = [&[0x82, 0x80 | short], extended, &mask[..], &payload[..]].concat();
        Rc::new(Self { sent, echoed })
    }
}

/// An open WebSocket.
pub(crate) struct WebSocket {
    stream: Stream,
}

impl WebSocket {
    pub(crate) async fn open(to: &Target, host: &str) -> io::Result<Self> {
        let mut stream = to.connect().await?;
        let path = backend::WS;
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await?;
        stream.flush().await?;
        let mut head = Vec::with_capacity(1024);
        while !head.ends_with(b"\r\n\r\n") {
            if stream.read_buf(&mut head).await? == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
        }
        if !head.starts_with(b"HTTP/1.1 101 ") || memchr::memmem::find(&head, ACCEPT.as_bytes()).is_none() {
            let text = String::from_utf8_lossy(&head).into_owned();
            return Err(io::Error::other(format!("the upgrade was answered with {text:?}")));
        }
        Ok(Self { stream })
    }

    /// Sends the message and reads its echo, byte for byte. `buffer` is only space, so that idle WebSockets own none.
    pub(crate) async fn echo(&mut self, message: &Message, buffer: &mut Vec<u8>) -> io::Result<()> {
        self.stream.write_all(&message.sent).await?;
        self.stream.flush().await?;
        buffer.resize(message.echoed.len(), 0);
        self.stream.read_exact(buffer).await?;
        if *buffer == message.echoed { Ok(()) } else { Err(io::Error::other("the echo differs from what was sent")) }
    }
}

/// A WebSocket of a closed loop.
pub(crate) struct Echo {
    socket: WebSocket,
    message: Rc<Message>,
    buffer: Vec<u8>,
}

impl Echo {
    pub(crate) async fn open(to: &Target, host: &str, message: Rc<Message>) -> anyhow::Result<Self> {
        Ok(Self { socket: WebSocket::open(to, host).await?, message, buffer: Vec::new() })
    }
}

impl Step for Echo {
    async fn step(&mut self) -> io::Result<u64> {
        self.socket.echo(&self.message, &mut self.buffer).await?;
        Ok(self.message.echoed.len() as u64)
    }
}
