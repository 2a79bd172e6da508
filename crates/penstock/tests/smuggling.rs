//! Requests that two parties could read differently: what reaches the backend is asserted byte for byte, but for the
//! headers that the gateway adds. What is refused instead is in `refused.rs`.

mod support;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use penstock_testkit::{Connection, DEADLINE, until};
use support::{Gateway, http_gateway, rule_to, service_at};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// What came on each connection, probes left out.
type Seen = Arc<Mutex<Vec<String>>>;

/// A backend that keeps every byte, answers the first message of a connection, and reads on until the other side closes.
async fn recorder() -> (SocketAddr, Seen) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
    let (addr, seen) = (listener.local_addr().expect("an address"), Seen::default());
    let all = Arc::clone(&seen);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(record(stream, Arc::clone(&all)));
        }
    });
    (addr, seen)
}

async fn record(mut stream: TcpStream, seen: Seen) {
    let mut bytes = Vec::new();
    while !is_whole(&String::from_utf8_lossy(&bytes)) {
        if stream.read_buf(&mut bytes).await.is_ok_and(|read| read > 0) {
            continue;
        }
        break;
    }
    let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok").await;
    let _ = stream.shutdown().await;
    let _ = stream.read_to_end(&mut bytes).await;
    let text = String::from_utf8_lossy(&bytes).into_owned();
    if !text.is_empty() && !text.starts_with("GET / ") {
        seen.lock().expect("no panic while held").push(without_added(&text));
    }
}

/// Whether a request is complete, by the framing that it says.
fn is_whole(text: &str) -> bool {
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse::<usize>().ok());
    if head.contains("transfer-encoding: chunked") {
        body.ends_with("\r\n\r\n") || body == "0\r\n\r\n"
    } else {
        body.len() >= length.unwrap_or(0)
    }
}

/// Without what the gateway adds to every request.
fn without_added(text: &str) -> String {
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((text, ""));
    let ours = ["x-forwarded-", "x-original-", "x-request-id: "];
    let kept: Vec<&str> = head
        .split("\r\n")
        .filter(|line| !ours.iter().any(|name| line.to_ascii_lowercase().starts_with(name)))
        .collect();
    format!("{}\r\n\r\n{body}", kept.join("\r\n"))
}

/// Sends bytes on one connection and closes it; the statuses of what came back, and what came to the backend.
async fn through(bytes: &str) -> (Vec<u16>, Vec<String>) {
    let (addr, seen) = recorder().await;
    let gateway = Gateway::start(&[http_gateway(""), rule_to("all", "app"), service_at("app", &[addr])]).await;
    exchange(&gateway, &seen, bytes).await
}

async fn exchange(gateway: &Gateway, seen: &Seen, bytes: &str) -> (Vec<u16>, Vec<String>) {
    seen.lock().expect("no panic while held").clear();
    let mut connection = Connection::open(gateway.addr()).await.expect("a connection");
    // It may be closed in the middle of what it is sent.
    let _ = connection.send_raw(bytes.as_bytes()).await;
    let _ = connection.finish().await;
    let came = connection.closed(DEADLINE).await.expect("an end");
    let came = String::from_utf8_lossy(&came).into_owned();
    let statuses: Vec<u16> = came.split("HTTP/1.1 ").skip(1).filter_map(|answer| answer[..3].parse().ok()).collect();
    let passed = statuses.iter().filter(|status| **status == 200).count();
    let all = || async { seen.lock().expect("no panic while held").clone() };
    let seen = until("the backend's connections to end", DEADLINE, all, |seen| seen.len() >= passed).await;
    (statuses, seen)
}

#[tokio::test]
async fn what_reaches_the_backend_is_framed_anew() {
    let (addr, seen) = recorder().await;
    let gateway = Gateway::start(&[http_gateway(""), rule_to("all", "app"), service_at("app", &[addr])]).await;
    let chunked = "POST /x HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n5\r\nabcde\r\n0\r\n\r\n";
    let known = "POST /x HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nabcde";
    for (what, sent, expected) in [
        ("a length", "POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nabcde", known),
        ("chunks", "POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n0\r\n\r\n", chunked),
        (
            "another case",
            "POST /x HTTP/1.1\r\nHost: a\r\ntRANSFER-eNCODING: cHUNKED\r\n\r\n5\r\nabcde\r\n0\r\n\r\n",
            chunked,
        ),
        (
            "blanks around chunked",
            "POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \t chunked \t\r\n\r\n5\r\nabcde\r\n0\r\n\r\n",
            chunked,
        ),
        (
            "an extension of a chunk",
            "POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5;a=\"b;c\"\r\nabcde\r\n0;d\r\n\r\n",
            chunked,
        ),
        (
            "leading zeros of a chunk",
            "POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n00000000000000005\r\nabcde\r\n000\r\n\r\n",
            chunked,
        ),
        ("lines that end in LF", "POST /x HTTP/1.1\nHost: a\nContent-Length: 5\n\nabcde", known),
        (
            "TE.CL",
            "POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n5\r\nabcde\r\n0\r\n\r\n",
            chunked,
        ),
        (
            "CL.TE",
            "POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n0\r\n\r\n",
            chunked,
        ),
        (
            "a length that Connection names",
            "POST /x HTTP/1.1\r\nHost: a\r\nConnection: content-length, host\r\nContent-Length: 5\r\n\r\nabcde",
            known,
        ),
        (
            "no body",
            "POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n",
            "POST /x HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n",
        ),
        (
            "a GET with a body",
            "GET /x HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nabcde",
            "GET /x HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nabcde",
        ),
        (
            "another authority in the target",
            "GET http://b.example/x?y HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET /x?y HTTP/1.1\r\nhost: b.example\r\n\r\n",
        ),
        (
            "a header in blanks",
            "GET /x HTTP/1.1\r\nHost: a\r\nX-A: \t 1 2 \t\r\n\r\n",
            "GET /x HTTP/1.1\r\nhost: a\r\nx-a: 1 2\r\n\r\n",
        ),
        (
            "hop-by-hop headers",
            "GET /x HTTP/1.1\r\nHost: a\r\nConnection: x-a\r\nX-A: 1\r\nTE: trailers\r\nKeep-Alive: 1\r\nProxy-Connection: x\r\n\r\n",
            "GET /x HTTP/1.1\r\nhost: a\r\n\r\n",
        ),
    ] {
        let (statuses, seen) = exchange(&gateway, &seen, sent).await;
        assert_eq!(statuses, [200], "{what}: {seen:?}");
        let lower = |text: &str| text.split("\r\n\r\n").next().unwrap_or_default().to_ascii_lowercase();
        assert_eq!(seen.len(), 1, "{what}: {seen:?}");
        assert_eq!(lower(&seen[0]), lower(expected), "{what}");
        assert_eq!(
            seen[0].split_once("\r\n\r\n"),
            Some((seen[0].split("\r\n\r\n").next().unwrap(), expected.split_once("\r\n\r\n").unwrap().1)),
            "{what}"
        );
    }
}

#[tokio::test]
async fn what_follows_a_body_is_a_request_of_its_own_or_nothing() {
    let (addr, seen) = recorder().await;
    let gateway = Gateway::start(&[http_gateway(""), rule_to("all", "app"), service_at("app", &[addr])]).await;
    let next = "GET /next HTTP/1.1\r\nHost: a\r\n\r\n";
    let targets = |seen: &[String]| -> Vec<String> {
        seen.iter().map(|text| text.split(' ').nth(1).unwrap_or_default().to_owned()).collect()
    };
    for (what, first, statuses, reached) in [
        (
            "behind a length",
            "POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nabcde",
            &[200, 200][..],
            &["/x", "/next"][..],
        ),
        (
            "behind chunks",
            "POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            &[200, 200],
            &["/x", "/next"],
        ),
        ("inside a length", "POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 31\r\n\r\n", &[200], &["/x"]),
        (
            "CL.TE",
            "POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 36\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            &[200],
            &["/x"],
        ),
        (
            "TE.CL",
            "POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
            &[200],
            &["/x"],
        ),
        (
            "TE behind a bare LF",
            "POST /x HTTP/1.1\r\nHost: a\r\nX-A: 1\nTransfer-Encoding: chunked\r\nContent-Length: 36\r\n\r\n0\r\n\r\n",
            &[200],
            &["/x"],
        ),
        (
            "TE.TE",
            "POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n\r\n0\r\n\r\n",
            &[400],
            &[],
        ),
        (
            "a vertical tab behind chunked",
            "POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\x0b\r\n\r\n0\r\n\r\n",
            &[400],
            &[],
        ),
        ("quotes", "POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\n", &[400], &[]),
        ("a parameter", "POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked;q=1\r\n\r\n0\r\n\r\n", &[400], &[]),
        (
            "an empty coding",
            "POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\r\nContent-Length: 0\r\n\r\n",
            &[400],
            &[],
        ),
        (
            "a folded coding",
            "POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n",
            &[400],
            &[],
        ),
        (
            "a name with an underscore is another one",
            "POST /x HTTP/1.1\r\nHost: a\r\nTransfer_Encoding: chunked\r\nContent-Length: 0\r\n\r\n",
            &[200, 200],
            &["/x", "/next"],
        ),
        (
            "a blank before the colon",
            "POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
            &[400],
            &[],
        ),
        (
            "a NUL in the name",
            "POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding\0: chunked\r\n\r\n0\r\n\r\n",
            &[400],
            &[],
        ),
        (
            "lengths that differ",
            "POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nContent-Length: 31\r\n\r\n",
            &[400],
            &[],
        ),
        ("a length with blanks inside", "POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 3 2\r\n\r\n", &[400], &[]),
        ("a length with an underscore", "POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 3_2\r\n\r\n", &[400], &[]),
        ("an empty length", "POST /x HTTP/1.1\r\nHost: a\r\nContent-Length:\r\n\r\n", &[400], &[]),
        ("a bare CR between headers", "POST /x HTTP/1.1\r\nHost: a\rContent-Length: 31\r\n\r\n", &[400], &[]),
    ] {
        let (got, seen) = exchange(&gateway, &seen, &format!("{first}{next}")).await;
        assert_eq!(
            (got.as_slice(), targets(&seen).as_slice()),
            (statuses, &reached.iter().map(|&t| t.to_owned()).collect::<Vec<_>>()[..]),
            "{what}"
        );
    }
}

#[tokio::test]
async fn broken_chunks_reach_no_end_at_the_backend() {
    for (what, chunks) in [
        ("no digits", "zz\r\nabc\r\n0\r\n\r\n"),
        ("a sign", "+3\r\nabc\r\n0\r\n\r\n"),
        ("a prefix", "0x3\r\nabc\r\n0\r\n\r\n"),
        ("a blank in front", " 3\r\nabc\r\n0\r\n\r\n"),
        ("17 digits that are too many", "10000000000000003\r\nabc\r\n0\r\n\r\n"),
        ("more than 64 bits", "fffffffffffffffff\r\nabc\r\n0\r\n\r\n"),
        ("no size", "\r\nabc\r\n0\r\n\r\n"),
        ("more than the size", "3\r\nabcd\r\n0\r\n\r\n"),
        ("a bare CR behind the size", "3\rabc\r\n0\r\n\r\n"),
        ("a bare LF behind the size", "3\nabc\r\n0\r\n\r\n"),
        ("a bare LF behind the data", "3\r\nabc\n0\r\n\r\n"),
        ("a bare LF in an extension", "3;a\nb\r\nabc\r\n0\r\n\r\n"),
        ("an extension without end", &format!("3;{}\r\nabc\r\n0\r\n\r\n", "x".repeat(20_000))),
        ("a bare LF at the end", "0\n\n"),
    ] {
        let sent = format!(
            "POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}GET /next HTTP/1.1\r\nHost: a\r\n\r\n"
        );
        let (statuses, seen) = through(&sent).await;
        assert!(statuses.iter().all(|status| *status == 400), "{what}: {statuses:?}");
        assert!(seen.iter().all(|text| !is_whole(text) && !text.contains("/next")), "{what}: {seen:?}");
    }
}
