//! A backend that fails: when another one is asked, when not, and what the client then sees.

mod support;

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use penstock_testkit::{Backend, DEADLINE, Request, free_port, until};
use support::{Gateway, RawBackend, http_gateway, read_until, rule, service, service_at};
use tokio::io::AsyncWriteExt;

const HOST: &str = "a.example";

/// An address where nothing listens.
fn nobody() -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()))
}

/// A rule with these settings for the Service `app`. Endpoints that fail on purpose stay in.
fn with(settings: &str) -> String {
    rule(
        "all",
        &format!(
            "backend: {{services: [{{name: app, port: 80}}], inlineSettings: {{outlierDetection: {{consecutive5xxErrors: 0}}, {settings}}}}}"
        ),
    )
}

async fn over(addresses: &[SocketAddr], settings: &str) -> Gateway {
    Gateway::start(&[http_gateway(""), with(settings), service_at("app", addresses)]).await
}

/// Requests for this path, at both.
fn requests(backends: [&Backend; 2], path: &str) -> usize {
    backends.iter().map(|backend| backend.count(path)).sum()
}

#[tokio::test]
async fn a_refused_connection_is_made_to_another_backend() {
    let backend = Backend::start("one").await;
    let gateway = over(&[nobody(), backend.addr()], "connectTimeout: 5s").await;
    for turn in 0..10 {
        let request = if turn % 2 == 0 { Request::get(HOST, "/x") } else { Request::post(HOST, "/x", "hello") };
        let answer = gateway.send(&request).await;
        assert_eq!((answer.status, answer.header("x-backend")), (200, Some("one")), "nothing was sent yet");
    }
    assert_eq!(backend.count("/x"), 10);
    let errors = || async { gateway.metrics().await.sum("penstock_backend_errors_total", &[("reason", "connect")]) };
    until("the refused connections", DEADLINE, errors, |errors| (1.0..=10.0).contains(errors)).await;
}

#[tokio::test]
async fn a_refused_connection_without_another_backend_is_502() {
    let gateway = over(&[nobody()], "retry: {attempts: 3}").await;
    for request in [Request::get(HOST, "/x"), Request::post(HOST, "/x", "hello")] {
        let answer = gateway.send(&request).await;
        assert_eq!((answer.status, answer.header("x-backend")), (502, None));
    }
    gateway.wait_metric("penstock_requests_total", &[("code", "502")], 2.0).await;
}

#[tokio::test]
async fn closed_before_the_first_byte_is_tried_once_more_when_idempotent() {
    let (one, two) = (Backend::start("one").await, Backend::start("two").await);
    one.behave("close=before");
    let gateway = over(&[one.addr(), two.addr()], "connectTimeout: 5s").await;
    for (method, path) in [("GET", "/get"), ("HEAD", "/head"), ("DELETE", "/delete"), ("OPTIONS", "/options")] {
        for _ in 0..4 {
            let answer = gateway.send(&Request::new(method, HOST, path)).await;
            assert_eq!((answer.status, answer.header("x-backend")), (200, Some("two")), "{method}");
        }
        assert!(one.count(path) > 0, "{method} was tried on the failing one");
        assert_eq!(two.count(path), 4);
    }
}

#[tokio::test]
async fn what_is_not_idempotent_is_sent_once() {
    let (one, two) = (Backend::start("one").await, Backend::start("two").await);
    for backend in [&one, &two] {
        backend.behave("close=before");
    }
    let gateway = over(&[one.addr(), two.addr()], "retry: {attempts: 5}").await;
    for (n, request) in [
        Request::post(HOST, "/0", "hello"),
        Request::post(HOST, "/1", ""),
        Request::post(HOST, "/2", "hello").chunked(&[]),
        Request::new("PATCH", HOST, "/3").body("hello"),
        // Idempotent, but bytes of the body are gone.
        Request::new("PUT", HOST, "/4").body("hello"),
    ]
    .iter()
    .enumerate()
    {
        assert_eq!(gateway.send(request).await.status, 502);
        assert_eq!(requests([&one, &two], &format!("/{n}")), 1, "request {n}");
    }
}

#[tokio::test]
async fn attempts_are_counted() {
    let (one, two) = (Backend::start("one").await, Backend::start("two").await);
    for backend in [&one, &two] {
        backend.behave("close=reset");
    }
    for (attempts, made) in [(0, 1), (1, 2)] {
        let gateway = over(&[one.addr(), two.addr()], &format!("retry: {{attempts: {attempts}}}")).await;
        let path = format!("/{attempts}");
        assert_eq!(gateway.get(HOST, &path).await.status, 502);
        assert_eq!(requests([&one, &two], &path), made, "attempts: {attempts}");
    }
}

#[tokio::test]
async fn an_answer_that_began_is_not_asked_for_again() {
    let (one, two) = (Backend::start("one").await, Backend::start("two").await);
    let gateway = over(&[one.addr(), two.addr()], "retry: {attempts: 5}").await;
    for (n, behaviour) in ["close=head", "raw=nonsense%0d%0a%0d%0a", "raw=HTTP/1.1%20"].iter().enumerate() {
        let path = format!("/{n}");
        assert_eq!(gateway.send(&Request::get(HOST, &path).behaviour(behaviour)).await.status, 502, "{behaviour}");
        assert_eq!(requests([&one, &two], &path), 1, "{behaviour}");
    }
    // An error status is an answer like any other.
    assert_eq!(gateway.send(&Request::get(HOST, "/status").behaviour("status=503")).await.status, 503);
    assert_eq!(requests([&one, &two], "/status"), 1);
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_broken_for_the_client() {
    let backend = Backend::start("one").await;
    let gateway = Gateway::to(&backend).await;
    for behaviour in
        ["close=body,size=100000", "close=body,size=100000,chunked", "close=body,size=10", "close=body,size=10,chunked"]
    {
        let mut connection = gateway.connect().await;
        connection.send(&Request::get(HOST, "/x").behaviour(behaviour)).await.unwrap();
        // Where it breaks at once, not even the head comes.
        let end = connection.response("GET").await;
        assert!(end.is_err(), "{behaviour}: half an answer must not look whole: {end:?}");
    }
    assert_eq!(backend.count("/x"), 4, "none was asked for twice");
}

#[tokio::test]
async fn no_answer_in_time_is_504_after_one_attempt() {
    let (one, two) = (Backend::start("one").await, Backend::start("two").await);
    let gateway = over(&[one.addr(), two.addr()], "requestTimeout: 200ms, retry: {attempts: 3}").await;
    let start = Instant::now();
    let answer = gateway.send(&Request::get(HOST, "/x").behaviour("never")).await;
    assert_eq!((answer.status, answer.header("x-backend")), (504, None));
    assert!(start.elapsed() >= Duration::from_millis(200), "{:?}", start.elapsed());
    assert_eq!(requests([&one, &two], "/x"), 1);
    gateway.wait_metric("penstock_backend_errors_total", &[("reason", "timeout")], 1.0).await;
    // The time counts to the head, not to the end of the body.
    let slow = Request::get(HOST, "/slow").behaviour("size=8,drip=50");
    assert_eq!(gateway.send(&slow).await.body.len(), 8);
}

#[tokio::test]
async fn with_on_timeout_the_idempotent_ones_are_tried_once_more() {
    let (one, two) = (Backend::start("one").await, Backend::start("two").await);
    one.behave("never");
    let gateway = over(&[one.addr(), two.addr()], "requestTimeout: 200ms, retry: {attempts: 1, onTimeout: true}").await;
    for _ in 0..2 {
        assert_eq!(gateway.get(HOST, "/get").await.header("x-backend"), Some("two"));
    }
    assert!(one.count("/get") > 0, "it was asked first at least once");
    assert_eq!(two.count("/get"), 2);
    let posts = [
        gateway.send(&Request::post(HOST, "/post", "a")).await,
        gateway.send(&Request::post(HOST, "/post", "a")).await,
    ];
    let mut codes = posts.map(|answer| answer.status);
    codes.sort_unstable();
    assert_eq!(codes, [200, 504]);
    assert_eq!(requests([&one, &two], "/post"), 2);
}

#[tokio::test]
async fn a_connection_that_the_backend_closed_while_idle_is_not_used() {
    let backend = Backend::start("one").await;
    let gateway = Gateway::to(&backend).await;
    let mut connection = gateway.connect().await;
    for turn in 0..5 {
        let silent = Request::get(HOST, "/x").behaviour("connection=silent");
        assert_eq!(connection.exchange(&silent).await.unwrap().status, 200);
        until("the backend to have closed", DEADLINE, || async { backend.open() }, |open| *open == 0).await;
        let answer = connection.exchange(&Request::post(HOST, "/post", "hello")).await.unwrap();
        assert_eq!(answer.status, 200, "turn {turn}: not even a POST is lost");
        backend.cut_connections();
        until("the backend to have closed", DEADLINE, || async { backend.open() }, |open| *open == 0).await;
    }
    assert_eq!(backend.count("/post"), 5);
}

#[tokio::test]
async fn a_connection_closed_upon_the_next_request_costs_an_idempotent_one_nothing() {
    let backend = RawBackend::start().await;
    let gateway = over(&[backend.addr()], "retry: {attempts: 0}").await;
    let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    for (second, status) in [(Request::get(HOST, "/x"), 200), (Request::post(HOST, "/x", ""), 502)] {
        let mut client = gateway.connect().await;
        client.send(&Request::get(HOST, "/x")).await.unwrap();
        let (mut pooled, _) = backend.accept().await;
        pooled.write_all(answer).await.unwrap();
        assert_eq!(client.response("GET").await.unwrap().text(), "ok");
        // The backend closes just when the next request is on its way: without a word of an answer.
        client.send(&second).await.unwrap();
        let came = read_until(&mut pooled, "\r\n\r\n").await;
        assert!(came.contains(" /x "), "it came over the pooled connection: {came:?}");
        drop(pooled);
        if status == 200 {
            let (mut fresh, came) = backend.accept().await;
            assert!(came.starts_with("GET /x "), "{came}");
            fresh.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok").await.unwrap();
        }
        assert_eq!(client.response("GET").await.unwrap().status, status);
    }
}

#[tokio::test]
async fn a_backend_that_comes_back_is_used_again() {
    let backend = Backend::start("one").await;
    let gateway = Gateway::start(&[http_gateway(""), with("connectTimeout: 5s"), service("app", &[&backend])]).await;
    assert_eq!(gateway.get(HOST, "/x").await.status, 200);
    backend.shutdown().await;
    assert_eq!(gateway.get(HOST, "/x").await.status, 502);
    backend.resume().await;
    assert_eq!(gateway.get(HOST, "/x").await.status, 200);
}

#[tokio::test]
async fn a_body_that_stands_still_is_cut() {
    let backend = Backend::start("one").await;
    let gateway =
        Gateway::start(&[http_gateway(""), with("streamIdleTimeout: 300ms"), service("app", &[&backend])]).await;
    let mut connection = gateway.connect().await;
    connection.send(&Request::get(HOST, "/x").behaviour("sse")).await.unwrap();
    assert_eq!(connection.head("GET").await.unwrap().status, 200);
    backend.send_event("one");
    assert!(connection.piece().await.unwrap().is_some());
    assert!(connection.piece().await.is_err(), "broken, because it was not at its end");
    until("the backend's stream to end", DEADLINE, || async { backend.send_event("two") }, |open| *open == 0).await;
}
