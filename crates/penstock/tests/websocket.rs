//! WebSockets through the gateway: the handshake is a request like any other, everything after it passes unchanged.

mod support;
#[path = "support/ws.rs"]
mod ws;

use penstock_testkit::{Backend, Ca, Connection, DEADLINE, Request, TlsClient, WebSocket};
use support::{Gateway, gateway, http_gateway, rule, rule_to, service, service_at};
use tokio_tungstenite::tungstenite::Message;
use ws::{HANDSHAKE, TunnelBackend, backend_saw, closed, masked_text, none_closed, open, unmasked_text};

async fn handshake(gateway: &Gateway, request: &Request) -> penstock_testkit::client::Handshake {
    WebSocket::handshake(gateway.connect().await, request).await.expect("an answer to the handshake")
}

/// A gateway in front of a backend whose sockets the test holds.
async fn before_raw() -> (Gateway, TunnelBackend) {
    let backend = TunnelBackend::start().await;
    let objects = [http_gateway(""), rule_to("all", "app"), service_at("app", &[backend.addr()])];
    (Gateway::start(&objects).await, backend)
}

async fn raw_handshake(gateway: &Gateway, behind: &[u8]) -> Connection {
    let mut client = gateway.connect().await;
    client.send_raw(&[HANDSHAKE.as_bytes(), behind].concat()).await.expect("the gateway reads");
    client
}

async fn read_exactly(client: &mut Connection, count: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while bytes.len() < count {
        let more = client.read_raw().await.expect("bytes");
        assert!(!more.is_empty(), "closed after {bytes:?}");
        bytes.extend(more);
    }
    bytes
}

#[tokio::test]
async fn messages_of_every_kind_pass_unchanged() {
    let backend = Backend::start("one").await;
    let gateway = Gateway::to(&backend).await;
    let mut socket = open(&gateway).await;
    assert_eq!(socket.response().header("x-backend"), Some("one"));
    assert_eq!(socket.echo("grüß dich").await.unwrap(), "grüß dich");
    let bytes = Message::binary(vec![0_u8, 1, 0xff, 0x88]);
    socket.send_message(bytes.clone()).await.unwrap();
    assert_eq!(socket.next().await.unwrap(), bytes);
    socket.send_message(Message::Ping(b"client".to_vec().into())).await.unwrap();
    assert_eq!(socket.next().await.unwrap(), Message::Pong(b"client".to_vec().into()));
    assert_eq!(backend.command_websockets("ping"), 1);
    assert_eq!(socket.next().await.unwrap(), Message::Ping(b"backend".to_vec().into()));
    socket.send("").await.unwrap();
    assert_eq!(socket.text().await.unwrap(), "");
    none_closed(&gateway, 1).await;
}

#[tokio::test]
async fn a_close_of_the_client_keeps_its_code() {
    let backend = Backend::start("one").await;
    let gateway = Gateway::to(&backend).await;
    open(&gateway).await.close(4321, "bye").await.unwrap();
    backend_saw(&backend, &["close 4321"]).await;
    closed(&gateway, "client", 1).await;
    gateway.wait_metric("penstock_websocket_open", &[], 0.0).await;
    let labels = [("gateway", "edge/shop"), ("listener", "http"), ("rule", "edge/all")];
    gateway.wait_metric("penstock_websocket_opened_total", &labels, 1.0).await;
    let metrics = gateway.metrics().await;
    assert_eq!(metrics.sum("penstock_websocket_duration_seconds_count", &labels[..2]), 1.0);
    gateway.wait_metric("penstock_requests_total", &[("code", "101")], 1.0).await;
}

#[tokio::test]
async fn a_close_of_the_backend_keeps_its_code_and_reason() {
    let backend = Backend::start("one").await;
    let gateway = Gateway::to(&backend).await;
    let mut socket = open(&gateway).await;
    backend.command_websockets("close 4002 try later");
    match socket.next().await.unwrap() {
        Message::Close(Some(frame)) => assert_eq!((u16::from(frame.code), frame.reason.as_str()), (4002, "try later")),
        other => panic!("expected a Close, got {other:?}"),
    }
    assert_eq!(socket.ended(DEADLINE).await.unwrap(), 1006, "nothing follows the Close");
    drop(socket);
    backend_saw(&backend, &["closed"]).await;
    closed(&gateway, "backend", 1).await;
}

#[tokio::test]
async fn large_messages_pass_both_ways() {
    let backend = Backend::start("one").await;
    let gateway = Gateway::to(&backend).await;
    let mut socket = open(&gateway).await;
    let bytes: Vec<u8> = (0..4_000_000_u32).map(|n| (n % 251) as u8).collect();
    socket.send_message(Message::binary(bytes.clone())).await.unwrap();
    assert!(socket.next().await.unwrap() == Message::binary(bytes), "4 MB come back as they went");
    socket.close(1000, "").await.unwrap();
    drop(socket);
    closed(&gateway, "client", 1).await;
    let metrics = gateway.metrics().await;
    for direction in ["from_client", "from_backend"] {
        let counted = metrics.sum("penstock_websocket_bytes_total", &[("direction", direction)]);
        assert!((4_000_000.0..4_001_000.0).contains(&counted), "{direction}: {counted}");
    }
}

#[tokio::test]
async fn subprotocols_and_extensions_pass() {
    let backend = Backend::start("one").await;
    let gateway = Gateway::to(&backend).await;
    let extension = "permessage-deflate; client_max_window_bits";
    let request = Request::get("a.example", "/ws?x=1")
        .with("Sec-WebSocket-Protocol", "v2, v1")
        .with("Sec-WebSocket-Extensions", extension)
        .with("Origin", "https://a.example")
        .behaviour("header=Sec-WebSocket-Extensions:permessage-deflate");
    let socket = handshake(&gateway, &request).await.opened().unwrap();
    assert_eq!(socket.response().header("sec-websocket-protocol"), Some("v2"));
    assert_eq!(socket.response().header("sec-websocket-extensions"), Some("permessage-deflate"));
    let requests = backend.requests();
    let received = requests.iter().find(|request| request.path() == "/ws").expect("the handshake");
    assert_eq!(received.target, "/ws?x=1");
    for (name, value) in [
        ("sec-websocket-protocol", "v2, v1"),
        ("sec-websocket-extensions", extension),
        ("sec-websocket-version", "13"),
        ("origin", "https://a.example"),
        ("host", "a.example"),
        ("x-forwarded-for", "127.0.0.1"),
        ("x-forwarded-proto", "http"),
    ] {
        assert_eq!(received.header(name), Some(value), "{name}");
    }
}

#[tokio::test]
async fn the_handshake_is_routed_by_host_and_path() {
    let (chat, news, rest) = (Backend::start("chat").await, Backend::start("news").await, Backend::start("rest").await);
    let objects = [
        gateway("listeners: [{name: http, port: $http, protocol: HTTP}]"),
        rule("chat", "hostNames: [chat.example]\nbackend: {services: [{name: chat, port: 80}]}"),
        rule("news", "paths: [{paths: [\"/news/*\"], backend: {services: [{name: news, port: 80}]}}]"),
        rule_to("rest", "rest"),
        service("chat", &[&chat]),
        service("news", &[&news]),
        service("rest", &[&rest]),
    ];
    let gateway = Gateway::start(&objects).await;
    for (host, path, name) in
        [("chat.example", "/ws", "chat"), ("a.example", "/news/ws", "news"), ("a.example", "/ws", "rest")]
    {
        let mut socket = WebSocket::open(gateway.addr(), host, path).await.unwrap();
        assert_eq!(socket.echo("!name").await.unwrap(), name, "{host}{path}");
    }
}

#[tokio::test]
async fn a_refused_handshake_is_an_ordinary_answer() {
    let backend = Backend::start("one").await;
    let gateway = Gateway::to(&backend).await;
    let request = Request::get("a.example", "/ws").behaviour("status=403,body=not%20you,header=X-Why:tests");
    let refusal = handshake(&gateway, &request).await.refused().unwrap();
    assert_eq!((refusal.status, refusal.header("x-why"), refusal.text().as_str()), (403, Some("tests"), "not you"));
    gateway.wait_metric("penstock_requests_total", &[("code", "403")], 1.0).await;
    assert_eq!(gateway.metrics().await.sum("penstock_websocket_opened_total", &[]), 0.0);
}

#[tokio::test]
async fn a_connection_goes_on_after_a_refused_handshake() {
    let backend = Backend::start("one").await;
    let gateway = Gateway::to(&backend).await;
    let mut client = gateway.connect().await;
    let refused = Request::get("a.example", "/ws").behaviour("status=401").with("Connection", "Upgrade");
    assert_eq!(client.exchange(&refused.with("Upgrade", "websocket")).await.unwrap().status, 401);
    assert_eq!(client.exchange(&Request::get("a.example", "/next")).await.unwrap().json()["target"], "/next");
}

#[tokio::test]
async fn a_backend_that_is_gone_refuses_the_handshake_with_502() {
    let backend = Backend::start("one").await;
    let gateway = Gateway::to(&backend).await;
    backend.shutdown().await;
    let refusal = handshake(&gateway, &Request::get("a.example", "/ws")).await.refused().unwrap();
    assert_eq!(refusal.status, 502);
}

#[tokio::test]
async fn bytes_right_behind_the_handshake_are_not_lost() {
    let (gateway, backend) = before_raw().await;
    let (early, late) = (masked_text("early"), unmasked_text("late"));
    let mut client = raw_handshake(&gateway, &early).await;
    let mut server = backend.accept(&late).await;
    assert_eq!(server.read(early.len()).await, early);
    assert_eq!(client.head("GET").await.unwrap().status, 101);
    assert_eq!(read_exactly(&mut client, late.len()).await, late);
}

#[tokio::test]
async fn bytes_right_behind_the_handshake_are_not_lost_over_tls_either() {
    let (backend, ca) = (TunnelBackend::start().await, Ca::new("ca"));
    let tls = "listeners: [{name: https, port: $https, protocol: HTTPS, tls: {certificateRefs: [{name: cert}]}}]";
    let secret = ca.server(&["a.example"]).secret_yaml("edge", "cert");
    let objects = [gateway(tls), rule_to("all", "app"), service_at("app", &[backend.addr()]), secret];
    let gateway = Gateway::start(&objects).await;
    let (early, late) = (masked_text("early"), unmasked_text("late"));
    let mut client = Connection::open_tls(gateway.addr_of("https"), &TlsClient::new(&ca), "a.example").await.unwrap();
    client.send_raw(&[HANDSHAKE.as_bytes(), &early].concat()).await.unwrap();
    let mut server = backend.accept(&late).await;
    assert_eq!(server.read(early.len()).await, early);
    assert_eq!(client.head("GET").await.unwrap().status, 101);
    assert_eq!(read_exactly(&mut client, late.len()).await, late);
    // A FIN is a close_notify on that side.
    server.finish().await;
    assert_eq!(client.closed(DEADLINE).await.unwrap(), b"");
    drop(client);
    server.ended().await;
    closed(&gateway, "backend", 1).await;
}

#[tokio::test]
async fn the_access_log_has_a_line_at_its_end() {
    let backend = Backend::start("one").await;
    let objects = [http_gateway(""), rule_to("all", "app"), service("app", &[&backend])];
    let gateway = Gateway::start_with(&["--access-log", "json"], &objects).await;
    let mut socket = open(&gateway).await;
    assert_eq!(socket.echo("hello").await.unwrap(), "hello");
    assert_eq!(gateway.process.stdout(), [""; 0], "nothing while it is open");
    socket.close(1000, "").await.unwrap();
    drop(socket);
    let line = gateway.process.wait_for_stdout("websocket", DEADLINE).await;
    let line: serde_json::Value = serde_json::from_str(&line).expect("a JSON line");
    // Masked: 6 + 5 bytes and a Close of 6 + 2; from the backend: 2 + 5 and 2 + 2.
    for (key, value) in [("status", 101), ("bytes_received", 19), ("bytes_sent", 11)] {
        assert_eq!(line[key], value, "{key} of {line}");
    }
    for (key, value) in [("upgrade", "websocket"), ("close_reason", "client"), ("rule", "edge/all"), ("path", "/ws")] {
        assert_eq!(line[key], value, "{key} of {line}");
    }
}

#[tokio::test]
async fn frames_of_extensions_and_fragments_pass_byte_by_byte() {
    let (gateway, backend) = before_raw().await;
    let mut client = raw_handshake(&gateway, b"").await;
    let mut server = backend.accept(b"").await;
    assert_eq!(client.head("GET").await.unwrap().status, 101);
    // Compressed, in two fragments with a ping between them; then bytes that are no frames at all.
    let mut bytes = vec![0x41, 0x81, 1, 2, 3, 4, 9, 0x89, 0x80, 1, 2, 3, 4, 0x80, 0x81, 1, 2, 3, 4, 9];
    bytes.extend([0xff; 40]);
    for byte in &bytes {
        client.send_raw(&[*byte]).await.unwrap();
    }
    assert_eq!(server.read(bytes.len()).await, bytes);
    server.send(&bytes).await;
    assert_eq!(read_exactly(&mut client, bytes.len()).await, bytes);
    none_closed(&gateway, 1).await;
}

#[tokio::test]
async fn the_backend_goes_on_when_the_client_has_said_all() {
    let (gateway, backend) = before_raw().await;
    let mut client = raw_handshake(&gateway, b"").await;
    let mut server = backend.accept(b"").await;
    assert_eq!(client.head("GET").await.unwrap().status, 101);
    let last = masked_text("last words");
    client.send_raw(&last).await.unwrap();
    client.finish().await.unwrap();
    assert_eq!(server.read(last.len()).await, last);
    server.ended().await;
    let answer = unmasked_text("still here");
    server.send(&answer).await;
    assert_eq!(read_exactly(&mut client, answer.len()).await, answer);
    drop(server);
    assert_eq!(client.closed(DEADLINE).await.unwrap(), b"");
    closed(&gateway, "client", 1).await;
}

#[tokio::test]
async fn the_client_goes_on_when_the_backend_has_said_all() {
    let (gateway, backend) = before_raw().await;
    let mut client = raw_handshake(&gateway, b"").await;
    let mut server = backend.accept(b"").await;
    assert_eq!(client.head("GET").await.unwrap().status, 101);
    let last = unmasked_text("last words");
    server.send(&last).await;
    server.finish().await;
    assert_eq!(client.closed(DEADLINE).await.unwrap(), last);
    let answer = masked_text("still here");
    client.send_raw(&answer).await.unwrap();
    client.finish().await.unwrap();
    assert_eq!(server.read_to_end().await, answer);
    closed(&gateway, "backend", 1).await;
}
