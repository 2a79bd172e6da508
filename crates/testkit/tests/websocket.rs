//! The WebSocket side of backend and client, over TCP and TLS.

use penstock_testkit::client::send_tls;
use penstock_testkit::{Backend, Ca, Connection, DEADLINE, Request, TlsClient, WebSocket, until};

#[tokio::test]
async fn echoes_and_closes() {
    let backend = Backend::start("one").await;
    let mut socket = WebSocket::open(backend.addr(), "chat.example", "/ws").await.unwrap();
    assert_eq!(socket.response().header("x-backend"), Some("one"));
    assert_eq!(socket.echo("hello").await.unwrap(), "hello");
    assert_eq!(socket.echo(&"x".repeat(200_000)).await.unwrap().len(), 200_000);
    socket.close(4000, "bye").await.unwrap();
    until("the end", DEADLINE, || async { backend.websocket_ends() }, |ends| ends == &["close 4000"]).await;
    assert_eq!(backend.requests()[0].header("host"), Some("chat.example"));
}

#[tokio::test]
async fn takes_commands() {
    let backend = Backend::start("one").await;
    let request = Request::get("a", "/ws").behaviour("ws=name,ws=prefix").with("Sec-WebSocket-Protocol", "v2, v1");
    let connection = Connection::open(backend.addr()).await.unwrap();
    let mut socket = WebSocket::handshake(connection, &request).await.unwrap().opened().unwrap();
    assert_eq!(socket.response().header("sec-websocket-protocol"), Some("v2"));
    assert_eq!(socket.text().await.unwrap(), "one");
    assert_eq!(socket.echo("hi").await.unwrap(), "one: hi");
    socket.send("!ping").await.unwrap();
    assert!(socket.next().await.unwrap().is_ping());
    assert_eq!(socket.echo("!send 70000").await.unwrap().len(), 70_000);
    assert_eq!((backend.websockets(), backend.command_websockets("close 1001 later")), (1, 1));
    assert_eq!(socket.ended(DEADLINE).await.unwrap(), 1001);
    until("the end", DEADLINE, || async { backend.websocket_ends() }, |ends| ends == &["closed"]).await;
    assert_eq!(backend.websockets(), 0);
}

#[tokio::test]
async fn ends_without_a_close() {
    let backend = Backend::start("one").await;
    for command in ["!drop", "!reset"] {
        let mut socket = WebSocket::open(backend.addr(), "a", "/ws").await.unwrap();
        socket.send(command).await.unwrap();
        assert_eq!(socket.ended(DEADLINE).await.unwrap(), 1006, "{command}");
    }
    let socket = WebSocket::open(backend.addr(), "a", "/ws").await.unwrap();
    drop(socket);
    until("the ends", DEADLINE, || async { backend.websocket_ends() }, |ends| ends == &["lost", "lost", "lost"]).await;
}

#[tokio::test]
async fn shows_a_refusal_whole() {
    let backend = Backend::start("one").await;
    let request = Request::get("a", "/ws").behaviour("status=403,body=not%20you,header=X-Why:tests");
    let connection = Connection::open(backend.addr()).await.unwrap();
    let refusal = WebSocket::handshake(connection, &request).await.unwrap().refused().unwrap();
    assert_eq!((refusal.status, refusal.header("x-why"), refusal.text().as_str()), (403, Some("tests"), "not you"));
    assert_eq!(backend.websockets(), 0);
}

#[tokio::test]
async fn speaks_tls() {
    let ca = Ca::new("test ca");
    for identity in [ca.server(&["*.shop.example", "127.0.0.1"]), ca.server_rsa(&["*.shop.example"])] {
        let backend = Backend::start_tls("secret", &identity).await;
        let tls = TlsClient::new(&ca);
        let answer = send_tls(backend.addr(), &tls, &Request::get("a.shop.example:443", "/")).await.unwrap();
        assert_eq!(answer.json()["backend"], "secret");
        let mut socket =
            WebSocket::open_tls(backend.addr(), &TlsClient::tls12(&ca), "b.shop.example", "/").await.unwrap();
        assert_eq!(socket.echo("hello").await.unwrap(), "hello");
    }
}

#[tokio::test]
async fn refuses_what_it_should_not_believe() {
    let ca = Ca::new("test ca");
    let backend = Backend::start_tls("secret", &ca.server(&["shop.example"])).await;
    let expired = Backend::start_tls("old", &ca.expired(&["shop.example"])).await;
    let other = TlsClient::new(&Ca::new("another"));
    for (addr, tls, host) in [
        (backend.addr(), &TlsClient::new(&ca), "other.example"),
        (backend.addr(), &other, "shop.example"),
        (expired.addr(), &TlsClient::new(&ca), "shop.example"),
    ] {
        assert!(send_tls(addr, tls, &Request::get(host, "/")).await.is_err());
    }
}
