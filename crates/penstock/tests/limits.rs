//! Limits of a backend: so many connections in use, so many requests that wait, and 503 for the rest.

mod support;

use std::time::{Duration, Instant};

use penstock_testkit::{Backend, Connection, DEADLINE, Request, Response, WebSocket, until};
use support::{Gateway, WHILE, http_gateway, rule, service};
use tokio::task::JoinHandle;

const HOST: &str = "a.example";
const PENDING: &str = "penstock_backend_pending";

fn objects(settings: &str, backend: &Backend) -> [String; 3] {
    [
        http_gateway(&format!("backendSettings: [{{name: s, {settings}}}]\n")),
        rule("all", "backend: {services: [{name: app, port: 80}], settings: s}"),
        service("app", &[backend]),
    ]
}

async fn limited(settings: &str) -> (Backend, Gateway) {
    let backend = Backend::start("one").await;
    let gateway = Gateway::start(&objects(settings, &backend)).await;
    (backend, gateway)
}

/// Sends a request on a connection of its own; its answer later.
fn begin(gateway: &Gateway, path: &str, behaviour: &str) -> JoinHandle<Response> {
    let (addr, request) = (gateway.addr(), Request::get(HOST, path).behaviour(behaviour));
    tokio::spawn(async move {
        let mut connection = Connection::open(addr).await.expect("a connection").patience(DEADLINE);
        connection.exchange(&request).await.expect("an answer")
    })
}

/// An event stream holds its connection until [`Backend::end_events`].
async fn hold(gateway: &Gateway, backend: &Backend, count: usize) -> Vec<JoinHandle<Response>> {
    let held = (0..count).map(|_| begin(gateway, "/held", "sse")).collect();
    until("the streams to be open", DEADLINE, || async { backend.event_streams() }, |open| *open == count).await;
    held
}

fn assert_full(answer: &Response) {
    assert_eq!((answer.status, answer.header("retry-after")), (503, Some("1")), "{}", answer.text());
    assert_eq!(answer.header("x-backend"), None, "the gateway says so itself");
}

#[tokio::test]
async fn beyond_the_limit_is_503_and_counted() {
    let (backend, gateway) = limited("limits: {maxConnections: 2, maxPendingRequests: 0}").await;
    let held = hold(&gateway, &backend, 2).await;
    for _ in 0..3 {
        assert_full(&gateway.get(HOST, "/x").await);
    }
    assert_eq!(backend.count("/x"), 0);
    gateway.wait_metric("penstock_refused_total", &[("listener", "http"), ("reason", "overflow")], 3.0).await;
    gateway.wait_metric("penstock_backend_errors_total", &[("settings", "s"), ("reason", "overflow")], 3.0).await;
    gateway.wait_metric("penstock_requests_total", &[("rule", "edge/all"), ("code", "503")], 3.0).await;
    backend.end_events();
    for stream in held {
        assert_eq!(stream.await.unwrap().status, 200, "what was there is left alone");
    }
    assert_eq!(gateway.get(HOST, "/x").await.status, 200);
}

#[tokio::test]
async fn requests_wait_their_turn() {
    let (backend, gateway) = limited("limits: {maxConnections: 1}").await;
    let held = hold(&gateway, &backend, 1).await;
    let mut waiting = Vec::new();
    for n in 0..5 {
        waiting.push(begin(&gateway, &format!("/{n}"), ""));
        gateway.wait_metric(PENDING, &[("pool", "edge/all"), ("settings", "s")], f64::from(n + 1)).await;
    }
    tokio::time::sleep(WHILE).await;
    assert_eq!(backend.requests().iter().filter(|request| request.path().len() == 2).count(), 0, "none is sent");
    backend.end_events();
    for answer in waiting {
        assert_eq!(answer.await.unwrap().status, 200);
    }
    held.into_iter().for_each(drop);
    let order: Vec<String> = backend.requests().iter().map(|r| r.path().to_owned()).filter(|p| p.len() == 2).collect();
    assert_eq!(order, ["/0", "/1", "/2", "/3", "/4"]);
    gateway.wait_metric(PENDING, &[], 0.0).await;
}

#[tokio::test]
async fn no_more_wait_than_may_and_no_longer_than_connecting_may_take() {
    let (backend, gateway) = limited("connectTimeout: 700ms, limits: {maxConnections: 1, maxPendingRequests: 1}").await;
    let _held = hold(&gateway, &backend, 1).await;
    let started = Instant::now();
    let first = begin(&gateway, "/x", "");
    gateway.wait_metric(PENDING, &[], 1.0).await;
    assert_full(&gateway.get(HOST, "/x").await);
    assert!(started.elapsed() < Duration::from_millis(700), "refused at once");
    assert_full(&first.await.unwrap());
    assert!(started.elapsed() >= Duration::from_millis(700), "{:?}", started.elapsed());
    assert_eq!(backend.count("/x"), 0);
    gateway.wait_metric(PENDING, &[], 0.0).await;
}

#[tokio::test]
async fn websockets_count_for_as_long_as_they_are_open() {
    let (_backend, gateway) = limited("limits: {maxConnections: 1, maxPendingRequests: 0}").await;
    let mut socket = WebSocket::open(gateway.addr(), HOST, "/ws").await.unwrap();
    socket.echo("hello").await.unwrap();
    assert_full(&gateway.get(HOST, "/x").await);
    let refused = WebSocket::open(gateway.addr(), HOST, "/ws").await;
    assert!(refused.unwrap_err().to_string().contains("503"));
    socket.close(1000, "bye").await.unwrap();
    gateway.wait_status(HOST, "/x", 200).await;
}

#[tokio::test]
async fn a_failed_request_gives_its_place_back() {
    let (backend, gateway) = limited("retry: {attempts: 2}, limits: {maxConnections: 1, maxPendingRequests: 0}").await;
    for behaviour in ["close=before", "close=body", "status=500", "raw=x", "connection=close"] {
        for _ in 0..2 {
            // Whatever comes of it, and if its client goes away in the middle.
            let mut connection = gateway.connect().await;
            connection.send(&Request::get(HOST, "/x").behaviour(behaviour)).await.unwrap();
            let _ = connection.response("GET").await;
        }
        gateway.wait_status(HOST, "/good", 200).await;
    }
    let mut gone = gateway.connect().await;
    gone.send(&Request::get(HOST, "/gone").behaviour("sse")).await.unwrap();
    until("the stream to be open", DEADLINE, || async { backend.event_streams() }, |open| *open == 1).await;
    drop(gone);
    backend.send_event("to nobody");
    backend.send_event("to nobody");
    gateway.wait_status(HOST, "/good", 200).await;
}

#[tokio::test]
async fn workers_share_the_limit_and_wake_each_other() {
    let backend = Backend::start("one").await;
    let gateway = Gateway::start_with(
        &["--workers", "2"],
        &objects("limits: {maxConnections: 3, maxPendingRequests: 12}", &backend),
    )
    .await;
    let held = hold(&gateway, &backend, 3).await;
    let waiting: Vec<_> = (0..12).map(|_| begin(&gateway, "/x", "delay=20")).collect();
    gateway.wait_metric(PENDING, &[], 12.0).await;
    assert_eq!(backend.count("/x"), 0);
    for _ in 0..4 {
        assert_full(&gateway.get(HOST, "/x").await);
    }
    backend.end_events();
    for answer in waiting {
        assert_eq!(answer.await.unwrap().status, 200);
    }
    drop(held);
}

#[tokio::test]
async fn a_raised_limit_lets_those_in_that_wait() {
    let (backend, gateway) = limited("connectTimeout: 20s, limits: {maxConnections: 1}").await;
    let _held = hold(&gateway, &backend, 1).await;
    let waiting = [begin(&gateway, "/x", ""), begin(&gateway, "/x", "")];
    gateway.wait_metric(PENDING, &[], 2.0).await;
    gateway.replace(&objects("connectTimeout: 20s, limits: {maxConnections: 2}", &backend));
    for answer in waiting {
        assert_eq!(answer.await.unwrap().status, 200);
    }
    assert_eq!(backend.event_streams(), 1, "the first is still there");
}

#[tokio::test]
async fn a_body_beyond_its_limit_is_413_and_the_backend_does_not_get_it() {
    let (backend, gateway) = limited("limits: {maxRequestBodySize: 1Ki}").await;
    let fits = gateway.send(&Request::post(HOST, "/fits", vec![b'x'; 1024])).await;
    assert_eq!(fits.status, 200);
    // Its length says so: no backend is asked.
    assert_eq!(gateway.send(&Request::post(HOST, "/known", vec![b'x'; 1025])).await.status, 413);
    assert_eq!(backend.count("/known"), 0);
    // Known only when it is there.
    let chunked = Request::post(HOST, "/chunked", vec![b'x'; 64 * 1024]).chunked(&[]);
    assert_eq!(gateway.send(&chunked).await.status, 413);
    gateway.wait_metric("penstock_refused_total", &[("reason", "body_too_large")], 2.0).await;
    assert_eq!(gateway.metrics().await.sum("penstock_backend_errors_total", &[]), 0.0, "no fault of the backend's");
}

#[tokio::test]
async fn who_waits_for_100_is_refused_before_it_sends() {
    let (_backend, gateway) = limited("limits: {maxRequestBodySize: 1Ki}").await;
    let mut connection = gateway.connect().await;
    let head = format!("POST / HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 4096\r\nExpect: 100-continue\r\n\r\n");
    connection.send_raw(head.as_bytes()).await.expect("the gateway reads");
    assert_eq!(connection.response("POST").await.expect("an answer").status, 413);
}
