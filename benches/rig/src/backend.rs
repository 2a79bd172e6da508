//! The backend behind every proxy: keep-alive answers of any size and WebSocket echo, as cheap as they can be made. It looks at
//! nothing but the path, so that its cost is the same whatever headers a proxy adds.

use std::cell::Cell;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::load::ws::{ACCEPT, KEY};

/// Path of the small answer.
pub(crate) const SMALL: &str = "/";
/// Path of the answer with a body of 64 KiB.
pub(crate) const MIDDLE: &str = "/64k";
/// Path of the answer with a body of 1 MiB.
pub(crate) const LARGE: &str = "/1m";
/// Path of the WebSocket echo.
pub(crate) const WS: &str = "/ws";

/// The running backend.
#[derive(Clone)]
pub(crate) struct Backend {
    pub(crate) address: SocketAddr,
    answers: Rc<Answers>,
}

impl Backend {
    /// How many requests it has answered; WebSockets are not counted.
    pub(crate) fn answered(&self) -> u64 {
        self.answers.count.get()
    }
}

struct Answers {
    count: Cell<u64>,
    small: Vec<u8>,
    middle: Vec<u8>,
    large: Vec<u8>,
}

/// Starts it on a free port of the loopback interface; it runs as long as the runtime.
pub(crate) async fn start() -> io::Result<Backend> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let answers =
        Rc::new(Answers { count: Cell::new(0), small: answer(13), middle: answer(64 << 10), large: answer(1 << 20) });
    let backend = Backend { address, answers: answers.clone() };
    tokio::task::spawn_local(async move {
        loop {
            let Ok((stream, _)) = listener.accept().await else { continue };
            let answers = answers.clone();
            // A connection that breaks is the proxy's affair: the client of the request counts it.
            tokio::task::spawn_local(async move { connection(stream, &answers).await });
        }
    });
    Ok(backend)
}

fn answer(size: usize) -> Vec<u8> {
    let mut whole =
        format!("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {size}\r\n\r\n").into_bytes();
    whole.resize(whole.len() + size, b'x');
    whole
}

async fn connection(mut stream: TcpStream, answers: &Answers) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = Vec::with_capacity(4096);
    loop {
        let Some(end) = memchr::memmem::find(&buffer, b"\r\n\r\n") else {
            if stream.read_buf(&mut buffer).await? == 0 {
                return Ok(());
            }
            continue;
        };
        let head = &buffer[..end];
        let path = head.split(|byte| *byte == b' ').nth(1).unwrap_or_default();
        if path == WS.as_bytes() {
            let known = memchr::memmem::find(head, KEY.as_bytes()).is_some();
            buffer.drain(..end + 4);
            return if known { echo(stream, buffer).await } else { Err(io::ErrorKind::InvalidData.into()) };
        }
        let whole = match path {
            path if path == MIDDLE.as_bytes() => &answers.middle,
            path if path == LARGE.as_bytes() => &answers.large,
            _ => &answers.small,
        };
        buffer.drain(..end + 4);
        stream.write_all(whole).await?;
        answers.count.set(answers.count.get() + 1);
    }
}

/// Sends every frame back unmasked. Frames are whole messages here, at most 64 KiB long.
async fn echo(mut stream: TcpStream, mut buffer: Vec<u8>) -> io::Result<()> {
    let head = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {ACCEPT}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await?;
    loop {
        let Some((start, length)) = masked_frame(&buffer) else {
            buffer.reserve(4096);
            if stream.read_buf(&mut buffer).await? == 0 {
                return Ok(());
            }
            continue;
        };
        let end = start + length;
        let mask = [buffer[start - 4], buffer[start - 3], buffer[start - 2], buffer[start - 1]];
        unmask(&mut buffer[start..end], mask);
        // The header without the mask is four bytes shorter: it moves up to the payload.
        buffer.copy_within(..start - 4, 4);
        buffer[5] &= 0x7f;
        stream.write_all(&buffer[4..end]).await?;
        buffer.drain(..end);
    }
}

/// Where the payload of the first frame starts and how long it is, once all of it is there.
fn masked_frame(buffer: &[u8]) -> Option<(usize, usize)> {
    let (start, length) = match buffer.get(1)? & 0x7f {
        126 => (8, usize::from(u16::from_be_bytes([*buffer.get(2)?, *buffer.get(3)?]))),
        short => (6, usize::from(short)),
    };
    (buffer.len() >= start + length).then_some((start, length))
}

/// XOR with the mask of a client (RFC 6455 section 5.3); the same again takes it off.
pub(crate) fn unmask(payload: &mut [u8], mask: [u8; 4]) {
    let mut words = payload.chunks_exact_mut(4);
    for word in &mut words {
        word.iter_mut().zip(mask).for_each(|(byte, key)| *byte ^= key);
    }
    words.into_remainder().iter_mut().zip(mask).for_each(|(byte, key)| *byte ^= key);
}
