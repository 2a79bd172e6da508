//! TLS below HTTP: records that come in pieces, a client that ends its side first, a breach of the protocol.

mod support;

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use penstock_testkit::{Backend, Ca, TlsClient};
use support::Gateway;
use support::tls::{listener, objects};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;

/// Sends byte by byte, each in a packet of its own.
struct Trickle(TcpStream);

impl AsyncRead for Trickle {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Trickle {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, &buf[..buf.len().min(1)])
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

/// Listeners for two names on one port, and a client that believes them; with one listener the ClientHello is not looked at.
async fn start(names: &[&str]) -> (Gateway, TlsClient, Backend) {
    let ca = Ca::new("test");
    let app = Backend::start("app").await;
    let listeners: Vec<_> =
        names.iter().map(|name| listener(name, &format!("hostNames: [{name}.example],"), "cert")).collect();
    let mut more = vec![ca.server(&["app.example", "other.example"]).secret_yaml("edge", "cert")];
    more.extend(names[1..].iter().map(|name| support::tls::to(name, name, "app")));
    (Gateway::start(&objects(&listeners, &[&app], &more)).await, TlsClient::new(&ca), app)
}

async fn connect(gateway: &Gateway) -> TcpStream {
    let stream = TcpStream::connect(gateway.addr_of("https")).await.expect("a connection");
    stream.set_nodelay(true).expect("an open socket");
    stream
}

const REQUEST: &str = "POST /x HTTP/1.1\r\nHost: app.example\r\nConnection: close\r\n";

#[tokio::test]
async fn records_may_come_byte_by_byte() {
    for names in [&["app"][..], &["app", "other"]] {
        let (gateway, tls, _app) = start(names).await;
        let mut stream = tls.connect(Trickle(connect(&gateway).await), "app.example").await.unwrap();
        let body = "x".repeat(3_000);
        stream.write_all(format!("{REQUEST}Content-Length: 3000\r\n\r\n{body}").as_bytes()).await.unwrap();
        stream.flush().await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains("\"body_length\":3000"), "{answer}");
    }
}

#[tokio::test]
async fn a_client_that_ends_its_side_still_gets_its_answer_and_the_end() {
    let (gateway, tls, _app) = start(&["app"]).await;
    let mut stream = tls.connect(connect(&gateway).await, "app.example").await.unwrap();
    stream.write_all(format!("{REQUEST}Content-Length: 2\r\n\r\nhi").as_bytes()).await.unwrap();
    // close_notify and FIN.
    stream.shutdown().await.unwrap();
    let mut answer = String::new();
    // Without a close_notify from the other side rustls would call it an error.
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains("\"body_length\":2"), "{answer}");
}

#[tokio::test]
async fn a_record_that_is_no_client_hello_gets_an_alert() {
    for names in [&["app"][..], &["app", "other"]] {
        let (gateway, _tls, _app) = start(names).await;
        let mut stream = connect(&gateway).await;
        stream.write_all(&[22, 3, 1, 0, 4, 1, 0, 0, 0]).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        assert_eq!(answer[..5], [21, 3, 3, 0, 2]);
        gateway.wait_metric("penstock_refused_total", &[("reason", "tls")], 1.0).await;
    }
}
