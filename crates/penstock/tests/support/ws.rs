//! What tests of WebSockets share: gateways with settings for them, their ends in the metrics, and a backend whose
//! socket the test itself holds.

#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use penstock_testkit::{Backend, DEADLINE, WebSocket, until};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use crate::support::{Gateway, http_gateway, rule, service};

/// A handshake as bytes, for what a WebSocket library would not send after it.
pub(crate) const HANDSHAKE: &str = "GET /ws HTTP/1.1\r\nHost: a.example\r\nConnection: keep-alive, Upgrade\r\n\
    Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// What a backend answers to it.
const SWITCHING: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

/// The rule `all`, which sends everything to the Service `app` under the settings `sockets`.
pub(crate) fn rule_under_settings() -> String {
    rule("all", "backend: {services: [{name: app, port: 80}], settings: sockets}")
}

/// A gateway whose settings `sockets` have these fields.
pub(crate) fn gateway_with(settings: &str) -> String {
    http_gateway(&format!("backendSettings: [{{name: sockets, {settings}}}]"))
}

/// Everything for [`Gateway::start`]: this backend under settings with these fields.
pub(crate) fn site(settings: &str, backend: &Backend) -> [String; 3] {
    [gateway_with(settings), rule_under_settings(), service("app", &[backend])]
}

/// Opens a WebSocket through the gateway.
pub(crate) async fn open(gateway: &Gateway) -> WebSocket {
    WebSocket::open(gateway.addr(), "a.example", "/ws").await.expect("an open WebSocket")
}

/// Opens several.
pub(crate) async fn open_many(gateway: &Gateway, count: usize) -> Vec<WebSocket> {
    let mut sockets = Vec::with_capacity(count);
    for _ in 0..count {
        sockets.push(open(gateway).await);
    }
    sockets
}

/// Looks on for so long and finds the WebSocket open.
///
/// # Panics
/// When it ends meanwhile.
pub(crate) async fn stays_open(socket: &mut WebSocket, time: Duration) {
    let end = socket.ended(time).await;
    assert!(end.is_err(), "the WebSocket ended with {end:?} within {time:?}");
}

/// Waits until as many WebSockets were closed for this reason, and finds that none was closed for another.
pub(crate) async fn closed(gateway: &Gateway, reason: &str, count: u32) {
    let name = "penstock_websocket_closed_total";
    gateway.wait_metric(name, &[("reason", reason)], f64::from(count)).await;
    let metrics = gateway.metrics().await;
    let all: Vec<_> = metrics.matching(name, &[]).filter(|sample| sample.value > 0.0).collect();
    assert_eq!(all.len(), 1, "only {reason}: {all:?}");
}

/// Finds that no WebSocket was closed so far, and that so many are open.
pub(crate) async fn none_closed(gateway: &Gateway, open: u32) {
    let metrics = gateway.metrics().await;
    let counted = ["closed_total", "open"].map(|name| metrics.sum(&format!("penstock_websocket_{name}"), &[]));
    assert_eq!(counted, [0.0, f64::from(open)], "closed and open");
}

/// Waits until the backend's WebSockets ended in these ways.
pub(crate) async fn backend_saw(backend: &Backend, ends: &[&str]) {
    until("the ends at the backend", DEADLINE, || async { backend.websocket_ends() }, |seen| seen == ends).await;
}

/// A text frame as a client sends it.
pub(crate) fn masked_text(text: &str) -> Vec<u8> {
    const MASK: [u8; 4] = [0x11, 0x22, 0x33, 0x44];
    let length = u8::try_from(text.len()).expect("a short text");
    assert!(length < 126, "a short text");
    let payload = text.bytes().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask);
    [0x81, 0x80 | length].into_iter().chain(MASK).chain(payload).collect()
}

/// A text frame as a server sends it.
pub(crate) fn unmasked_text(text: &str) -> Vec<u8> {
    let length = u8::try_from(text.len()).expect("a short text");
    assert!(length < 126, "a short text");
    [0x81, length].into_iter().chain(text.bytes()).collect()
}

/// A backend that answers handshakes and then leaves the socket to the test.
pub(crate) struct TunnelBackend {
    listener: TcpListener,
}

impl TunnelBackend {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
        Self { listener }
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.listener.local_addr().expect("a bound socket has an address")
    }

    /// Takes the next handshake and answers it, with these bytes in the same write. Probes get no answer.
    pub(crate) async fn accept(&self, behind: &[u8]) -> TunnelSocket {
        let accept = async {
            loop {
                let (stream, _) = self.listener.accept().await.expect("a connection");
                stream.set_nodelay(true).expect("a socket takes its options");
                let mut socket = TunnelSocket { stream, ahead: Vec::new() };
                let head = socket.read_to(b"\r\n\r\n").await;
                if !String::from_utf8_lossy(&head).contains("penstock-probe") {
                    socket.send(&[SWITCHING.as_bytes(), behind].concat()).await;
                    return socket;
                }
            }
        };
        timeout(DEADLINE, accept).await.expect("a handshake in time")
    }
}

/// The backend's end of a tunnel.
pub(crate) struct TunnelSocket {
    stream: TcpStream,
    ahead: Vec<u8>,
}

impl TunnelSocket {
    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.expect("the gateway reads");
    }

    /// Sends a FIN.
    pub(crate) async fn finish(&mut self) {
        self.stream.shutdown().await.expect("a FIN can be sent");
    }

    /// Reads so many bytes.
    pub(crate) async fn read(&mut self, count: usize) -> Vec<u8> {
        while self.ahead.len() < count {
            assert!(self.fill().await, "the gateway closed after {:?}", self.ahead);
        }
        self.ahead.drain(..count).collect()
    }

    /// Reads to the end of the stream.
    pub(crate) async fn read_to_end(mut self) -> Vec<u8> {
        while self.fill().await {}
        self.ahead
    }

    /// Waits for the FIN, while this end stays open; nothing may come before it.
    pub(crate) async fn ended(&mut self) {
        assert!(!self.fill().await, "unexpected: {:?}", self.ahead);
    }

    async fn read_to(&mut self, end: &[u8]) -> Vec<u8> {
        loop {
            if let Some(at) = self.ahead.windows(end.len()).position(|window| window == end) {
                return self.ahead.drain(..at + end.len()).collect();
            }
            if !self.fill().await {
                return std::mem::take(&mut self.ahead);
            }
        }
    }

    async fn fill(&mut self) -> bool {
        let read = timeout(DEADLINE, self.stream.read_buf(&mut self.ahead)).await;
        read.expect("bytes or the end in time").expect("no reset") > 0
    }
}
