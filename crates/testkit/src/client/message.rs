//! Requests as a test writes them and answers as they came.

use std::fmt::Write as _;

use anyhow::{Context, Result, bail};

/// A request; nothing is added to what the test says, except the framing of the body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    method: String,
    target: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    chunked: bool,
    trailers: Vec<(String, String)>,
}

impl Request {
    /// A request with a Host and no other header.
    #[must_use]
    pub fn new(method: &str, host: &str, target: &str) -> Self {
        Self {
            method: method.to_owned(),
            target: target.to_owned(),
            headers: vec![("Host".to_owned(), host.to_owned())],
            body: Vec::new(),
            chunked: false,
            trailers: Vec::new(),
        }
    }

    /// A GET.
    #[must_use]
    pub fn get(host: &str, target: &str) -> Self {
        Self::new("GET", host, target)
    }

    /// A POST with a body of known length.
    #[must_use]
    pub fn post(host: &str, target: &str, body: impl Into<Vec<u8>>) -> Self {
        Self::new("POST", host, target).body(body)
    }

    /// One more header, also when there is one of that name already.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Asks the [`Backend`](crate::Backend) behind the proxy to misbehave.
    #[must_use]
    pub fn behaviour(self, behaviour: &str) -> Self {
        self.with(crate::BEHAVIOUR_HEADER, behaviour)
    }

    /// A body, framed by Content-Length.
    #[must_use]
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// Frames the body by chunks (of at most 1000 bytes), with these trailers.
    #[must_use]
    pub fn chunked(mut self, trailers: &[(&str, &str)]) -> Self {
        self.chunked = true;
        self.trailers = trailers.iter().map(|&(n, v)| (n.to_owned(), v.to_owned())).collect();
        self
    }

    /// The method.
    #[must_use]
    pub fn method(&self) -> &str {
        &self.method
    }

    /// The target.
    #[must_use]
    pub fn target(&self) -> &str {
        &self.target
    }

    /// Its headers, without those of the framing.
    #[must_use]
    pub fn headers(&self) -> &[(String, String)] {
        &self.headers
    }

    /// The first header of this name.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        find(&self.headers, name)
    }

    /// The body without its framing.
    #[must_use]
    pub fn body_content(&self) -> &[u8] {
        &self.body
    }

    /// Whether the body's length is not announced.
    #[must_use]
    pub fn is_chunked(&self) -> bool {
        self.chunked
    }

    /// What follows the body.
    #[must_use]
    pub fn sent_trailers(&self) -> &[(String, String)] {
        &self.trailers
    }

    /// The head as bytes, up to and with the empty line.
    #[must_use]
    pub fn head_bytes(&self) -> Vec<u8> {
        let mut head = format!("{} {} HTTP/1.1\r\n", self.method, self.target);
        for (name, value) in &self.headers {
            let _ = write!(head, "{name}: {value}\r\n");
        }
        if self.chunked {
            head.push_str("Transfer-Encoding: chunked\r\n");
        } else if !self.body.is_empty() || self.method == "POST" {
            let _ = write!(head, "Content-Length: {}\r\n", self.body.len());
        }
        head.push_str("\r\n");
        head.into_bytes()
    }

    /// The body as it goes over the wire.
    #[must_use]
    pub fn body_bytes(&self) -> Vec<u8> {
        if !self.chunked {
            return self.body.clone();
        }
        let mut wire = Vec::new();
        for chunk in self.body.chunks(1000) {
            wire.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
            wire.extend_from_slice(chunk);
            wire.extend_from_slice(b"\r\n");
        }
        wire.extend_from_slice(b"0\r\n");
        for (name, value) in &self.trailers {
            wire.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
        }
        wire.extend_from_slice(b"\r\n");
        wire
    }
}

/// The head of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// The minor version: 1 of HTTP/1.1, 0 of HTTP/1.0.
    pub minor: u8,
    /// The status code.
    pub status: u16,
    /// The headers in the order received.
    pub headers: Vec<(String, String)>,
}

impl Head {
    /// The first header of this name.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        find(&self.headers, name)
    }

    /// Parses a head from the front of `bytes`: the head and its length, or none when it is not complete.
    pub(super) fn parse(bytes: &[u8]) -> Result<Option<(Self, usize)>> {
        let mut slots = vec![httparse::EMPTY_HEADER; 256];
        let mut answer = httparse::Response::new(&mut slots);
        match answer.parse(bytes) {
            Ok(httparse::Status::Complete(length)) => {
                let headers = owned(answer.headers);
                let (minor, status) = (answer.version.context("no version")?, answer.code.context("no status")?);
                Ok(Some((Self { minor, status, headers }, length)))
            }
            Ok(httparse::Status::Partial) => Ok(None),
            Err(error) => {
                bail!("not an HTTP answer ({error}): {:?}", String::from_utf8_lossy(&bytes[..bytes.len().min(200)]))
            }
        }
    }
}

/// A complete answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// Answers with a 1xx status that came before it.
    pub interim: Vec<Head>,
    /// The minor version: 1 of HTTP/1.1, 0 of HTTP/1.0.
    pub minor: u8,
    /// The status code.
    pub status: u16,
    /// The headers in the order received.
    pub headers: Vec<(String, String)>,
    /// The body without its framing.
    pub body: Vec<u8>,
    /// The trailers of a chunked body.
    pub trailers: Vec<(String, String)>,
}

impl Response {
    /// The first header of this name.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        find(&self.headers, name)
    }

    /// All headers of this name.
    #[must_use]
    pub fn all(&self, name: &str) -> Vec<&str> {
        self.headers.iter().filter(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str()).collect()
    }

    /// The body as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON, such as the echo of a [`Backend`](crate::Backend).
    ///
    /// # Panics
    /// When it is not JSON.
    #[must_use]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("not JSON ({e}): {} {}", self.status, self.text()))
    }

    /// The values of a header as the backend received it, from the body of its echo.
    ///
    /// # Panics
    /// When the body is no echo.
    #[must_use]
    pub fn echoed(&self, name: &str) -> Vec<String> {
        let echo = self.json();
        let headers = echo["headers"].as_array().unwrap_or_else(|| panic!("not an echo: {echo}"));
        let matching = headers.iter().filter(|h| h[0].as_str().is_some_and(|n| n.eq_ignore_ascii_case(name)));
        matching.map(|h| h[1].as_str().unwrap_or_default().to_owned()).collect()
    }
}

pub(super) fn owned(headers: &[httparse::Header<'_>]) -> Vec<(String, String)> {
    headers.iter().map(|h| (h.name.to_owned(), String::from_utf8_lossy(h.value).into_owned())).collect()
}

fn find<'a>(headers: &'a [(String, String)], name: &str) -> Option<&'a str> {
    headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str())
}
