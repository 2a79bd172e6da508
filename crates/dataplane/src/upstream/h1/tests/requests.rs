//! Request heads and bodies to bytes (RFC 9112 3, 6, 7.1), and how many writes they cost.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method};
use http_body::{Body, Frame};

use super::super::encode::encode_head;
use super::super::{BodyLength, Connection, EncodeError, RequestHead, SendError};
use super::script::{Script, poll, ready};

fn headers(lines: &[(&'static str, &'static str)]) -> HeaderMap {
    lines.iter().map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_static(value))).collect()
}

fn encode(method: &Method, headers: &HeaderMap, body: BodyLength, upgrade: Option<&HeaderValue>) -> String {
    let mut out = Vec::new();
    encode_head(
        &mut out,
        &RequestHead { method, target: b"/a?b", host: b"h:1", headers, upgrade, keep: &|_| true, extra: &|_| () },
        body,
    )
    .unwrap();
    String::from_utf8(out).unwrap()
}

#[test]
fn heads() {
    let none = HeaderMap::new();
    let rows = [
        (Method::GET, BodyLength::Empty, "GET /a?b HTTP/1.1\r\nhost: h:1\r\n\r\n"),
        (Method::DELETE, BodyLength::Empty, "DELETE /a?b HTTP/1.1\r\nhost: h:1\r\n\r\n"),
        (Method::POST, BodyLength::Empty, "POST /a?b HTTP/1.1\r\nhost: h:1\r\ncontent-length: 0\r\n\r\n"),
        (Method::PUT, BodyLength::Empty, "PUT /a?b HTTP/1.1\r\nhost: h:1\r\ncontent-length: 0\r\n\r\n"),
        (Method::PATCH, BodyLength::Known(0), "PATCH /a?b HTTP/1.1\r\nhost: h:1\r\ncontent-length: 0\r\n\r\n"),
        (
            Method::POST,
            BodyLength::Known(u64::MAX),
            "POST /a?b HTTP/1.1\r\nhost: h:1\r\ncontent-length: 18446744073709551615\r\n\r\n",
        ),
        (Method::GET, BodyLength::Chunked, "GET /a?b HTTP/1.1\r\nhost: h:1\r\ntransfer-encoding: chunked\r\n\r\n"),
    ];
    for (method, body, expected) in rows {
        assert_eq!(encode(&method, &none, body, None), expected);
    }
}

#[test]
fn framing_headers_of_others_are_left_out() {
    let headers = headers(&[
        ("content-length", "9"),
        ("x-a", "1"),
        ("transfer-encoding", "gzip"),
        ("host", "evil"),
        ("connection", "close"),
        ("upgrade", "h2c"),
        ("x-a", "2"),
    ]);
    assert_eq!(
        encode(&Method::GET, &headers, BodyLength::Empty, None),
        "GET /a?b HTTP/1.1\r\nhost: h:1\r\nx-a: 1\r\nx-a: 2\r\n\r\n"
    );
    assert_eq!(
        encode(&Method::GET, &headers, BodyLength::Empty, Some(&HeaderValue::from_static("websocket"))),
        "GET /a?b HTTP/1.1\r\nhost: h:1\r\nx-a: 1\r\nx-a: 2\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n"
    );
}

#[test]
fn nothing_can_be_injected() {
    let headers = HeaderMap::new();
    let head = |target, host| {
        let mut out = b"kept".to_vec();
        let head = RequestHead {
            method: &Method::GET,
            target,
            host,
            headers: &headers,
            upgrade: None,
            keep: &|_| true,
            extra: &|_| (),
        };
        let result = encode_head(&mut out, &head, BodyLength::Empty);
        assert_eq!(out == b"kept", result.is_err());
        result
    };
    for bad in [&b"/ HTTP/1.1"[..], b"/\r\nx: y", b"/\n", b"/\0", b"/\x7f", b"/\t"] {
        assert!(matches!(head(bad, b"h"), Err(EncodeError::Target(_))), "{}", bad.escape_ascii());
        assert!(matches!(head(b"/", bad), Err(EncodeError::Host(_))), "{}", bad.escape_ascii());
    }
    assert!(matches!(head(b"", b"h"), Err(EncodeError::Target(_))));
    assert_eq!(head(b"*", b""), Ok(()));
    assert_eq!(head("/\u{e4}".as_bytes(), b"[::1]:80"), Ok(()));
}

/// A body that follows a script: `None` is a pause.
struct Source {
    frames: VecDeque<Option<Frame<Bytes>>>,
    knows_its_end: bool,
}

impl Source {
    fn of(frames: impl IntoIterator<Item = Option<Frame<Bytes>>>) -> Self {
        Self { frames: frames.into_iter().collect(), knows_its_end: true }
    }
}

impl Body for Source {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match self.frames.pop_front() {
            Some(Some(frame)) => Poll::Ready(Some(Ok(frame))),
            Some(None) => Poll::Pending,
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.knows_its_end && self.frames.is_empty()
    }
}

fn data(bytes: &'static str) -> Option<Frame<Bytes>> {
    Some(Frame::data(Bytes::from_static(bytes.as_bytes())))
}

fn started(script: Script, length: BodyLength) -> Connection<Script> {
    let mut connection = Connection::new(script);
    let headers = HeaderMap::new();
    let head = RequestHead {
        method: &Method::PUT,
        target: b"/",
        host: b"h",
        headers: &headers,
        upgrade: None,
        keep: &|_| true,
        extra: &|_| (),
    };
    connection.start(&head, length, false).unwrap();
    connection
}

/// What goes out behind the head, and in how many writes.
fn send(script: Script, length: BodyLength, mut source: Source) -> (String, usize) {
    let mut connection = started(script, length);
    ready(|cx| connection.poll_send(cx, &mut source)).unwrap();
    let written = String::from_utf8(connection.get_ref().written.clone()).unwrap();
    assert_eq!(connection.bytes_sent(), written.len() as u64);
    (written.split_once("\r\n\r\n").unwrap().1.to_owned(), connection.get_ref().write_calls)
}

#[test]
fn bodies_and_their_writes() {
    let none: [&str; 0] = [];
    let trailers = || Some(Frame::trailers(headers(&[("x-sum", "1"), ("content-length", "5")])));
    let rows = [
        ("empty", BodyLength::Empty, Source::of([data("never polled")]), "", 1),
        ("zero", BodyLength::Known(0), Source::of([]), "", 1),
        ("head and body in one", BodyLength::Known(3), Source::of([data("abc")]), "abc", 1),
        ("two frames", BodyLength::Known(4), Source::of([data("ab"), data(""), data("cd")]), "abcd", 2),
        ("trailers have no place", BodyLength::Known(3), Source::of([trailers(), data("abc")]), "abc", 2),
        ("the head does not wait", BodyLength::Known(3), Source::of([None, data("abc")]), "abc", 2),
        ("one chunk", BodyLength::Chunked, Source::of([data("abc")]), "3\r\nabc\r\n0\r\n\r\n", 1),
        (
            "chunks",
            BodyLength::Chunked,
            Source::of([data("0123456789abcdef"), data("x")]),
            "10\r\n0123456789abcdef\r\n1\r\nx\r\n0\r\n\r\n",
            2,
        ),
        ("no chunks", BodyLength::Chunked, Source::of([]), "0\r\n\r\n", 1),
        (
            "trailers",
            BodyLength::Chunked,
            Source::of([data("abc"), trailers()]),
            "3\r\nabc\r\n0\r\nx-sum: 1\r\n\r\n",
            2,
        ),
        (
            "an end that is not known before",
            BodyLength::Chunked,
            Source { knows_its_end: false, ..Source::of([data("a")]) },
            "1\r\na\r\n0\r\n\r\n",
            2,
        ),
    ];
    for (what, length, source, expected, writes) in rows {
        for (vectored, write_limit) in [(true, 0), (false, 0), (true, 5), (false, 3)] {
            let frames = source.frames.iter().map(copy);
            let source = Source { frames: frames.collect(), knows_its_end: source.knows_its_end };
            let script = Script { vectored, write_limit, ..Script::open(none) };
            let (written, calls) = send(script, length, source);
            assert_eq!(written, expected, "{what}");
            assert!(write_limit > 0 || calls == writes, "{what}: {calls} writes");
        }
    }
}

fn copy(frame: &Option<Frame<Bytes>>) -> Option<Frame<Bytes>> {
    frame.as_ref().map(|frame| match (frame.data_ref(), frame.trailers_ref()) {
        (Some(data), _) => Frame::data(data.clone()),
        (None, trailers) => Frame::trailers(trailers.cloned().unwrap_or_default()),
    })
}

#[test]
fn large_bodies_are_not_copied_behind_the_head() {
    let large: &'static str = Box::leak("x".repeat(100_000).into_boxed_str());
    for (vectored, writes) in [(true, 1), (false, 2)] {
        let script = Script { vectored, ..Script::open([""; 0]) };
        assert_eq!(send(script, BodyLength::Known(100_000), Source::of([data(large)])), (large.to_owned(), writes));
    }
}

#[test]
fn lengths_that_are_not_kept() {
    let mut connection = started(Script::open([""; 0]), BodyLength::Known(3));
    let result = ready(|cx| connection.poll_send(cx, &mut Source::of([data("ab"), data("cd")])));
    assert!(matches!(result, Err(SendError::BodyTooLong)));
    assert!(!connection.get_ref().written.ends_with(b"cd") && !connection.is_reusable());

    let mut connection = started(Script::open([""; 0]), BodyLength::Known(3));
    let result = ready(|cx| connection.poll_send(cx, &mut Source::of([data("ab")])));
    assert!(matches!(result, Err(SendError::BodyTooShort { missing: 1 })));
}

#[test]
fn many_frames_do_not_hold_the_thread() {
    let mut connection = started(Script::open([""; 0]), BodyLength::Chunked);
    let mut source = Source::of((0..40).map(|_| data("x")));
    let turns = (1..).find(|_| poll(|cx| connection.poll_send(cx, &mut source)).is_ready());
    assert_eq!(turns, Some(3));
}
