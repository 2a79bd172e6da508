//! Clients that abuse HTTP/2 (RFC 9113 10.5): each attack ends its own connection, is counted by its name, and costs
//! nobody else anything.

mod support;

use penstock_testkit::client::frames::{END_HEADERS, END_STREAM, header_block, kind};
use penstock_testkit::{Backend, DEADLINE, Frame, Frames, Http2, Request};
use support::Gateway;

const HOST: &str = "a.example";
const ENHANCE_YOUR_CALM: u32 = 11;

async fn one() -> (Backend, Gateway, Http2) {
    let backend = Backend::start("one").await;
    let gateway = Gateway::to(&backend).await;
    let bystander = Http2::open(gateway.addr()).await.expect("a connection");
    (backend, gateway, bystander)
}

/// Sends what the closure says for each round until the connection ends; by then the attack must have been counted.
async fn attack(what: &str, reason: &str, opening: &[Frame], round: impl Fn(u32) -> Vec<Frame>) {
    let (_backend, gateway, bystander) = one().await;
    let mut frames = Frames::open(gateway.addr(), &[]).await.expect("a connection");
    frames.send(opening).await.expect("the gateway reads");
    for number in 0..200 {
        // Once the gateway has closed, sending fails.
        if frames.send(&round(number)).await.is_err() {
            break;
        }
    }
    // The GOAWAY may be lost: what the attacker sent behind the end resets the connection.
    let code = frames.ended(DEADLINE).await.expect(what);
    assert!(matches!(code, None | Some(ENHANCE_YOUR_CALM)), "{what}: {code:?}");
    gateway.wait_metric("penstock_refused_total", &[("reason", reason)], 1.0).await;
    let answer = bystander.exchange(&Request::get(HOST, "/x")).await.expect("an answer");
    assert_eq!(answer.status, 200, "{what}");
    gateway.wait_metric("penstock_connections_open", &[], 1.0).await;
}

fn many(frame: &Frame) -> Vec<Frame> {
    vec![frame.clone(); 50]
}

#[tokio::test]
async fn floods_of_frames_that_bring_nothing() {
    for (reason, frame) in [
        ("settings_flood", Frame::new(kind::SETTINGS, 0, 0, &[])),
        ("ping_flood", Frame::new(kind::PING, 0, 0, &[0; 8])),
        ("priority_flood", Frame::new(kind::PRIORITY, 0, 1, &[0, 0, 0, 3, 1])),
        ("window_update_flood", Frame::new(kind::WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1])),
        ("unknown_frame_flood", Frame::new(200, 0, 0, &[0; 100])),
    ] {
        attack(reason, reason, &[], |_| many(&frame)).await;
    }
}

#[tokio::test]
async fn empty_data() {
    let post = [(":method", "POST"), (":scheme", "http"), (":authority", HOST), (":path", "/x")];
    let empty = Frame::new(kind::DATA, 0, 1, &[]);
    attack("empty DATA", "data_flood", &[Frame::headers(1, false, &post)], |_| many(&empty)).await;
}

#[tokio::test]
async fn continuations_without_end() {
    let block = header_block(&[(":method", "GET"), (":scheme", "http"), (":authority", HOST), (":path", "/x")]);
    let opening = [Frame::new(kind::HEADERS, END_STREAM, 1, &block)];
    for payload in [vec![], header_block(&[("x-more", "1")])] {
        let more = Frame::new(kind::CONTINUATION, 0, 1, &payload);
        attack("CONTINUATION", "continuation_flood", &opening, |_| many(&more)).await;
    }
}

#[tokio::test]
async fn rapid_reset_in_one_piece() {
    let cancel = 8_u32.to_be_bytes();
    attack("rapid reset", "rapid_reset", &[], |round| {
        let stream = |n: u32| 1 + 2 * (round * 50 + n);
        (0..50)
            .flat_map(|n| [Frame::get(stream(n), HOST, "/x"), Frame::new(kind::RST_STREAM, 0, stream(n), &cancel)])
            .collect()
    })
    .await;
}

#[tokio::test]
async fn rapid_reset_of_requests_that_were_accepted() {
    let (_backend, gateway, bystander) = one().await;
    let mut frames = Frames::open(gateway.addr(), &[]).await.unwrap();
    let never =
        [(":method", "GET"), (":scheme", "http"), (":authority", HOST), (":path", "/x"), ("x-test-behaviour", "never")];
    let mut ended = false;
    for stream in (1..2000).step_by(2) {
        // A ping's answer says that the request before it was read, and was accepted.
        frames.send(&[Frame::headers(stream, true, &never), Frame::new(kind::PING, 0, 0, &[0; 8])]).await.ok();
        if frames.wait_for(|frame| frame.kind == kind::PING).await.is_err() {
            ended = true;
            break;
        }
        frames.send(&[Frame::new(kind::RST_STREAM, 0, stream, &8_u32.to_be_bytes())]).await.ok();
    }
    assert!(ended, "a thousand requests were taken back");
    gateway.wait_metric("penstock_refused_total", &[("reason", "rapid_reset")], 1.0).await;
    assert_eq!(bystander.exchange(&Request::get(HOST, "/x")).await.unwrap().status, 200);
}

#[tokio::test]
async fn more_streams_than_allowed_are_refused() {
    const REFUSED_STREAM: u32 = 7;
    let (_backend, gateway, bystander) = one().await;
    let mut frames = Frames::open(gateway.addr(), &[]).await.unwrap();
    let never =
        [(":method", "GET"), (":scheme", "http"), (":authority", HOST), (":path", "/x"), ("x-test-behaviour", "never")];
    let settings = frames.wait_for(|frame| frame.kind == kind::SETTINGS && frame.flags == 0).await.unwrap();
    assert!(settings.payload.chunks(6).any(|setting| setting == [0, 3, 0, 0, 0, 100]), "{settings:?}");
    let open: Vec<Frame> = (0..101).map(|n| Frame::headers(1 + 2 * n, true, &never)).collect();
    frames.send(&open).await.unwrap();
    let refused = frames.wait_for(|frame| frame.kind == kind::RST_STREAM).await.unwrap();
    assert_eq!((refused.stream, refused.error_code()), (201, Some(REFUSED_STREAM)));
    assert_eq!(bystander.exchange(&Request::get(HOST, "/x")).await.unwrap().status, 200);
}

#[tokio::test]
async fn heads_that_are_too_long() {
    let (backend, gateway, client) = one().await;
    let answer = client.exchange(&Request::get(HOST, "/x").with("x-long", &"x".repeat(40_000))).await.unwrap();
    assert_eq!(answer.status, 431);
    let answer = client.exchange(&Request::get(HOST, &format!("/{}", "x".repeat(40_000)))).await.unwrap();
    assert_eq!(answer.status, 414);
    gateway.wait_metric("penstock_refused_total", &[("reason", "header_too_large")], 1.0).await;
    // One entry of the table again and again (RFC 7541): a few bytes on the wire, much in memory.
    let mut frames = Frames::open(gateway.addr(), &[]).await.unwrap();
    let mut block = header_block(&[(":method", "GET"), (":scheme", "http"), (":authority", HOST), (":path", "/x")]);
    // Literal with incremental indexing: `a` with 3000 bytes, which is then entry 62.
    block.extend_from_slice(&[0x40, 1, b'a', 0x7f, 0xb9, 0x16]);
    block.extend_from_slice(&[b'x'; 3000]);
    block.extend_from_slice(&[0x80 | 62; 8000]);
    frames.send(&[Frame::new(kind::HEADERS, END_HEADERS | END_STREAM, 1, &block)]).await.unwrap();
    assert_eq!(frames.ended(DEADLINE).await.unwrap(), Some(ENHANCE_YOUR_CALM));
    gateway.wait_metric("penstock_refused_total", &[("reason", "header_too_large")], 2.0).await;
    assert_eq!(backend.count("/x"), 0);
    assert_eq!(client.exchange(&Request::get(HOST, "/x")).await.unwrap().status, 200);
}
