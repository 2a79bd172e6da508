//! A keep-alive HTTP/1.1 client: one request at a time, and of the answer only what is needed to know where it ends.

use std::io::{self, ErrorKind};
use std::rc::Rc;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::Step;
use super::stream::{Stream, Target};

/// Bodies are read into this and forgotten.
const BUFFER: usize = 128 << 10;

/// Room for a head; `read_buf` reads no more than there is room for.
const HEAD: usize = 1024;

/// What an answer said.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) length: u64,
    pub(crate) close: bool,
}

/// One connection.
pub(crate) struct Connection {
    stream: Stream,
    buffer: Vec<u8>,
    /// The head of the last answer with what it meant: the next one is mostly the same, byte for byte.
    last: Option<(Vec<u8>, Answer)>,
}

impl Connection {
    pub(crate) async fn open(to: &Target) -> io::Result<Self> {
        Ok(Self { stream: to.connect().await?, buffer: Vec::with_capacity(HEAD), last: None })
    }

    /// Whether the other side has closed it, as far as we were told.
    pub(crate) fn closed(&mut self) -> bool {
        self.stream.closed()
    }

    /// Sends the request and reads the whole answer. Nothing is kept in memory for an idle connection but the last head.
    pub(crate) async fn exchange(&mut self, request: &[u8]) -> io::Result<Answer> {
        self.stream.write_all(request).await?;
        self.stream.flush().await?;
        self.buffer.clear();
        let (end, answer) = loop {
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
            if let Some((head, answer)) = &self.last
                && self.buffer.starts_with(head)
            {
                break (head.len(), *answer);
            }
            if let Some(end) = memchr::memmem::find(&self.buffer, b"\r\n\r\n") {
                let head = &self.buffer[..end + 4];
                let answer = parse(head).ok_or(ErrorKind::InvalidData)?;
                self.last = Some((head.to_vec(), answer));
                break (end + 4, answer);
            }
        };
        let mut left = answer.length.checked_sub((self.buffer.len() - end) as u64).ok_or(ErrorKind::InvalidData)?;
        if left > 0 {
            self.buffer.reserve_exact(BUFFER.saturating_sub(self.buffer.len()));
        }
        while left > 0 {
            self.buffer.clear();
            match self.stream.read_buf(&mut self.buffer).await? as u64 {
                0 => return Err(ErrorKind::UnexpectedEof.into()),
                read => left = left.checked_sub(read).ok_or(ErrorKind::InvalidData)?,
            }
        }
        Ok(answer)
    }
}

/// The head of an answer; none when it is malformed, or has no length.
fn parse(head: &[u8]) -> Option<Answer> {
    let head = std::str::from_utf8(head).ok()?;
    let mut lines = head.split("\r\n");
    let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
    let mut length = None;
    let mut close = false;
    for (name, value) in lines.filter_map(|line| line.split_once(':')) {
        if name.eq_ignore_ascii_case("content-length") {
            length = value.trim().parse().ok();
        } else if name.eq_ignore_ascii_case("connection") {
            close = value.trim().eq_ignore_ascii_case("close");
        }
    }
    Some(Answer { status, length: length?, close })
}

/// A request as a plain client makes it.
pub(crate) fn request(host: &str, path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: rig\r\nAccept: */*\r\n\r\n").into_bytes()
}

/// A connection of a closed loop: goes through the requests with a stride of its own, so that connections ask different hosts.
pub(crate) struct Requests {
    connection: Connection,
    requests: Rc<Vec<Vec<u8>>>,
    next: usize,
    stride: usize,
}

impl Requests {
    /// `index` tells the connections of a loop apart.
    pub(crate) async fn open(to: &Target, requests: Rc<Vec<Vec<u8>>>, index: usize) -> anyhow::Result<Self> {
        let connection = Connection::open(to).await?;
        let next = index * 79 % requests.len();
        Ok(Self { connection, requests, next, stride: 2 * index + 1 })
    }
}

impl Step for Requests {
    async fn step(&mut self) -> io::Result<u64> {
        let answer = self.connection.exchange(&self.requests[self.next]).await?;
        self.next = (self.next + self.stride) % self.requests.len();
        if answer.status != 200 || answer.close {
            return Err(io::Error::other(format!("unexpected answer: {answer:?}")));
        }
        Ok(answer.length)
    }
}
