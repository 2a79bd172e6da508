//! `examples/azure-websocket`, as its readers run it: WebSockets on both listeners, and what the timeout does to one that
//! pings every 20 seconds.

mod support;
#[path = "support/ws.rs"]
mod ws;

use std::path::Path;
use std::time::{Duration, Instant};

use penstock_testkit::{Backend, Ca, DEADLINE, TlsClient, WebSocket};
use support::Gateway;
use tokio_tungstenite::tungstenite::Message;
use ws::{closed, none_closed, stays_open};

/// What the example is for: a client that pings this often.
const PING: Duration = Duration::from_secs(20);

/// The example's objects with this `requestTimeout`, its certificate, and the backend's port in the place of 9001.
async fn start(ca: &Ca, backend: &Backend, timeout: &str) -> Gateway {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/azure-websocket");
    let read = |file| std::fs::read_to_string(folder.join(file)).expect("a file of the example");
    let gateway = read("gateway.yaml");
    for line in ["requestTimeout: 40s", "port: 9001"] {
        assert_eq!(gateway.matches(line).count(), 1, "{line} in the example");
    }
    let gateway = gateway
        .replace("requestTimeout: 40s", &format!("requestTimeout: {timeout}"))
        .replace("port: 9001", &format!("port: {}", backend.addr().port()));
    let secret = ca.server(&["localhost"]).secret_yaml("default", "appgateway-cert");
    Gateway::start_with(&["--map-port", "80=$http,443=$https"], &[gateway, read("rules.yaml"), secret]).await
}

#[tokio::test]
async fn both_listeners_take_websockets() {
    let (ca, backend) = (Ca::new("test"), Backend::start("sockets").await);
    let gateway = start(&ca, &backend, "40s").await;
    let mut plain = WebSocket::open(gateway.addr(), "localhost", "/").await.expect("on the HTTP listener");
    assert_eq!(plain.echo("hello").await.unwrap(), "hello");
    let tls = TlsClient::new(&ca);
    let mut secure =
        WebSocket::open_tls(gateway.addr_of("https"), &tls, "localhost", "/").await.expect("on the HTTPS listener");
    assert_eq!(secure.echo("hello").await.unwrap(), "hello");
}

#[tokio::test]
async fn a_timeout_longer_than_the_ping_interval_keeps_it() {
    let (ca, backend) = (Ca::new("test"), Backend::start("sockets").await);
    let gateway = start(&ca, &backend, "40s").await;
    let mut socket = WebSocket::open(gateway.addr(), "localhost", "/").await.expect("an open WebSocket");
    stays_open(&mut socket, PING).await;
    socket.send_message(Message::Ping("still there?".into())).await.expect("it is open");
    assert_eq!(socket.next().await.expect("the backend's Pong"), Message::Pong("still there?".into()));
    none_closed(&gateway, 1).await;
}

#[tokio::test]
async fn a_shorter_one_loses_it_before_the_first_ping() {
    let (ca, backend) = (Ca::new("test"), Backend::start("sockets").await);
    let gateway = start(&ca, &backend, "10s").await;
    let mut socket = WebSocket::open(gateway.addr(), "localhost", "/").await.expect("an open WebSocket");
    let since = Instant::now();
    assert_eq!(socket.ended(PING + DEADLINE).await.expect("an end"), 1006);
    assert!((Duration::from_secs(9)..PING).contains(&since.elapsed()), "closed after {:?}", since.elapsed());
    closed(&gateway, "idle", 1).await;
}
