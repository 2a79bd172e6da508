//! Uploads that fail while their answer is on its way already: the backend must not take what came of them for all of it.

mod support;

use penstock_testkit::{Connection, DEADLINE, Http2, Request};
use support::{Gateway, RawBackend, http_gateway, read_until, rule, service_at};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::timeout;

const HOST: &str = "a.example";
/// How a chunked body ends.
const LAST_CHUNK: &str = "\r\n0\r\n\r\n";

async fn start() -> (RawBackend, Gateway) {
    let backend = RawBackend::start().await;
    let to = "backend: {services: [{name: app, port: 80}], inlineSettings: {limits: {maxRequestBodySize: 1Ki}}}";
    let gateway = Gateway::start(&[http_gateway(""), rule("all", to), service_at("app", &[backend.addr()])]).await;
    (backend, gateway)
}

/// Takes the next request and begins an answer.
async fn begin_answer(backend: &RawBackend) -> (TcpStream, String) {
    let (mut stream, came) = timeout(DEADLINE, backend.accept()).await.expect("a request");
    let answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nbegun\r\n";
    stream.write_all(answer).await.expect("the gateway reads");
    (stream, came)
}

/// Waits for the gateway to give the request up.
async fn given_up(mut stream: TcpStream, came: String) {
    let rest =
        timeout(DEADLINE, read_until(&mut stream, LAST_CHUNK.trim_start())).await.expect("the end of the connection");
    let all = came + &rest;
    assert!(all.contains("3\r\nabc") && !all.contains(LAST_CHUNK), "{all:?}");
}

/// Sends the beginning of an upload and sees the beginning of its answer.
async fn begin(gateway: &Gateway, backend: &RawBackend) -> (Connection, TcpStream, String) {
    let mut client = gateway.connect().await;
    let head = format!("POST /x HTTP/1.1\r\nHost: {HOST}\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n");
    client.send_raw(head.as_bytes()).await.expect("the gateway reads");
    let (stream, came) = begin_answer(backend).await;
    assert_eq!(client.head("POST").await.expect("a head").status, 200);
    assert_eq!(client.piece().await.expect("a piece"), Some(b"begun".to_vec()));
    (client, stream, came)
}

#[tokio::test]
async fn an_upload_whose_client_leaves_does_not_look_whole() {
    let (backend, gateway) = start().await;
    let (client, stream, came) = begin(&gateway, &backend).await;
    drop(client);
    given_up(stream, came).await;
}

#[tokio::test]
async fn an_upload_that_its_client_breaks_off_does_not_look_whole() {
    let (backend, gateway) = start().await;
    for end in ["no chunk\r\n", "FIN"] {
        let (mut client, stream, came) = begin(&gateway, &backend).await;
        match end {
            "FIN" => client.finish().await.expect("a FIN can be sent"),
            bytes => client.send_raw(bytes.as_bytes()).await.expect("the gateway reads"),
        }
        given_up(stream, came).await;
        client.piece().await.expect_err("an answer without an end");
    }
}

#[tokio::test]
async fn an_upload_beyond_its_limit_does_not_look_whole() {
    let (backend, gateway) = start().await;
    let (mut client, stream, came) = begin(&gateway, &backend).await;
    let long = format!("7d0\r\n{}\r\n0\r\n\r\n", "x".repeat(2000));
    client.send_raw(long.as_bytes()).await.expect("the gateway reads");
    given_up(stream, came).await;
    client.piece().await.expect_err("an answer without an end");
    gateway.wait_metric("penstock_refused_total", &[("reason", "body_too_large")], 1.0).await;
}

#[tokio::test]
async fn the_same_over_http2() {
    let (backend, gateway) = start().await;
    let client = Http2::open(gateway.addr()).await.expect("a connection");
    let mut stream = client.begin(&Request::new("POST", HOST, "/x"), false).await.expect("a stream");
    stream.data(b"abc", false).await.expect("the gateway reads");
    let (at_backend, came) = begin_answer(&backend).await;
    assert_eq!(stream.head().await.expect("a head").status, 200);
    assert_eq!(stream.piece().await.expect("a piece").expect("not the end"), "begun");
    stream.data(&[b'x'; 2000], true).await.expect("the gateway reads");
    given_up(at_backend, came).await;
    stream.piece().await.expect_err("an answer without an end");
    gateway.wait_metric("penstock_refused_total", &[("reason", "body_too_large")], 1.0).await;
}
