//! Backends that have as many requests as their settings allow.

use penstock_e2e::load::Departures;
use penstock_testkit::{Connection, DEADLINE, Request, Response, WebSocket};
use tokio::task::JoinSet;

use crate::backend::{addresses, release, three};
use crate::objects::rule_by;
use crate::site::{Site, goes_well};

const FULL: &str = "full.example.com";
/// What it has, of which these are WebSockets, and what may wait.
const CONNECTIONS: usize = 30;
const WEBSOCKETS: usize = 5;
const PENDING: usize = 10;
/// In each round so many are sent at once. What is not taken is refused.
const SENT: usize = 100;
const TAKEN: usize = CONNECTIONS - WEBSOCKETS + PENDING;
const ROUNDS: usize = 5;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_pool_costs_what_is_beyond_it() {
    let backends = three().await;
    let site = Site::before(&addresses(&backends), &[]).await;
    let limits = format!("{{maxConnections: {CONNECTIONS}, maxPendingRequests: {PENDING}}}");
    // Who waits, waits as long as connecting may take.
    let settings = format!("inlineSettings: {{connectTimeout: 20s, webSocket: {{idleTimeout: 1m}}, limits: {limits}}}");
    site.objects.write("full.yaml", &rule_by("full", FULL, &settings));
    site.answers(FULL, 200).await;
    let before = site.warm().await;
    // Another rule, with settings of its own, to the same backends.
    let load = site.load(&Departures::default()).await;
    let mut sockets = Vec::new();
    for _ in 0..WEBSOCKETS {
        let mut socket = WebSocket::open(site.addr, FULL, "/").await.unwrap();
        assert!(socket.text().await.unwrap().starts_with("hello "));
        sockets.push(socket);
    }
    for round in 1..=ROUNDS {
        let mut sent = JoinSet::new();
        for _ in 0..SENT {
            sent.spawn(held(site.addr));
        }
        // The backends answer nothing before this, so each answer is the gateway's.
        for _ in TAKEN..SENT {
            let answer = sent.join_next().await.unwrap().unwrap();
            assert_eq!((answer.status, answer.header("retry-after")), (503, Some("1")), "{}", answer.text());
            assert_eq!(answer.header("x-pod"), None, "no backend was asked");
        }
        site.metric("penstock_backend_pending", &[], PENDING as f64).await;
        let refused = WebSocket::open(site.addr, FULL, "/").await.unwrap_err().to_string();
        assert!(refused.contains("503"), "{refused}");
        goes_well(&load).await;
        for socket in &mut sockets {
            assert!(socket.echo("still").await.unwrap().ends_with(" still"));
        }
        // Those that waited are held, too: they come to a backend when there is room.
        while !sent.is_empty() {
            release(&backends).await;
            while let Some(answer) = sent.try_join_next() {
                assert_eq!(answer.unwrap().status, 200);
            }
        }
        let beyond = round * (SENT - TAKEN + 1);
        site.metric("penstock_backend_errors_total", &[("reason", "overflow")], beyond as f64).await;
    }
    // All is back: a place for each that was taken.
    site.metric("penstock_backend_pending", &[], 0.0).await;
    site.answers(FULL, 200).await;
    for mut socket in sockets {
        assert!(socket.echo("to the end").await.unwrap().ends_with(" to the end"));
        socket.close(1000, "done").await.unwrap();
    }
    let mut report = load.stop().await;
    report.assert_clean();
    // The row has both rules.
    report.answered += (ROUNDS * TAKEN) as u64;
    report.opened += WEBSOCKETS as u64;
    report.kinds.insert("503".to_owned(), (ROUNDS * (SENT - TAKEN + 1)) as u64);
    let fault =
        format!("{SENT} requests at once where {CONNECTIONS} may be under way and {PENDING} wait, {ROUNDS} times");
    site.finish(&fault, &report, before).await;
}

async fn held(gateway: std::net::SocketAddr) -> Response {
    let mut connection = Connection::open(gateway).await.unwrap().patience(DEADLINE);
    connection.exchange(&Request::get(FULL, "/held")).await.unwrap()
}
