//! Response heads: status line, header lines, limits, and what they say about body and connection.

use std::time::Duration;

use http::Method;

use super::super::{BodyFraming, Error, ResponseEvent};
use super::script::{Script, answer, get, poll, ready, reason, sent};

/// (clause, head without its blank line, body bytes, the body that is understood or the reason for refusal, reusable).
type Row = (&'static str, &'static str, &'static str, Result<&'static str, &'static str>, bool);

fn check(rows: &[Row], method: &Method) {
    for (clause, head, body, expected, reusable) in rows {
        let raw = format!("{head}\r\n\r\n{body}");
        for size in [raw.len(), 1, 7] {
            let pieces: Vec<_> = raw.as_bytes().chunks(size).collect();
            let result = answer(&mut sent(Script::closing(pieces), method, false));
            assert_eq!(reason(&result), expected.err().unwrap_or("ok"), "{clause}, pieces of {size}");
            if let (Ok(answer), Ok(body)) = (result, expected) {
                assert_eq!(String::from_utf8_lossy(&answer.body), *body, "{clause}, pieces of {size}");
                assert_eq!(answer.reusable, *reusable, "{clause}, pieces of {size}");
                assert!(!answer.head.headers.contains_key("transfer-encoding"), "{clause}");
            }
        }
    }
}

#[test]
fn body_length_rules() {
    check(
        &[
            ("6.3 rule 1: 204 has no body", "HTTP/1.1 204 No Content", "", Ok(""), true),
            (
                "6.3 rule 1: 304 has no body, its length is another's",
                "HTTP/1.1 304 x\r\nContent-Length: 9",
                "",
                Ok(""),
                true,
            ),
            ("6.3 rule 1: 304, chunked or not", "HTTP/1.1 304 x\r\nTransfer-Encoding: chunked", "", Ok(""), true),
            ("a 204 with a length is not trusted", "HTTP/1.1 204 x\r\nContent-Length: 3", "abc", Ok(""), false),
            ("a 204 with chunks is not trusted", "HTTP/1.1 204 x\r\nTransfer-Encoding: chunked", "", Ok(""), false),
            (
                "6.3 rule 3: Transfer-Encoding wins, the connection ends",
                "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked",
                "2\r\nab\r\n0\r\n\r\n",
                Ok("ab"),
                false,
            ),
            (
                "6.3 rule 4: chunked",
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked",
                "2\r\nab\r\n0\r\n\r\n",
                Ok("ab"),
                true,
            ),
            (
                "6.1: another coding",
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip",
                "ab",
                Err("bad_transfer_encoding"),
                false,
            ),
            (
                "6.1: a coding below chunked",
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked",
                "0\r\n\r\n",
                Err("bad_transfer_encoding"),
                false,
            ),
            (
                "6.1: chunked twice",
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
                "0\r\n\r\n",
                Err("bad_transfer_encoding"),
                false,
            ),
            (
                "6.1: no Transfer-Encoding in HTTP/1.0",
                "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked",
                "0\r\n\r\n",
                Err("bad_transfer_encoding"),
                false,
            ),
            (
                "6.3 rule 5: not a number",
                "HTTP/1.1 200 OK\r\nContent-Length: 2x",
                "ab",
                Err("bad_content_length"),
                false,
            ),
            ("6.3 rule 5: a sign", "HTTP/1.1 200 OK\r\nContent-Length: +2", "ab", Err("bad_content_length"), false),
            ("6.3 rule 5: nothing", "HTTP/1.1 200 OK\r\nContent-Length:", "ab", Err("bad_content_length"), false),
            (
                "6.3 rule 5: too large",
                "HTTP/1.1 200 OK\r\nContent-Length: 18446744073709551616",
                "ab",
                Err("bad_content_length"),
                false,
            ),
            (
                "6.3 rule 5: differing lines",
                "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3",
                "abc",
                Err("bad_content_length"),
                false,
            ),
            (
                "6.3 rule 5: differing list",
                "HTTP/1.1 200 OK\r\nContent-Length: 2, 3",
                "abc",
                Err("bad_content_length"),
                false,
            ),
            ("6.3 rule 5: equal list", "HTTP/1.1 200 OK\r\nContent-Length: 2, 2", "ab", Ok("ab"), true),
            (
                "6.3 rule 5: equal lines",
                "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2",
                "ab",
                Ok("ab"),
                true,
            ),
            ("6.3 rule 6: Content-Length", "HTTP/1.1 200 OK\r\ncontent-length: 2", "ab", Ok("ab"), true),
            ("6.3 rule 6: short", "HTTP/1.1 200 OK\r\ncontent-length: 3", "ab", Err("closed_in_body"), false),
            ("6.3 rule 8: until close", "HTTP/1.1 200 OK", "ab", Ok("ab"), false),
            ("9.3: close", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nConnection: Close", "a", Ok("a"), false),
            (
                "9.3: close in a list",
                "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nConnection: x, close",
                "a",
                Ok("a"),
                false,
            ),
            ("9.3: 1.0 closes", "HTTP/1.0 200 OK\r\nContent-Length: 1", "a", Ok("a"), false),
            (
                "9.3: 1.0 keep-alive",
                "HTTP/1.0 200 OK\r\nContent-Length: 1\r\nConnection: keep-alive",
                "a",
                Ok("a"),
                true,
            ),
            (
                "9.3: close beats keep-alive",
                "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: keep-alive, close",
                "",
                Ok(""),
                false,
            ),
            ("a surplus after the answer", "HTTP/1.1 200 OK\r\nContent-Length: 1", "abc", Ok("a"), false),
        ],
        &Method::GET,
    );
}

#[test]
fn answers_to_head_have_no_body() {
    check(
        &[
            ("6.3 rule 1: length", "HTTP/1.1 200 OK\r\nContent-Length: 5", "", Ok(""), true),
            ("6.3 rule 1: chunked", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked", "", Ok(""), true),
            ("6.3 rule 1: no length", "HTTP/1.1 200 OK", "", Ok(""), true),
            ("a body all the same", "HTTP/1.1 200 OK\r\nContent-Length: 5", "hello", Ok(""), false),
            ("an unknown coding", "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip", "", Ok(""), false),
        ],
        &Method::HEAD,
    );
    let answer =
        answer(&mut sent(Script::open(["HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"]), &Method::HEAD, false));
    assert_eq!(answer.unwrap().head.headers["content-length"], "5");
}

#[test]
fn malformed_heads_are_refused() {
    check(
        &[
            ("4: not HTTP", "SSH-2.0-x", "", Err("bad_status_line"), false),
            ("4: HTTP/2", "HTTP/2.0 200 OK", "", Err("bad_status_line"), false),
            ("4: two digits", "HTTP/1.1 99 x", "", Err("bad_status_line"), false),
            ("15.2 of RFC 9110: below 100", "HTTP/1.1 099 x", "", Err("bad_status_line"), false),
            ("2.2: a blank line in front", "\r\nHTTP/1.1 204 x", "", Err("bad_status_line"), false),
            ("2.2: bare LF behind the status line", "HTTP/1.1 204 x\nA: b", "", Err("bare_line_feed"), false),
            ("2.2: bare LF behind a header", "HTTP/1.1 204 x\r\nA: b\nC: d", "", Err("bare_line_feed"), false),
            ("2.2: bare LF behind the last header", "HTTP/1.1 204 x\r\nA: b\n\r\n", "", Err("bare_line_feed"), false),
            ("2.2: bare LF at the end", "HTTP/1.1 204 x\r\nA: b\r\n\n", "", Err("bare_line_feed"), false),
            ("2.2: bare CR", "HTTP/1.1 204 x\r\nA: b\rC: d", "", Err("bad_header"), false),
            ("5: NUL", "HTTP/1.1 204 x\r\nA: b\0c", "", Err("bad_header"), false),
            ("5.1: space before the colon", "HTTP/1.1 204 x\r\nA : b", "", Err("bad_header"), false),
            ("5.1: no name", "HTTP/1.1 204 x\r\n: b", "", Err("bad_header"), false),
            ("5.2: obs-fold", "HTTP/1.1 204 x\r\nA: b\r\n c", "", Err("bad_header"), false),
            ("5.2: obs-fold at once", "HTTP/1.1 204 x\r\n A: b", "", Err("bad_header"), false),
        ],
        &Method::GET,
    );
}

#[test]
fn limits() {
    let lines = |count| format!("HTTP/1.1 204 x\r\n{}\r\n", "a: b\r\n".repeat(count));
    assert_eq!(get(lines(128).as_bytes()).unwrap().head.headers.get_all("a").iter().count(), 128);
    assert_eq!(reason(&get(lines(129).as_bytes())), "too_many_headers");

    let long = |length: usize| {
        let head = "HTTP/1.1 204 x\r\na: \r\n\r\n";
        format!("HTTP/1.1 204 x\r\na: {}\r\n\r\n", "b".repeat(length - head.len()))
    };
    assert_eq!(get(long(64 * 1024).as_bytes()).unwrap().head.headers["a"].len(), 64 * 1024 - 23);
    assert_eq!(reason(&get(long(64 * 1024 + 1).as_bytes())), "head_too_large");
    assert_eq!(reason(&get(&[b"HTTP/1.1 204 x\r\na: ", "b".repeat(70_000).as_bytes()].concat())), "head_too_large");
}

#[test]
fn headers_stay_as_received_and_in_order() {
    let raw = "HTTP/1.1 200 OK\r\nX-B: 1\r\nSet-Cookie: a\r\nDate:  now \t\r\nX-Empty:\r\nset-cookie: b\r\nX-Obs: \u{e4}\r\n\
               Connection: x-b\r\nKeep-Alive: max=3, timeout=5\r\nContent-Length: 2, 2\r\nContent-Length: 2\r\n\r\nab";
    let head = get(raw.as_bytes()).unwrap().head;
    let names: Vec<_> = head.headers.keys().map(http::HeaderName::as_str).collect();
    assert_eq!(names, ["x-b", "set-cookie", "date", "x-empty", "x-obs", "connection", "keep-alive", "content-length"]);
    assert_eq!(head.headers.get_all("set-cookie").iter().collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(head.headers["date"], "now");
    assert_eq!(head.headers["x-empty"], "");
    assert_eq!(head.headers["x-obs"].as_bytes(), "\u{e4}".as_bytes());
    assert_eq!(head.headers.get_all("content-length").iter().collect::<Vec<_>>(), ["2"]);
    assert_eq!(head.keep_alive_timeout, Some(Duration::from_secs(5)));
    assert_eq!(head.framing, BodyFraming::Length(2));
}

#[test]
fn lengths_that_do_not_count_are_dropped() {
    for head in ["200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 5", "204 x\r\nContent-Length: 0"] {
        let answer = get(format!("HTTP/1.1 {head}\r\n\r\n0\r\n\r\n").as_bytes()).unwrap();
        assert!(!answer.head.headers.contains_key("content-length"), "{head}");
    }
}

#[test]
fn interim_answers_come_first() {
    let raw = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 x\r\nLink: a\r\nContent-Length: 7\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    let mut connection = sent(Script::open(raw.as_bytes().chunks(5)), &Method::GET, false);
    let answer = answer(&mut connection).unwrap();
    assert_eq!((answer.interim, answer.body, answer.reusable), (vec![100, 103], b"ok".to_vec(), true));

    let many = |count| "HTTP/1.1 102 x\r\n\r\n".repeat(count) + "HTTP/1.1 204 x\r\n\r\n";
    assert_eq!(get(many(16).as_bytes()).unwrap().interim.len(), 16);
    assert_eq!(reason(&get(many(17).as_bytes())), "too_many_interim");
}

#[test]
fn interim_headers_are_kept_without_framing() {
    let raw = "HTTP/1.1 103 x\r\nLink: a\r\nContent-Length: 7\r\nTransfer-Encoding: chunked\r\n\r\n";
    let mut connection = sent(Script::open([raw]), &Method::GET, false);
    let Ok(ResponseEvent::Interim(head)) = ready(|cx| connection.poll_head(cx)) else { panic!("no interim answer") };
    assert_eq!((head.headers.len(), &head.headers["link"]), (1, &http::HeaderValue::from_static("a")));
    assert!(poll(|cx| connection.poll_head(cx)).is_pending());
}

#[test]
fn switching_protocols() {
    let raw = "HTTP/1.1 101 x\r\nUpgrade: websocket\r\n\r\n\x01\x02frames";
    let mut connection = sent(Script::open([raw]), &Method::GET, true);
    let Ok(ResponseEvent::Final(head)) = ready(|cx| connection.poll_head(cx)) else { panic!("no answer") };
    assert_eq!((head.status.as_u16(), head.framing), (101, BodyFraming::Upgrade));
    assert!(!connection.is_reusable());
    assert!(connection.take_whole_body().is_none());
    assert_eq!(connection.into_parts().1, "\x01\x02frames");
    assert_eq!(reason(&get(raw.as_bytes())), "unexpected_upgrade");
}

#[test]
fn ends_and_garbage() {
    assert_eq!(reason(&get(b"")), "closed_before_head");
    assert_eq!(reason(&get(b"HTTP/1.1 200 OK\r\nA: b\r\n")), "closed_in_head");
    let mut connection = sent(Script::closing(["x"]), &Method::GET, false);
    assert!(matches!(ready(|cx| connection.poll_head(cx)), Err(Error::BadStatusLine)));
    assert!(matches!(ready(|cx| connection.poll_head(cx)), Err(Error::NotDue)));
    assert!(!connection.is_reusable());
}
