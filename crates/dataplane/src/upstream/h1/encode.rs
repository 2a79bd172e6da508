//! Requests to bytes: the head (RFC 9112 3), chunks and trailers (RFC 9112 7.1).
//!
//! Framing belongs to this file alone: `Host`, `Content-Length`, `Transfer-Encoding` and, for upgrades, `Connection` and
//! `Upgrade` are written from parameters, and headers of these names in the map are left out. So no header of a client's
//! can disagree with the bytes that follow.

use http::header::{CONNECTION, CONTENT_LENGTH, HOST, TRAILER, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderMap, HeaderName, HeaderValue, Method};

/// What is known about a request body before it is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyLength {
    /// No body; the source is not polled.
    Empty,
    /// Exactly so many bytes.
    Known(u64),
    /// Length unknown, or trailers may follow.
    Chunked,
}

/// Calls back with names and values of headers.
pub type Extra<'a> = dyn Fn(&mut dyn FnMut(&str, &[u8])) + 'a;

/// A request head, borrowed from wherever the proxy keeps it.
#[derive(Clone, Copy)]
pub struct RequestHead<'a> {
    /// The method.
    pub method: &'a Method,
    /// Path and query (origin-form), or `*`: bytes without spaces and controls.
    pub target: &'a [u8],
    /// The value of `Host`; may be empty (RFC 9112 3.2).
    pub host: &'a [u8],
    /// Headers as received.
    pub headers: &'a HeaderMap,
    /// Which of them go on: nothing needs to be taken out of the map for that.
    pub keep: &'a dyn Fn(&HeaderName) -> bool,
    /// Calls back with further headers: lower-case name and value without controls.
    pub extra: &'a Extra<'a>,
    /// The protocol to switch to, such as `websocket`.
    pub upgrade: Option<&'a HeaderValue>,
}

/// Why a head cannot be written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// The target is empty or has a space or a control byte: it could end the request line early.
    #[error("request target `{0}` is empty or has a space or control byte; percent-encode it")]
    Target(String),
    /// The host has a space or a control byte.
    #[error("host `{0}` has a space or control byte; remove it")]
    Host(String),
}

/// Appends the request line and the headers to `out`.
///
/// # Errors
/// When target or host could break out of their line; `out` is unchanged then.
pub fn encode_head(out: &mut Vec<u8>, head: &RequestHead<'_>, body: BodyLength) -> Result<(), EncodeError> {
    if head.target.is_empty() || !is_word(head.target) {
        return Err(EncodeError::Target(head.target.escape_ascii().to_string()));
    }
    if !is_word(head.host) {
        return Err(EncodeError::Host(head.host.escape_ascii().to_string()));
    }
    put(out, &[head.method.as_str().as_bytes(), b" ", head.target, b" HTTP/1.1\r\nhost: ", head.host, b"\r\n"]);
    for (name, value) in head.headers {
        if !is_own(name) && (head.keep)(name) {
            put_header(out, name, value);
        }
    }
    (head.extra)(&mut |name, value| put(out, &[name.as_bytes(), b": ", value, b"\r\n"]));
    if let Some(protocol) = head.upgrade {
        put(out, &[b"connection: upgrade\r\nupgrade: ", protocol.as_bytes(), b"\r\n"]);
    }
    match body {
        // RFC 9110 8.6: say zero where the method expects content, nothing where it does not.
        BodyLength::Empty if matches!(*head.method, Method::POST | Method::PUT | Method::PATCH) => {
            out.extend_from_slice(b"content-length: 0\r\n");
        }
        BodyLength::Empty => {}
        BodyLength::Known(length) => {
            out.extend_from_slice(b"content-length: ");
            put_number::<10>(out, length);
            out.extend_from_slice(b"\r\n");
        }
        BodyLength::Chunked => out.extend_from_slice(b"transfer-encoding: chunked\r\n"),
    }
    out.extend_from_slice(b"\r\n");
    Ok(())
}

/// Appends the line in front of a chunk of `size` bytes, which must not be zero: that would end the body.
pub fn encode_chunk_size(out: &mut Vec<u8>, size: usize) {
    debug_assert!(size > 0, "a chunk of size zero ends the body");
    put_number::<16>(out, size as u64);
    out.extend_from_slice(b"\r\n");
}

/// Follows the data of a chunk.
pub const CHUNK_END: &[u8] = b"\r\n";
/// Ends a chunked body that has no trailers.
pub const LAST_CHUNK: &[u8] = b"0\r\n\r\n";
/// Follows the data of the last chunk that has any, when nothing more comes.
pub const CHUNK_END_AND_LAST: &[u8] = b"\r\n0\r\n\r\n";

/// Appends the last chunk with trailers.
pub fn encode_trailers(out: &mut Vec<u8>, trailers: &HeaderMap) {
    out.extend_from_slice(b"0\r\n");
    for (name, value) in trailers {
        if !is_forbidden_in_trailers(name) {
            put_header(out, name, value);
        }
    }
    out.extend_from_slice(b"\r\n");
}

/// Fields that would change framing or routing if somebody merged them into the head (RFC 9110 6.5.1).
pub(super) fn is_forbidden_in_trailers(name: &HeaderName) -> bool {
    is_own(name) || *name == TRAILER
}

/// Headers that only the codec writes. `Connection` and `Upgrade` are hop-by-hop, so none should be in the map.
pub(crate) fn is_own(name: &HeaderName) -> bool {
    *name == HOST || *name == CONTENT_LENGTH || *name == TRANSFER_ENCODING || *name == CONNECTION || *name == UPGRADE
}

/// No space, no control byte: cannot end a token or a line.
fn is_word(bytes: &[u8]) -> bool {
    bytes.iter().all(|&byte| byte > b' ' && byte != 0x7f)
}

fn put_header(out: &mut Vec<u8>, name: &HeaderName, value: &HeaderValue) {
    put(out, &[name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"]);
}

fn put(out: &mut Vec<u8>, parts: &[&[u8]]) {
    out.reserve(parts.iter().map(|part| part.len()).sum());
    for part in parts {
        out.extend_from_slice(part);
    }
}

/// Digits of `number` in `BASE`, without the cost of the formatting machinery.
fn put_number<const BASE: u64>(out: &mut Vec<u8>, mut number: u64) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b"0123456789abcdef"[(number % BASE) as usize];
        number /= BASE;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}
