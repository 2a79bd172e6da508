//! More connections than the process may have open files.

use penstock_e2e::load::Departures;
use penstock_testkit::{Connection, DEADLINE, Http2, Metrics, Request, client, until};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::backend::{addresses, release, three};
use crate::site::{HOST, Site, goes_well, more};

const FILES: usize = 512;
/// For clients: half of 90 % of them, as ARCHITECTURE.md says. The others are for backends, and for the process itself.
const CLIENTS: usize = FILES / 10 * 9 / 2;
/// Connections that nothing is sent on.
const IDLE: usize = 600;
/// Connections that were there before.
const OPEN: usize = 20;
/// Clients of HTTP/2, each with so many requests: more than there are descriptors for connections to backends.
const HTTP2: usize = 5;
const STREAMS: usize = 100;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_connections_costs_those_that_are_new_time() {
    let backends = three().await;
    let site = Site::under(&["prlimit", &format!("--nofile={FILES}")], &addresses(&backends), &[]).await;
    let before = site.warm().await;
    let load = site.load(&Departures::default()).await;
    let mut open = Vec::new();
    for _ in 0..OPEN {
        let mut connection = Connection::open(site.addr).await.unwrap();
        assert_eq!(connection.exchange(&Request::get(HOST, "/")).await.unwrap().status, 200);
        open.push(connection);
    }
    // The kernel takes them all; the gateway as many as it has room for.
    let mut idle = Vec::new();
    for _ in 0..IDLE {
        idle.push(TcpStream::connect(site.addr).await.unwrap());
    }
    site.metric("penstock_connections_open", &[], CLIENTS as f64).await;
    let late = tokio::spawn(client::get(site.addr, HOST, "/late"));
    // Whoever is in goes on: a request on each at once, so each on a connection of its own to a backend.
    let mut held = JoinSet::new();
    for mut connection in open {
        held.spawn(async move {
            let answer = connection.exchange(&Request::get(HOST, "/held")).await.unwrap();
            (answer.status, connection)
        });
    }
    let active = || async { site.backends().await.iter().filter_map(|b| b["active"].as_u64()).sum::<u64>() };
    until("requests at the backends", DEADLINE, active, |active| *active >= OPEN as u64).await;
    while !held.is_empty() {
        release(&backends).await;
        while let Some(answer) = held.try_join_next() {
            assert_eq!(answer.unwrap().0, 200);
        }
    }
    let messages = load.report().messages;
    until("messages", DEADLINE, || async { load.report() }, |report| report.messages >= messages + 210).await;
    assert!(!late.is_finished(), "there is no room for it");
    assert_eq!(load.report().cut, 0, "{}", load.report());
    let most = site.usage().files;
    // The end of the flood.
    drop(idle);
    assert_eq!(late.await.unwrap().unwrap().status, 200);
    more(&load, 200).await;
    let report = load.stop().await;
    // Its requests go to new connections now and then, so they waited, too.
    report.assert_clean();
    let fault = format!("{IDLE} idle connections where {FILES} files may be open ({most} were)");
    site.finish(&fault, &report, before).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_requests_than_descriptors_cost_what_is_beyond() {
    let backends = three().await;
    let site = Site::under(&["prlimit", &format!("--nofile={FILES}")], &addresses(&backends), &[]).await;
    let before = site.warm().await;
    let load = site.load(&Departures::default()).await;
    let (mut clients, mut sent) = (Vec::new(), JoinSet::new());
    for _ in 0..HTTP2 {
        let client = Http2::open(site.addr).await.unwrap();
        for _ in 0..STREAMS {
            let stream = client.send(&Request::get(HOST, "/held")).await.unwrap();
            sent.spawn(async move { stream.response().await.unwrap().status });
        }
        clients.push(client);
    }
    let refused = || async { Some(Metrics::fetch(site.admin).await.ok()?.sum("penstock_backend_errors_total", &[])) };
    until("refusals", DEADLINE, refused, |refused| refused.is_some_and(|refused| refused > 0.0)).await;
    // Three probes long: neither they nor requests hold it against backends, and the kubelet has its answers.
    let messages = load.report().messages;
    until("messages", DEADLINE, || async { load.report() }, |report| report.messages >= messages + 315).await;
    let health: Vec<_> = site.backends().await.iter().map(|backend| backend["health"].clone()).collect();
    assert_eq!(health, ["Up", "Up", "Up"]);
    let ready = client::get(site.admin, "admin", "/readyz").await.unwrap();
    assert_eq!((ready.status, load.report().cut), (200, 0), "{}", load.report());
    let (mut answered, mut refused, most) = (0, 0, site.usage().files);
    while !sent.is_empty() {
        release(&backends).await;
        while let Some(status) = sent.try_join_next() {
            match status.unwrap() {
                200 => answered += 1,
                503 => refused += 1,
                other => panic!("answered with {other}"),
            }
        }
    }
    drop(clients);
    goes_well(&load).await;
    let mut report = load.stop().await;
    // Its own requests compete for the same descriptors.
    let of_load = report.kinds.get("503").copied().unwrap_or(0);
    assert_eq!((report.errors, report.cut), (of_load, 0), "{report}");
    // As many as there are files for, but for the WebSockets, and what else is open.
    assert!(answered >= CLIENTS as u64 - 21 - 20, "{answered} answered, {refused} refused");
    report.answered += answered;
    report.kinds.insert("503".to_owned(), of_load + refused);
    let fault = format!("{} requests at once where {FILES} files may be open ({most} were)", HTTP2 * STREAMS);
    site.finish(&fault, &report, before).await;
}
