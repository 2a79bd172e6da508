//! The ends of WebSockets that neither side asked for: timeouts, and sides that die.

mod support;
#[path = "support/ws.rs"]
mod ws;

use std::time::{Duration, Instant};

use penstock_testkit::client::Handshake;
use penstock_testkit::{Backend, DEADLINE, Request, WebSocket};
use support::{Gateway, WHILE};
use ws::{backend_saw, closed, open, site, stays_open};

#[tokio::test]
async fn idle_longer_than_the_request_timeout_closes_without_a_close() {
    let backend = Backend::start("one").await;
    let gateway = Gateway::start(&site("requestTimeout: 500ms", &backend)).await;
    let mut socket = open(&gateway).await;
    assert_eq!(socket.echo("hello").await.unwrap(), "hello");
    let since = Instant::now();
    assert_eq!(socket.ended(DEADLINE).await.unwrap(), 1006);
    let idle = since.elapsed();
    assert!((Duration::from_millis(450)..Duration::from_secs(3)).contains(&idle), "closed after {idle:?}");
    closed(&gateway, "idle", 1).await;
    backend_saw(&backend, &["lost"]).await;
}

#[tokio::test]
async fn the_idle_timeout_of_websockets_goes_before_the_request_timeout() {
    let backend = Backend::start("one").await;
    for (settings, open_for) in [
        ("requestTimeout: 20s, webSocket: {idleTimeout: 400ms}", None),
        ("requestTimeout: 300ms, webSocket: {idleTimeout: 1h}", Some(Duration::from_secs(1))),
        ("requestTimeout: 300ms, webSocket: {idleTimeout: 0s}", Some(Duration::from_secs(1))),
    ] {
        let gateway = Gateway::start(&site(settings, &backend)).await;
        let mut socket = open(&gateway).await;
        match open_for {
            Some(time) => stays_open(&mut socket, time).await,
            None => {
                assert_eq!(socket.ended(DEADLINE).await.unwrap(), 1006, "{settings}");
                closed(&gateway, "idle", 1).await;
            }
        }
    }
}

/// Lets one side speak for longer than the timeout, then nobody.
async fn one_side_speaks(client: bool) {
    let backend = Backend::start("one").await;
    let gateway = Gateway::start(&site("requestTimeout: 800ms", &backend)).await;
    // A backend that reads nothing says nothing either.
    let request = Request::get("a.example", "/ws").behaviour(if client { "ws=stall" } else { "" });
    let handshake = WebSocket::handshake(gateway.connect().await, &request).await;
    let mut socket = handshake.and_then(Handshake::opened).expect("an open WebSocket");
    let end = Instant::now() + Duration::from_millis(1800);
    while Instant::now() < end {
        if client {
            socket.send("tick").await.expect("it is open");
        } else {
            assert_eq!(backend.command_websockets("text tick"), 1);
        }
        stays_open(&mut socket, WHILE / 2).await;
    }
    assert_eq!(socket.ended(DEADLINE).await.expect("an end"), 1006);
    closed(&gateway, "idle", 1).await;
}

#[tokio::test]
async fn a_client_that_speaks_keeps_it_open() {
    one_side_speaks(true).await;
}

#[tokio::test]
async fn a_backend_that_speaks_keeps_it_open() {
    one_side_speaks(false).await;
}

#[tokio::test]
async fn a_maximum_duration_ends_it_with_a_close_however_busy_it_is() {
    let backend = Backend::start("one").await;
    let gateway = Gateway::start(&site("webSocket: {maxDuration: 1s}", &backend)).await;
    let since = Instant::now();
    let mut socket = open(&gateway).await;
    let code = loop {
        match socket.ended(WHILE / 3).await {
            Ok(code) => break code,
            // The Close may pass a message that is on its way.
            Err(_) => drop(socket.send("tick").await),
        }
        assert!(since.elapsed() < DEADLINE, "never closed");
    };
    assert_eq!(code, 1001);
    assert!(since.elapsed() >= Duration::from_millis(950), "closed after {:?}", since.elapsed());
    closed(&gateway, "duration", 1).await;
    backend_saw(&backend, &["close 1001"]).await;
}

#[tokio::test]
async fn a_backend_that_dies_ends_it_for_the_client() {
    let backend = Backend::start("one").await;
    let gateway = Gateway::to(&backend).await;
    for (count, command) in ["!drop", "!reset"].into_iter().enumerate() {
        let mut socket = open(&gateway).await;
        socket.send(command).await.unwrap();
        assert_eq!(socket.ended(DEADLINE).await.unwrap(), 1006, "{command}");
        // The end of the backend's stream is only half of the end until the client goes, too.
        drop(socket);
        closed(&gateway, "backend", u32::try_from(count + 1).unwrap()).await;
    }
}

#[tokio::test]
async fn a_client_that_dies_ends_it_for_the_backend() {
    let backend = Backend::start("one").await;
    let gateway = Gateway::to(&backend).await;
    let mut socket = open(&gateway).await;
    assert_eq!(socket.echo("hello").await.unwrap(), "hello");
    drop(socket);
    backend_saw(&backend, &["lost"]).await;
    closed(&gateway, "client", 1).await;
    gateway.wait_for_status("no WebSocket left", |status| status["backends"][0]["websockets"] == 0).await;
}
