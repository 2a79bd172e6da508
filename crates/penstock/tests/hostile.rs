//! Clients that want to do harm without breaking a rule of HTTP: too many connections, too slow, half gone. What all of them
//! cost in memory is in `memory.rs`.

mod support;

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use penstock_testkit::{Backend, DEADLINE, Request, WebSocket};
use support::{Gateway, http_gateway, rule, rule_to, service};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

const HOST: &str = "a.example";
const REFUSED: &str = "penstock_refused_total";

fn everything(backend: &Backend) -> [String; 3] {
    [http_gateway(""), rule_to("all", "app"), service("app", &[backend])]
}

/// A connection from 127.0.0.`last`.
async fn from(gateway: &Gateway, last: u8) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind(SocketAddr::from((Ipv4Addr::new(127, 0, 0, last), 0))).expect("an address of this machine");
    socket.connect(gateway.addr()).await.expect("a connection")
}

/// Whether a request on it is answered; otherwise it is closed without a byte.
async fn answers(stream: &mut TcpStream) -> bool {
    let mut came = [0; 9];
    let _ = stream.write_all(b"GET /x HTTP/1.1\r\nHost: a.example\r\n\r\n").await;
    match tokio::time::timeout(DEADLINE, stream.read_exact(&mut came)).await.expect("an answer or an end") {
        Ok(_) => came == *b"HTTP/1.1 ",
        Err(_) => false,
    }
}

#[tokio::test]
async fn a_listener_has_no_more_connections_than_it_may() {
    let backend = Backend::start("one").await;
    let gateway = Gateway::start_with(&["--max-connections-per-listener", "3"], &everything(&backend)).await;
    gateway.wait_metric("penstock_connections_open", &[], 0.0).await;
    let mut socket = WebSocket::open(gateway.addr(), HOST, "/ws").await.unwrap();
    let (mut one, mut two) = (from(&gateway, 1).await, from(&gateway, 1).await);
    assert!(answers(&mut one).await && answers(&mut two).await);
    for n in 1..=3 {
        assert!(!answers(&mut from(&gateway, 1).await).await, "a WebSocket counts, too");
        gateway.wait_metric(REFUSED, &[("listener", "http"), ("reason", "limit")], f64::from(n)).await;
    }
    assert_eq!(socket.echo("hello").await.unwrap(), "hello");
    drop(two);
    gateway.wait_metric("penstock_connections_open", &[], 2.0).await;
    assert!(answers(&mut from(&gateway, 1).await).await);
}

#[tokio::test]
async fn a_client_has_no_more_connections_than_it_may() {
    let backend = Backend::start("one").await;
    let flags = ["--max-connections-per-client", "2", "--trusted-proxies", "127.0.0.3", "--workers", "2"];
    let gateway = Gateway::start_with(&flags, &everything(&backend)).await;
    gateway.wait_metric("penstock_connections_open", &[], 0.0).await;
    let mut mine = [from(&gateway, 1).await, from(&gateway, 1).await];
    for stream in &mut mine {
        assert!(answers(stream).await);
    }
    // Whichever worker takes them.
    for _ in 0..6 {
        assert!(!answers(&mut from(&gateway, 1).await).await);
    }
    gateway.wait_metric(REFUSED, &[("listener", "http"), ("reason", "client_limit")], 6.0).await;
    assert!(answers(&mut from(&gateway, 2).await).await, "others are not meant");
    let mut proxied = Vec::new();
    for _ in 0..5 {
        proxied.push(from(&gateway, 3).await);
        assert!(answers(proxied.last_mut().unwrap()).await, "a trusted proxy speaks for many");
    }
    drop(mine);
    gateway.wait_metric("penstock_connections_open", &[], 5.0).await;
    assert!(answers(&mut from(&gateway, 1).await).await);
}

#[tokio::test]
async fn a_head_that_does_not_come_in_time_is_408() {
    let backend = Backend::start("one").await;
    let gateway = Gateway::start_with(&["--request-head-timeout", "700ms"], &everything(&backend)).await;
    let mut idle = gateway.connect().await;
    let mut slow = gateway.connect().await;
    let trickle = async {
        for byte in b"GET /x HTTP/1.1\r\nHost: a.example\r\nX-Slow: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa".chunks(1) {
            if slow.send_raw(byte).await.is_err() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        slow.response("GET").await
    };
    let answer = tokio::time::timeout(DEADLINE, trickle).await.expect("an end");
    // The answer may be lost in the reset that sending on provokes.
    assert!(answer.is_err() || answer.is_ok_and(|answer| answer.status == 408));
    gateway.wait_metric(REFUSED, &[("reason", "timeout")], 1.0).await;
    let mut half = gateway.connect().await;
    half.send_raw(b"GET /x HTTP/1.1\r\nHost: a.exa").await.unwrap();
    let answer = half.response("GET").await.unwrap();
    assert_eq!((answer.status, answer.header("connection")), (408, Some("close")));
    half.closed(DEADLINE).await.unwrap();
    gateway.wait_metric(REFUSED, &[("reason", "timeout")], 2.0).await;
    assert_eq!(backend.count("/x"), 0);
    assert_eq!(idle.exchange(&Request::get(HOST, "/y")).await.unwrap().status, 200, "one that sent nothing may wait");
}

#[tokio::test]
async fn a_body_that_does_not_come_is_408_and_no_fault_of_the_backend() {
    let (one, two) = (Backend::start("one").await, Backend::start("two").await);
    let settings = "requestTimeout: 500ms, outlierDetection: {consecutive5xxErrors: 1}";
    let to = format!("backend: {{services: [{{name: app, port: 80}}], inlineSettings: {{{settings}}}}}");
    let gateway = Gateway::start(&[http_gateway(""), rule("all", &to), service("app", &[&one, &two])]).await;
    for body in ["", "some of it"] {
        for framing in ["Content-Length: 100\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\n20\r\n"] {
            let mut connection = gateway.connect().await;
            let head = format!("POST /x HTTP/1.1\r\nHost: a.example\r\n{framing}{body}");
            connection.send_raw(head.as_bytes()).await.unwrap();
            let answer = connection.response("POST").await.unwrap();
            assert_eq!((answer.status, answer.header("connection")), (408, Some("close")), "{framing}{body}");
            connection.closed(DEADLINE).await.unwrap();
        }
    }
    gateway.wait_metric(REFUSED, &[("listener", "http"), ("reason", "timeout")], 4.0).await;
    let metrics = gateway.metrics().await;
    assert!(metrics.sum("penstock_backend_errors_total", &[]) < 0.5, "the backends did nothing wrong");
    assert!(metrics.sum("penstock_backend_ejections_total", &[]) < 0.5);
    // A slow backend is another thing.
    assert_eq!(gateway.send(&Request::post(HOST, "/x", "all of it").behaviour("never")).await.status, 504);
}

#[tokio::test]
async fn clients_that_are_half_gone() {
    let backend = Backend::start("one").await;
    let gateway = Gateway::start(&everything(&backend)).await;
    for begun in [
        "",
        "GET /x HT",
        "GET /x HTTP/1.1\r\nHost: a.example\r\n",
        "POST /x HTTP/1.1\r\nHost: a.example\r\nContent-Length: 5\r\n\r\nab",
    ] {
        let mut connection = gateway.connect().await;
        connection.send_raw(begun.as_bytes()).await.unwrap();
        connection.finish().await.unwrap();
        let came = connection.closed(DEADLINE).await.unwrap();
        assert!(came.is_empty() || came.starts_with(b"HTTP/1.1 400 "), "{begun:?}: {}", String::from_utf8_lossy(&came));
    }
    // One that has said all it has to say still gets its answer.
    let mut connection = gateway.connect().await;
    connection.send(&Request::get(HOST, "/whole").behaviour("delay=100,body=answer")).await.unwrap();
    connection.finish().await.unwrap();
    assert_eq!(connection.response("GET").await.unwrap().text(), "answer");
    gateway.wait_metric("penstock_connections_open", &[], 0.0).await;
}
