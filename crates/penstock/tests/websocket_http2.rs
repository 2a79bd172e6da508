//! WebSockets over HTTP/2 (RFC 8441) to backends of HTTP/1.1: each stream is a tunnel with the timers, the metrics and the
//! drain of any other.

mod support;
#[path = "support/ws.rs"]
mod ws;

use std::time::Duration;

use penstock_testkit::client::Handshake;
use penstock_testkit::client::frames::kind;
use penstock_testkit::{Backend, Ca, DEADLINE, Frame, Frames, Http2, Request, Signal, TlsClient, WebSocket, until};
use support::{Gateway, RawBackend, WHILE, gateway, http_gateway, rule_to, service, service_at};
use tokio::io::AsyncWriteExt;
use ws::{backend_saw, closed, none_closed, site, stays_open};

const HOST: &str = "a.example";

async fn one(settings: &str) -> (Backend, Gateway, Http2) {
    let backend = Backend::start("one").await;
    let gateway = Gateway::start(&site(settings, &backend)).await;
    let client = Http2::open(gateway.addr()).await.expect("a connection");
    (backend, gateway, client)
}

async fn handshake(client: &Http2, request: &Request) -> Handshake {
    WebSocket::handshake_http2(client, request).await.expect("an answer to the handshake")
}

async fn open(client: &Http2) -> WebSocket {
    handshake(client, &Request::get(HOST, "/ws")).await.opened().expect("an open WebSocket")
}

#[tokio::test]
async fn many_share_a_connection_with_requests() {
    let (backend, gateway, client) = one("requestTimeout: 20s").await;
    let mut sockets = Vec::new();
    for _ in 0..20 {
        sockets.push(open(&client).await);
    }
    assert!(client.offers_connect(), "RFC 8441 3");
    assert_eq!(sockets[0].response().header("x-backend"), Some("one"));
    assert_eq!(sockets[0].response().header("sec-websocket-accept"), None);
    let large = "x".repeat(300_000);
    for (n, socket) in sockets.iter_mut().enumerate() {
        assert_eq!(socket.echo(&format!("hello {n}")).await.unwrap(), format!("hello {n}"));
    }
    assert!(sockets[7].echo(&large).await.unwrap() == large);
    assert_eq!(client.exchange(&Request::get(HOST, "/x")).await.unwrap().status, 200);
    none_closed(&gateway, 20).await;
    let handshake = backend.requests().into_iter().find(|r| r.path() == "/ws").unwrap();
    assert_eq!((handshake.method.as_str(), handshake.header("host")), ("GET", Some(HOST)));
    assert_eq!(handshake.header("upgrade"), Some("websocket"));
    assert_eq!(handshake.header("sec-websocket-version"), Some("13"));
    sockets[0].close(1000, "bye").await.unwrap();
    closed(&gateway, "client", 1).await;
    assert_eq!(backend.command_websockets("close 1000"), 19);
    for socket in &mut sockets[1..] {
        assert_eq!(socket.ended(DEADLINE).await.unwrap(), 1000);
    }
    gateway.wait_metric("penstock_websocket_closed_total", &[("reason", "backend")], 19.0).await;
}

#[tokio::test]
async fn it_works_over_tls_and_keeps_the_protocol() {
    let ca = Ca::new("test");
    let backend = Backend::start("one").await;
    let listeners =
        "listeners:\n- {name: https, port: $https, protocol: HTTPS, tls: {certificateRefs: [{name: cert}]}}\n";
    let secret = ca.server(&[HOST]).secret_yaml("edge", "cert");
    let objects = [gateway(listeners), rule_to("all", "app"), service("app", &[&backend]), secret];
    let gateway = Gateway::start(&objects).await;
    let client = Http2::open_tls(gateway.addr_of("https"), &TlsClient::new(&ca), HOST).await.unwrap();
    let request = Request::get(HOST, "/ws").with("Sec-WebSocket-Protocol", "chat, other");
    let mut socket = handshake(&client, &request).await.opened().unwrap();
    assert_eq!(socket.response().header("sec-websocket-protocol"), Some("chat"));
    assert_eq!(socket.echo("hello").await.unwrap(), "hello");
}

#[tokio::test]
async fn a_refusal_is_an_ordinary_answer() {
    let (_backend, gateway, client) = one("requestTimeout: 20s").await;
    let answer = handshake(&client, &Request::get(HOST, "/ws").behaviour("status=403,body=no")).await;
    let answer = answer.refused().unwrap();
    assert_eq!((answer.status, answer.text().as_str()), (403, "no"));
    // A 200 would open it at the client (RFC 8441 5).
    let answer =
        handshake(&client, &Request::get(HOST, "/ws").behaviour("status=200,body=no")).await.refused().unwrap();
    assert_eq!(answer.status, 502, "{}", answer.text());
    let mut other = client.connect(&Request::get(HOST, "/ws"), "connect-udp").await.unwrap();
    assert_eq!(other.head().await.unwrap().status, 405);
    none_closed(&gateway, 0).await;
}

#[tokio::test]
async fn a_backend_must_prove_that_it_accepts() {
    let raw = RawBackend::start().await;
    let gateway = Gateway::start(&[http_gateway(""), rule_to("all", "app"), service_at("app", &[raw.addr()])]).await;
    let client = Http2::open(gateway.addr()).await.unwrap();
    let answer = async {
        let (mut stream, head) = raw.accept().await;
        assert!(head.contains("sec-websocket-key: "), "{head}");
        let answer = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                      Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
        stream.write_all(answer.as_bytes()).await.unwrap();
        stream
    };
    let request = Request::get(HOST, "/ws");
    let (refused, _backend) = tokio::join!(handshake(&client, &request), answer);
    assert_eq!(refused.refused().unwrap().status, 502);
    none_closed(&gateway, 0).await;
}

#[tokio::test]
async fn idle_ones_end_and_others_stay() {
    let (_backend, gateway, client) = one("webSocket: {idleTimeout: 1s}").await;
    let mut idle = open(&client).await;
    let mut busy = open(&client).await;
    let traffic = async {
        for _ in 0..20 {
            tokio::time::sleep(Duration::from_millis(100)).await;
            assert_eq!(busy.echo("x").await.unwrap(), "x");
        }
    };
    let (end, ()) = tokio::join!(idle.ended(DEADLINE), traffic);
    assert_eq!(end.unwrap(), 1006);
    closed(&gateway, "idle", 1).await;
}

#[tokio::test]
async fn a_reset_or_a_lost_connection_is_the_clients_end() {
    let (backend, gateway, client) = one("requestTimeout: 20s").await;
    let mut stream =
        client.connect(&Request::get(HOST, "/ws").with("Sec-WebSocket-Version", "13"), "websocket").await.unwrap();
    assert_eq!(stream.head().await.unwrap().status, 200);
    stream.reset(h2::Reason::CANCEL);
    closed(&gateway, "client", 1).await;
    let kept = open(&client).await;
    let lost = Http2::open(gateway.addr()).await.unwrap();
    let one = open(&lost).await;
    lost.abort();
    drop(one);
    closed(&gateway, "client", 2).await;
    until("one left at the backend", DEADLINE, || async { backend.websockets() }, |open| *open == 1).await;
    drop(kept);
}

#[tokio::test]
async fn a_client_may_acknowledge_every_message() {
    let backend = Backend::start("one").await;
    let gateway = Gateway::start(&site("requestTimeout: 20s", &backend)).await;
    let mut frames = Frames::open(gateway.addr(), &[]).await.unwrap();
    let connect = [
        (":method", "CONNECT"),
        (":protocol", "websocket"),
        (":scheme", "http"),
        (":authority", HOST),
        (":path", "/ws"),
        ("sec-websocket-version", "13"),
    ];
    frames.send(&[Frame::headers(1, false, &connect)]).await.unwrap();
    frames.wait_for(|frame| frame.kind == kind::HEADERS && frame.stream == 1).await.unwrap();
    // As simple clients do: more window for stream and connection with each piece that came. It is no flood.
    for n in 0..1500 {
        assert_eq!(backend.command_websockets("text hello"), 1, "message {n}");
        let piece = frames.wait_for(|frame| frame.kind == kind::DATA).await.unwrap();
        let more = u32::try_from(piece.payload.len()).unwrap().to_be_bytes();
        let updates = [1, 0].map(|stream| Frame::new(kind::WINDOW_UPDATE, 0, stream, &more));
        frames.send(&updates).await.unwrap();
    }
    none_closed(&gateway, 1).await;
    assert_eq!(gateway.metrics().await.sum("penstock_refused_total", &[]), 0.0);
}

#[tokio::test]
async fn a_drain_closes_them_with_1001() {
    let backend = Backend::start("one").await;
    let mut gateway = Gateway::start_with(
        &["--drain-timeout", "3s", "--drain-spread", "1s"],
        &[http_gateway(""), rule_to("all", "app"), service("app", &[&backend])],
    )
    .await;
    let mut client = Http2::open(gateway.addr()).await.unwrap();
    let mut socket = open(&client).await;
    gateway.process.signal(Signal::Term);
    stays_open(&mut socket, WHILE).await;
    assert_eq!(socket.echo("still here").await.unwrap(), "still here");
    assert_eq!(socket.ended(DEADLINE).await.unwrap(), 1001);
    backend_saw(&backend, &["close 1001"]).await;
    client.ended(DEADLINE).await.unwrap().unwrap();
    assert_eq!(gateway.process.wait_exit(DEADLINE).await.code(), Some(0));
}

#[tokio::test]
async fn it_has_a_line_in_the_log() {
    let backend = Backend::start("one").await;
    let objects = [http_gateway(""), rule_to("all", "app"), service("app", &[&backend])];
    let gateway = Gateway::start_with(&["--access-log", "json"], &objects).await;
    let client = Http2::open(gateway.addr()).await.unwrap();
    let mut socket = handshake(&client, &Request::get(HOST, "/logged")).await.opened().unwrap();
    socket.echo("hello").await.unwrap();
    socket.close(1000, "bye").await.unwrap();
    let line = gateway.process.wait_for_stdout("/logged", DEADLINE).await;
    let line: serde_json::Value = serde_json::from_str(&line).unwrap();
    for (key, value) in
        [("protocol", "HTTP/2"), ("upgrade", "websocket"), ("close_reason", "client"), ("method", "GET")]
    {
        assert_eq!(line[key], value, "{line}");
    }
    assert_eq!(line["status"], 200);
}
