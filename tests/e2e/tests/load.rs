//! The load generator against a backend on this machine: it has to see what goes wrong, or the end-to-end tests prove nothing.

#![allow(clippy::unwrap_used, reason = "tests, and what they share")]

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use penstock_e2e::Backend;
use penstock_e2e::load::{Departures, Load, Plan};
use penstock_testkit::{DEADLINE, WebSocket, client, until};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

async fn backend(name: &str) -> (Arc<Backend>, SocketAddr, JoinHandle<std::io::Result<()>>) {
    let backend = Backend::new(name);
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let addr = listener.local_addr().unwrap();
    let serving = tokio::spawn(Arc::clone(&backend).serve(listener));
    (backend, addr, serving)
}

fn plan(addr: SocketAddr) -> Plan {
    let message_every = Duration::from_millis(20);
    Plan { addr, host: "load.example.com".to_owned(), requests_per_second: 200, websockets: 5, message_every }
}

#[tokio::test]
async fn a_quiet_run_is_clean() {
    let (_backend, addr, _serving) = backend("one").await;
    let load = Load::start(&plan(addr), &Departures::default()).await;
    let enough = |report: &penstock_e2e::load::Report| report.answered >= 120 && report.messages >= 50;
    until("some traffic", DEADLINE, || async { load.report() }, enough).await;
    let report = load.stop().await;
    report.assert_clean();
    assert_eq!((report.opened, report.closed_in_window), (5, 0), "{report}");
    // More than one connection each, since they are replaced.
    assert!(report.connections >= 8, "{report}");
}

#[tokio::test]
async fn a_backend_that_goes_away_is_seen() {
    let (_backend, addr, serving) = backend("one").await;
    // Connections end with the tasks of this runtime.
    let cut = Load::start(&Plan { requests_per_second: 50, ..plan(addr) }, &Departures::default()).await;
    serving.abort();
    let report = until("failing requests", DEADLINE, || async { cut.report() }, |report| report.errors > 0).await;
    assert!(report.failures[0].contains("request: "), "{report}");
}

#[tokio::test]
async fn only_an_orderly_close_in_the_window_is_accepted() {
    // Through a proxy of the test that closes each WebSocket with 1001 after its third message.
    let (_backend, addr, _serving) = backend("one").await;
    let closing = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let closing_addr = closing.local_addr().unwrap();
    tokio::spawn(close_after_some_bytes(closing, addr));
    let plan = Plan { requests_per_second: 25, ..plan(closing_addr) };

    let nobody = Load::start(&plan, &Departures::default()).await;
    let report = until("cuts", DEADLINE, || async { nobody.report() }, |report| report.cut >= 5).await;
    assert_eq!(report.closed_in_window, 0, "{report}");
    assert!(report.failures.iter().any(|f| f.contains("closed with 1001, but none of them is leaving")), "{report}");
    drop(nobody);

    let departures = Departures::default();
    departures.leaving("one", Duration::from_secs(3600));
    let early = Load::start(&plan, &departures).await;
    let report = until("cuts", DEADLINE, || async { early.report() }, |report| report.cut >= 5).await;
    assert!(report.failures.iter().any(|f| f.contains("its window opens in")), "{report}");
    drop(early);

    let departures = Departures::default();
    departures.leaving("one", Duration::ZERO);
    let due = Load::start(&plan, &departures).await;
    until("ends in the window", DEADLINE, || async { due.report() }, |report| report.closed_in_window >= 5).await;
    due.stop().await.assert_clean();
}

#[tokio::test]
async fn a_draining_backend_waits_for_its_websockets() {
    let (backend, addr, _serving) = backend("one").await;
    let mut socket = WebSocket::open(addr, "h", "/").await.unwrap();
    assert_eq!(socket.text().await.unwrap(), "hello one 127.0.0.1");
    assert_eq!(client::get(addr, "h", "/healthz").await.unwrap().status, 200);
    let draining = tokio::spawn({
        let backend = Arc::clone(&backend);
        async move { backend.drain(Duration::ZERO, Duration::from_secs(60)).await }
    });
    let health = || async { client::get(addr, "h", "/healthz").await.map(|answer| answer.status).ok() };
    until("an unready backend", DEADLINE, health, |status| *status == Some(503)).await;
    assert_eq!(socket.echo("still").await.unwrap(), "one still");
    let answer = client::get(addr, "h", "/a?b").await.unwrap();
    assert_eq!((answer.status, answer.header("x-pod"), answer.header("x-path")), (200, Some("one"), Some("/a?b")));
    assert!(!draining.is_finished());
    socket.close(1000, "bye").await.unwrap();
    tokio::time::timeout(DEADLINE, draining).await.expect("the drain ends with the last WebSocket").unwrap();
}

/// Relays, and after 40 bytes from a backend's WebSocket puts a Close with 1001 in their place.
async fn close_after_some_bytes(listener: TcpListener, backend: SocketAddr) {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    while let Ok((mut client, _)) = listener.accept().await {
        tokio::spawn(async move {
            let mut backend = tokio::net::TcpStream::connect(backend).await?;
            let (mut from_client, mut from_backend) = ([0; 4096], [0; 4096]);
            let (mut websocket, mut relayed) = (false, 0);
            loop {
                tokio::select! {
                    read = client.read(&mut from_client) => match read? {
                        0 => break,
                        read => {
                            backend.write_all(&from_client[..read]).await?;
                            if websocket && from_client[0] == 0x88 { break; }
                        }
                    },
                    read = backend.read(&mut from_backend) => {
                        let read = read?;
                        if read == 0 { break; }
                        websocket |= from_backend[..read].starts_with(b"HTTP/1.1 101");
                        relayed += read;
                        if websocket && relayed > 350 {
                            client.write_all(&[0x88, 2, 0x03, 0xe9]).await?;
                            // A message may come before the client's Close (0x88).
                            while client.read(&mut from_client).await? > 0 && from_client[0] != 0x88 {}
                            break;
                        }
                        client.write_all(&from_backend[..read]).await?;
                    }
                }
            }
            std::io::Result::Ok(())
        });
    }
}
