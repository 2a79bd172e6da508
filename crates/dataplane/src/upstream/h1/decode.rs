//! Response heads from bytes (RFC 9112 4 and 5), on httparse.
//!
//! Header values are slices of the bytes that were read, so a head costs one header map and no copies. What httparse
//! tolerates and a proxy must not (lines that end in a bare line feed, blank lines in front) is refused here.

use std::mem::MaybeUninit;
use std::time::Duration;

use bytes::BytesMut;
use http::header::{CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Version};

use super::error::Error;
use super::framing::{BodyFraming, Facts};

/// The longest head, in bytes, its blank line included.
pub const MAX_HEAD: usize = 64 * 1024;
/// The most header lines in one head.
pub const MAX_HEADERS: usize = 128;
/// The most 1xx answers before the final one.
pub const MAX_INTERIM: u8 = 16;

/// What comes next while waiting for an answer.
#[derive(Debug)]
pub enum ResponseEvent {
    /// 1xx: the answer is still to come.
    Interim(InterimHead),
    /// The answer; its body follows. For 101 the framing says [`BodyFraming::Upgrade`].
    Final(ResponseHead),
}

/// A 1xx answer, to be passed on where the client's side can.
#[derive(Debug)]
pub struct InterimHead {
    /// 100, 102 or 103, or one not known yet; never 101.
    pub status: StatusCode,
    /// As received.
    pub headers: HeaderMap,
}

/// The head of an answer.
#[derive(Debug)]
pub struct ResponseHead {
    /// 101, or 200 and above.
    pub status: StatusCode,
    /// HTTP/1.0 or HTTP/1.1.
    pub version: Version,
    /// As received and in that order, but without Transfer-Encoding, and with at most one Content-Length (none where it
    /// does not count). Hop-by-hop headers are still there.
    pub headers: HeaderMap,
    /// Where the body ends.
    pub framing: BodyFraming,
    /// Whether the backend lets the connection be used again after the body.
    pub keep_alive: bool,
    /// How long the backend says it keeps an idle connection (`Keep-Alive: timeout=`).
    pub keep_alive_timeout: Option<Duration>,
}

/// Decodes heads out of a growing buffer.
#[derive(Debug, Default)]
pub struct HeadDecoder {
    /// How much of the buffer is known to hold no end of a head: a head that drips in is not parsed again at each byte.
    scanned: usize,
}

impl HeadDecoder {
    /// Takes one head off the front of `buf`, or nothing while it is not complete. `to_head` says whether the request was
    /// HEAD. A 1xx other than 101 comes with [`BodyFraming::None`].
    ///
    /// # Errors
    /// The head breaks the protocol or a limit: the connection is of no more use.
    pub fn decode(&mut self, buf: &mut BytesMut, to_head: bool) -> Result<Option<ResponseHead>, Error> {
        if self.scanned > 0 && !has_blank_line(buf, self.scanned) {
            return self.wait(buf);
        }
        let mut lines = [const { MaybeUninit::uninit() }; MAX_HEADERS];
        let mut parsed = httparse::Response::new(&mut []);
        let bytes = &buf[..buf.len().min(MAX_HEAD)];
        // httparse would skip blank lines in front. After an answer was read to its end nothing may stand there.
        if bytes.first().is_some_and(|&byte| byte != b'H') {
            return Err(Error::BadStatusLine);
        }
        let length = match httparse::ParserConfig::default().parse_response_with_uninit_headers(
            &mut parsed,
            bytes,
            &mut lines,
        ) {
            Ok(httparse::Status::Complete(length)) => length,
            Ok(httparse::Status::Partial) => return self.wait(buf),
            Err(error) => return Err(refused(error)),
        };
        self.scanned = 0;
        let status = parsed.code.and_then(|code| StatusCode::from_u16(code).ok()).ok_or(Error::BadStatusLine)?;
        let version = if parsed.version == Some(0) { Version::HTTP_10 } else { Version::HTTP_11 };

        let count = parsed.headers.len();
        let mut spans = [Span::default(); MAX_HEADERS];
        for (span, line) in spans.iter_mut().zip(parsed.headers.iter()) {
            *span = Span::of(bytes, line);
        }
        if !lines_end_in_crlf(&bytes[..length], &spans[..count]) {
            return Err(Error::BareLineFeed);
        }

        let head = buf.split_to(length).freeze();
        let mut headers = HeaderMap::with_capacity(count);
        let mut facts = Facts::default();
        for span in &spans[..count] {
            let name = HeaderName::from_bytes(&head[span.name()]).map_err(|_| Error::BadHeader)?;
            let value = HeaderValue::from_maybe_shared(head.slice(span.value())).map_err(|_| Error::BadHeader)?;
            if name == TRANSFER_ENCODING {
                facts.transfer_encoding(value.as_bytes());
                continue;
            } else if name == CONTENT_LENGTH {
                if let Some(value) = facts.content_length(&value)? {
                    headers.append(name, value);
                }
                continue;
            } else if name == CONNECTION {
                facts.connection(value.as_bytes());
            } else if name == "keep-alive" {
                facts.keep_alive(value.as_bytes());
            }
            headers.append(name, value);
        }
        if facts.drops_content_length(status) {
            headers.remove(CONTENT_LENGTH);
        }
        let interim = status.is_informational() && status != StatusCode::SWITCHING_PROTOCOLS;
        let (framing, keep_alive) =
            if interim { (BodyFraming::None, true) } else { facts.decide(status, version, to_head)? };
        let keep_alive_timeout = facts.keep_alive_timeout;
        Ok(Some(ResponseHead { status, version, headers, framing, keep_alive, keep_alive_timeout }))
    }

    fn wait(&mut self, buf: &BytesMut) -> Result<Option<ResponseHead>, Error> {
        if buf.len() >= MAX_HEAD {
            return Err(Error::HeadTooLarge);
        }
        self.scanned = buf.len();
        Ok(None)
    }
}

/// Where a header line lies in the head; [`MAX_HEAD`] keeps both ends in 16 bits.
#[derive(Debug, Clone, Copy, Default)]
struct Span {
    name: (u16, u16),
    value: (u16, u16),
}

impl Span {
    fn of(bytes: &[u8], line: &httparse::Header<'_>) -> Self {
        let at = |part: &[u8]| {
            // An empty value may point anywhere.
            let start = if part.is_empty() { 0 } else { part.as_ptr() as usize - bytes.as_ptr() as usize };
            (start as u16, (start + part.len()) as u16)
        };
        Self { name: at(line.name.as_bytes()), value: at(line.value) }
    }

    fn name(&self) -> std::ops::Range<usize> {
        self.name.0.into()..self.name.1.into()
    }

    fn value(&self) -> std::ops::Range<usize> {
        self.value.0.into()..self.value.1.into()
    }
}

/// Whether each line of a parsed section ends in CR LF: the two bytes in front of each name, and in front of the end.
fn lines_end_in_crlf(section: &[u8], spans: &[Span]) -> bool {
    section.ends_with(b"\r\n\r\n") && spans.iter().all(|span| section[..span.name().start].ends_with(b"\r\n"))
}

/// Whether a blank line ends at or after `from`, which is never zero.
pub(super) fn has_blank_line(buf: &[u8], from: usize) -> bool {
    let new = &buf[from.saturating_sub(3)..];
    new.windows(2).any(|pair| pair == b"\n\n")
        || new.windows(4).any(|four| four == b"\r\n\r\n" || &four[1..] == b"\n\r\n")
}

fn refused(error: httparse::Error) -> Error {
    match error {
        httparse::Error::TooManyHeaders => Error::TooManyHeaders,
        httparse::Error::HeaderName | httparse::Error::HeaderValue | httparse::Error::NewLine => Error::BadHeader,
        httparse::Error::Status | httparse::Error::Token | httparse::Error::Version => Error::BadStatusLine,
    }
}

/// Decodes a whole trailer section: header lines with their blank line at the end.
///
/// # Errors
/// Malformed lines, or more than [`MAX_HEADERS`] of them.
pub(super) fn decode_trailers(section: &[u8]) -> Result<HeaderMap, Error> {
    let mut lines = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let Ok(httparse::Status::Complete((length, parsed))) = httparse::parse_headers(section, &mut lines) else {
        return Err(Error::BadTrailers);
    };
    // The first name stands at the start of the section, behind the line of the last chunk.
    let starts = parsed.iter().skip(1).map(|line| Span::of(section, line).name().start);
    if length != section.len()
        || !section.ends_with(b"\r\n\r\n")
        || !starts.into_iter().all(|start| section[..start].ends_with(b"\r\n"))
    {
        return Err(Error::BadTrailers);
    }
    let mut trailers = HeaderMap::with_capacity(parsed.len());
    for line in parsed {
        let name = HeaderName::from_bytes(line.name.as_bytes()).map_err(|_| Error::BadTrailers)?;
        let value = HeaderValue::from_bytes(line.value).map_err(|_| Error::BadTrailers)?;
        if !super::encode::is_forbidden_in_trailers(&name) {
            trailers.append(name, value);
        }
    }
    Ok(trailers)
}
