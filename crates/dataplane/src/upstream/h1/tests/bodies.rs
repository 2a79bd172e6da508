//! Chunks, extensions, trailers (RFC 9112 7.1), and bodies that are taken whole.

use http::Method;

use super::super::ResponseEvent;
use super::script::{Script, answer, get, poll, ready, reason, sent};

fn chunked(body: &str) -> Vec<u8> {
    format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{body}").into_bytes()
}

#[test]
fn chunks() {
    let rows: &[(&str, &str, Result<&str, &str>)] = &[
        ("7.1: no data", "0\r\n\r\n", Ok("")),
        ("7.1: several", "2\r\nab\r\n1\r\nc\r\n0\r\n\r\n", Ok("abc")),
        (
            "7.1: hexadecimal of either case, leading zeros",
            "00a\r\n0123456789\r\nA\r\nabcdefghij\r\n000\r\n\r\n",
            Ok("0123456789abcdefghij"),
        ),
        ("7.1: no digits", "\r\nab\r\n0\r\n\r\n", Err("bad_chunk_size")),
        ("7.1: not hexadecimal", "g\r\nab\r\n", Err("bad_chunk_size")),
        ("7.1: a prefix", "0x2\r\nab\r\n0\r\n\r\n", Err("bad_chunk_size")),
        ("7.1: a sign", "+2\r\nab\r\n0\r\n\r\n", Err("bad_chunk_size")),
        ("7.1: a space in front", " 2\r\nab\r\n0\r\n\r\n", Err("bad_chunk_size")),
        ("7.1: 17 digits", "10000000000000000\r\nab", Err("bad_chunk_size")),
        ("7.1: 16 digits, then the end", "ffffffffffffffff\r\nab", Err("closed_in_body")),
        ("7.1: bare LF behind the size", "2\nab\r\n0\r\n\r\n", Err("bad_chunk_size")),
        ("7.1: bare CR behind the size", "2\rab\r\n0\r\n\r\n", Err("bad_chunk_size")),
        ("7.1: padded size", "2  \r\nab\r\n0 \r\n\r\n", Ok("ab")),
        ("7.1: digits behind padding", "2 2\r\nab\r\n", Err("bad_chunk_size")),
        ("7.1: data longer than its size", "2\r\nabc\r\n0\r\n\r\n", Err("bad_chunk_end")),
        ("7.1: bare LF behind the data", "2\r\nab\n0\r\n\r\n", Err("bad_chunk_end")),
        ("7.1: no last chunk", "2\r\nab\r\n", Err("closed_in_body")),
        ("7.1: no end of the trailers", "2\r\nab\r\n0\r\n", Err("closed_in_body")),
        ("7.1.1: extensions", "2;a=b;c=\"d e\"\r\nab\r\n1 ;x\r\nc\r\n0;last\r\n\r\n", Ok("abc")),
        ("7.1.1: bare LF in an extension", "2;a\nb\r\nab\r\n0\r\n\r\n", Err("bad_chunk_extension")),
        ("7.1.1: NUL in an extension", "2;a\0b\r\nab\r\n0\r\n\r\n", Err("bad_chunk_extension")),
        ("7.1.2: malformed trailer", "0\r\na b\r\n\r\n", Err("bad_trailers")),
        ("7.1.2: bare LF behind a trailer", "0\r\na: b\nc: d\r\n\r\n", Err("bad_trailers")),
        ("7.1.2: bare LF at the end", "0\r\na: b\n\n", Err("bad_trailers")),
        ("7.1.2: folded trailer", "0\r\na: b\r\n c\r\n\r\n", Err("bad_trailers")),
    ];
    for (clause, body, expected) in rows {
        let raw = chunked(body);
        for size in [raw.len(), 1, 3] {
            let result = answer(&mut sent(Script::closing(raw.chunks(size)), &Method::GET, false));
            assert_eq!(reason(&result), expected.err().unwrap_or("ok"), "{clause}, pieces of {size}");
            if let (Ok(answer), Ok(body)) = (result, expected) {
                assert_eq!(String::from_utf8_lossy(&answer.body), *body, "{clause}, pieces of {size}");
                assert!(answer.reusable && answer.trailers.is_none(), "{clause}, pieces of {size}");
            }
        }
    }
}

#[test]
fn data_in_front_of_an_error_is_not_lost() {
    let mut connection = sent(Script::open([chunked("2\r\nabX")]), &Method::GET, false);
    ready(|cx| connection.poll_head(cx)).unwrap();
    assert_eq!(ready(|cx| connection.poll_frame(cx)).unwrap().unwrap().into_data().unwrap(), "ab");
    assert_eq!(ready(|cx| connection.poll_frame(cx)).unwrap().unwrap_err().reason(), "bad_chunk_end");
    assert!(ready(|cx| connection.poll_frame(cx)).is_none());
    assert!(!connection.is_reusable());
}

#[test]
fn extensions_are_bounded_over_the_whole_body() {
    let body = |length| format!("1;{}\r\na\r\n1;x\r\na\r\n0\r\n\r\n", "x".repeat(length));
    assert_eq!(reason(&get(&chunked(&body(16 * 1024 - 1)))), "ok");
    assert_eq!(reason(&get(&chunked(&body(16 * 1024)))), "bad_chunk_extension");
}

#[test]
fn trailers() {
    let raw = chunked("2\r\nab\r\n0\r\nGrpc-Status: 0\r\nContent-Length: 7\r\nHost: evil\r\nGrpc-Message: x\r\n\r\n");
    for size in [raw.len(), 1, 10] {
        let answer = answer(&mut sent(Script::open(raw.chunks(size)), &Method::GET, false)).unwrap();
        let trailers = answer.trailers.unwrap();
        assert_eq!((trailers.len(), &answer.body[..], answer.reusable), (2, &b"ab"[..], true));
        assert_eq!(
            (&trailers["grpc-status"], &trailers["grpc-message"]),
            (&"0".parse().unwrap(), &"x".parse().unwrap())
        );
    }
    let section = |length: usize| format!("0\r\na: {}\r\n\r\n", "b".repeat(length - 7));
    assert_eq!(reason(&get(&chunked(&section(8 * 1024)))), "ok");
    assert_eq!(reason(&get(&chunked(&section(8 * 1024 + 1)))), "trailers_too_large");
}

#[test]
fn the_end_is_known_with_the_last_data() {
    for raw in [chunked("2\r\nab\r\n1\r\nc\r\n0\r\n\r\n"), b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc".to_vec()]
    {
        let mut connection = sent(Script::open([raw]), &Method::GET, false);
        ready(|cx| connection.poll_head(cx)).unwrap();
        let mut body = Vec::new();
        while !connection.is_end_stream() {
            body.extend_from_slice(&ready(|cx| connection.poll_frame(cx)).unwrap().unwrap().into_data().unwrap());
        }
        assert_eq!(body, b"abc");
        assert!(connection.is_reusable());
    }
}

#[test]
fn whole_bodies_are_taken_at_once() {
    let rows: &[(&[u8], Option<&str>)] = &[
        (b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc", Some("abc")),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", Some("")),
        (b"HTTP/1.1 204 x\r\n\r\n", Some("")),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nabc", None),
        (b"HTTP/1.1 200 OK\r\n\r\nabc", None),
        (&chunked("3\r\nabc\r\n0\r\n\r\n"), Some("abc")),
        (&chunked("0\r\n\r\n"), Some("")),
        (&chunked("3\r\nabc\r\n0\r\n\r"), None),
        (&chunked("3\r\nabc\r\n0\r\na: b\r\n\r\n"), None),
        (&chunked("1\r\na\r\n1\r\nb\r\n0\r\n\r\n"), None),
        (&chunked("fffffffffffffff\r\na\r\n"), None),
        (&chunked("3;x\r\nabc\r\n0\r\n\r\n"), None),
        (&chunked("3"), None),
        (&chunked(""), None),
    ];
    for (raw, expected) in rows {
        let mut connection = sent(Script::open([*raw]), &Method::GET, false);
        let Ok(ResponseEvent::Final(_)) = ready(|cx| connection.poll_head(cx)) else { panic!("no head") };
        let whole = connection.take_whole_body();
        assert_eq!(whole.as_deref(), expected.map(str::as_bytes), "{}", raw.escape_ascii());
        assert_eq!(connection.is_reusable(), expected.is_some(), "{}", raw.escape_ascii());
        assert!(poll(|cx| connection.poll_idle(cx)).is_pending() == expected.is_some());
    }
}

#[test]
fn a_surplus_behind_a_whole_body_is_seen() {
    let raw = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabcHTTP/1.1 200 OK\r\n";
    let mut connection = sent(Script::open([raw]), &Method::GET, false);
    ready(|cx| connection.poll_head(cx)).unwrap();
    assert_eq!(connection.take_whole_body().unwrap(), "abc");
    assert!(!connection.is_reusable());
}
