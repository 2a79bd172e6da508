//! A WebSocket through the gateway is the WebSocket of its backend: whatever a client sends, right or wrong, it gets the
//! same bytes back as from the backend itself. The cases go by the groups of the Autobahn test suite; the verdict on each
//! is the backend's, and the gateway must not change it.

mod support;

use std::collections::BTreeSet;
use std::net::SocketAddr;

use penstock_testkit::{Backend, Connection, DEADLINE};
use support::Gateway;

const HANDSHAKE: &[u8] = b"GET /ws HTTP/1.1\r\nHost: a.example\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
const CONTINUATION: u8 = 0;
const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;
const FIN: u8 = 0x80;

/// A masked frame with this first byte.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mask = [0x37, 0xfa, 0x21, 0x3d];
    let mut bytes = vec![first];
    match payload.len() {
        length @ 0..=125 => bytes.push(FIN | u8::try_from(length).expect("small")),
        length @ 126..=65535 => {
            bytes.push(FIN | 126);
            bytes.extend_from_slice(&u16::try_from(length).expect("fits").to_be_bytes());
        }
        length => {
            bytes.push(FIN | 127);
            bytes.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    bytes.extend_from_slice(&mask);
    bytes.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    bytes
}

fn whole(opcode: u8, payload: &[u8]) -> Vec<u8> {
    frame(FIN | opcode, payload)
}

fn close(code: u16, reason: &[u8]) -> Vec<u8> {
    whole(CLOSE, &[&code.to_be_bytes(), reason].concat())
}

/// A message in fragments of this size.
fn fragments(opcode: u8, payload: &[u8], size: usize) -> Vec<u8> {
    let count = payload.chunks(size).count();
    let parts = payload.chunks(size).enumerate().map(|(n, part)| {
        let fin = if n + 1 == count { FIN } else { 0 };
        frame(fin | if n == 0 { opcode } else { CONTINUATION }, part)
    });
    parts.collect::<Vec<_>>().concat()
}

/// What is sent, as writes of this many bytes, and under which name.
struct Case {
    name: String,
    bytes: Vec<u8>,
    write: usize,
}

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    let mut add = |name: String, parts: &[Vec<u8>]| {
        cases.push(Case { name, bytes: [parts.concat(), close(1000, b"")].concat(), write: usize::MAX });
    };
    for length in [0, 1, 125, 126, 127, 128, 65_535, 65_536, 300_000] {
        add(format!("text of {length}"), &[whole(TEXT, &vec![b'*'; length])]);
        add(format!("binary of {length}"), &[whole(BINARY, &vec![0xfe; length])]);
    }
    for length in [0, 1, 125, 126] {
        add(format!("ping of {length}"), &[whole(PING, &vec![0xfe; length])]);
        add(format!("pong of {length}"), &[whole(PONG, &vec![0xfe; length]), whole(TEXT, b"on")]);
    }
    add("ten pings".into(), &[whole(PING, b"payload").repeat(10)]);
    for bits in 1..8_u8 {
        add(
            format!("reserved bits {bits}"),
            &[whole(TEXT, b"a"), frame(FIN | bits << 4 | TEXT, b"b"), whole(PING, b"")],
        );
    }
    for opcode in [3, 4, 5, 6, 7, 11, 12, 13, 14, 15] {
        add(format!("opcode {opcode}"), &[whole(TEXT, b"a"), whole(opcode, b"b"), whole(PING, b"")]);
    }
    add("fragments".into(), &[fragments(TEXT, b"fragment1fragment2", 9)]);
    add("empty fragments".into(), &[frame(TEXT, b""), frame(CONTINUATION, b""), frame(FIN, b"")]);
    add("a ping between fragments".into(), &[frame(TEXT, b"a"), whole(PING, b"p"), frame(FIN, b"b")]);
    add("a ping in fragments".into(), &[frame(PING, b"a"), frame(FIN, b"b")]);
    add("a close between fragments".into(), &[frame(TEXT, b"a"), close(1000, b"now"), frame(FIN, b"b")]);
    add("a continuation of nothing".into(), &[frame(FIN, b"a"), whole(TEXT, b"b")]);
    add("a new message inside of one".into(), &[frame(TEXT, b"a"), whole(TEXT, b"b")]);
    add("a megabyte in fragments of 64".into(), &[fragments(BINARY, &vec![7; 100_000], 64)]);
    add("a megabyte".into(), &[whole(BINARY, &vec![7; 1_000_000])]);
    add("UTF-8".into(), &[whole(TEXT, "κόσμε \u{10ffff}".as_bytes())]);
    add("UTF-8 split inside of a character".into(), &[fragments(TEXT, "κόσμε".as_bytes(), 1)]);
    for (n, bad) in [&b"\xce\xba\xe1\xbd"[..], b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xc0\xaf", b"\x80", b"\xff"]
        .iter()
        .enumerate()
    {
        add(format!("no UTF-8, {n}"), &[whole(TEXT, bad)]);
        add(format!("no UTF-8 in fragments, {n}"), &[fragments(TEXT, bad, 1)]);
    }
    add("data behind a close".into(), &[close(1000, b""), whole(TEXT, b"late")]);
    add("a ping behind a close".into(), &[close(1000, b""), whole(PING, b"late")]);
    add("close twice".into(), &[close(1000, b""), close(1000, b"")]);
    add("close without a code".into(), &[whole(CLOSE, b"")]);
    add("close with half a code".into(), &[whole(CLOSE, b"\x03")]);
    add("a reason of 123".into(), &[close(1000, &[b'x'; 123])]);
    add("a reason of 124".into(), &[close(1000, &[b'x'; 124])]);
    add("a reason that is no UTF-8".into(), &[close(1000, b"\xce\xba\xe1\xbd")]);
    for code in [
        0, 999, 1000, 1001, 1002, 1003, 1004, 1005, 1006, 1007, 1011, 1012, 1015, 1016, 1100, 2000, 2999, 3000, 3999,
        4000, 4999, 5000, 65_535,
    ] {
        add(format!("close {code}"), &[close(code, b"why")]);
    }
    add("an unmasked frame".into(), &[vec![FIN | TEXT, 1, b'a']]);
    add("a length in more bytes than it needs".into(), &[vec![FIN | TEXT, FIN | 126, 0, 1, 0, 0, 0, 0, b'a']]);
    add(
        "a length above 63 bits".into(),
        &[vec![FIN | BINARY, FIN | 127, 255, 255, 255, 255, 255, 255, 255, 255, 0, 0, 0, 0]],
    );
    add("no frames".into(), &[b"GET / HTTP/1.1\r\nHost: a\r\n\r\n".to_vec()]);
    let texts = [whole(TEXT, &[b'*'; 65]), fragments(TEXT, "κόσμε".as_bytes(), 2), whole(PING, b"p")].concat();
    for write in [1, 7] {
        cases.push(Case {
            name: format!("{write} bytes a write"),
            bytes: [texts.clone(), close(1000, b"")].concat(),
            write,
        });
    }
    cases
}

/// Everything that comes back until the end, behind the head of the 101.
async fn run(addr: SocketAddr, case: &Case) -> Vec<u8> {
    let mut connection = Connection::open(addr).await.expect("a connection").patience(DEADLINE);
    connection.send_raw(HANDSHAKE).await.expect("the handshake is read");
    assert_eq!(connection.head("GET").await.expect("an answer").status, 101);
    for piece in case.bytes.chunks(case.write.min(case.bytes.len())) {
        // Whoever refuses a frame may close while the rest is being sent.
        if connection.send_raw(piece).await.is_err() {
            break;
        }
    }
    connection.closed(DEADLINE).await.expect(&case.name)
}

#[tokio::test]
async fn every_verdict_is_the_backends() {
    let backend = Backend::start("one").await;
    let gateway = Gateway::to(&backend).await;
    let cases = cases();
    assert!(cases.len() > 80);
    let mut verdicts = BTreeSet::new();
    for case in &cases {
        let direct = run(backend.addr(), case).await;
        let through = run(gateway.addr(), case).await;
        let shown = |bytes: &[u8]| {
            format!("{} bytes, at the end {:02x?}", bytes.len(), &bytes[bytes.len().saturating_sub(60)..])
        };
        assert!(direct == through, "{}: direct {}; through the gateway {}", case.name, shown(&direct), shown(&through));
        verdicts.insert(direct);
    }
    for (what, some) in [("an echo", &b"\x81\x01a"[..]), ("a pong", b"\x8a\x07payload"), ("1002", b"\x03\xea")] {
        let seen = verdicts.iter().any(|verdict: &Vec<u8>| verdict.windows(some.len()).any(|part| part == some));
        assert!(seen, "the backend never said {what}: it takes everything for the same");
    }
    assert!(verdicts.len() > 30, "{}", verdicts.len());
    gateway.wait_metric("penstock_websocket_open", &[], 0.0).await;
    gateway.wait_metric("penstock_websocket_opened_total", &[], f64::from(u32::try_from(cases.len()).unwrap())).await;
}
