//! What the dashboard listens to: who gets it, when, and how it ends.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use penstock_runtime::{AdminServer, Overview, Readiness, Sources};
use penstock_testkit::client::{get, send};
use penstock_testkit::{Connection, DEADLINE, Request, eventually, until};
use prometheus::Registry;
use serde_json::{Value, json};

/// A server whose document is a number, and how often it was asked for one.
struct Site {
    server: AdminServer,
    number: Arc<AtomicU64>,
    asked: Arc<AtomicU64>,
    readiness: Readiness,
}

fn site() -> Site {
    let (number, asked) = (Arc::new(AtomicU64::new(1)), Arc::new(AtomicU64::new(0)));
    let (shown, counted) = (Arc::clone(&number), Arc::clone(&asked));
    let overview: Arc<Overview> = Arc::new(move || {
        counted.fetch_add(1, Ordering::Relaxed);
        let document = json!({"number": shown.load(Ordering::Relaxed)});
        Box::pin(async { document })
    });
    let readiness = Readiness::starting("the test");
    readiness.ready();
    let sources = Sources {
        registry: Registry::new(),
        readiness: readiness.clone(),
        status: Arc::new(|| json!({})),
        probe: Arc::new(|_| Box::pin(async { (http::StatusCode::OK, String::new()) })),
        request: Arc::new(|_| None),
        explain: Arc::new(|_| Ok(String::new())),
        diff: Arc::new(|_| Box::pin(async { Ok(String::new()) })),
        overview,
        collect: || {},
    };
    let server = AdminServer::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), sources).expect("a free port");
    Site { server, number, asked, readiness }
}

impl Site {
    /// Somebody who listens.
    async fn listen(&self) -> Connection {
        let mut client = Connection::open(self.server.local_addr()).await.expect("an event");
        client.send(&Request::get("admin", "/events")).await.expect("an event");
        let head = client.head("GET").await.expect("an event");
        assert_eq!((head.status, head.header("content-type")), (200, Some("text/event-stream")));
        client
    }
}

/// The id and the document of the next event.
async fn next(client: &mut Connection) -> (u64, Value) {
    let piece = client.piece().await.expect("an event").expect("an event");
    let text = String::from_utf8(piece).expect("an event");
    let (id, data) = text.trim_end().split_once('\n').expect("an id and data");
    let id = id.strip_prefix("id: ").expect("an id").parse().expect("a number");
    (id, serde_json::from_str(data.strip_prefix("data: ").expect("data")).expect("JSON"))
}

#[tokio::test]
async fn a_document_comes_at_once_and_again_when_it_is_another() {
    let site = site();
    let mut one = site.listen().await;
    let (first, document) = next(&mut one).await;
    assert_eq!(document, json!({"number": 1}));
    // Looked at again, and it is the same: nothing comes.
    let asked = || async { site.asked.load(Ordering::Relaxed) };
    until("another look", DEADLINE, asked, |asked| *asked >= 2).await;
    site.number.store(2, Ordering::Relaxed);
    let (second, document) = next(&mut one).await;
    assert_eq!(document, json!({"number": 2}));
    assert!(second >= first + 1000, "{first} and {second} are less than a second apart");
    // Who comes later gets what is there.
    assert_eq!(next(&mut site.listen().await).await.1, json!({"number": 2}));
}

#[tokio::test]
async fn nothing_is_made_for_nobody() {
    let site = site();
    assert_eq!(get(site.server.local_addr(), "admin", "/").await.unwrap().status, 200);
    let head = send(site.server.local_addr(), &Request::new("HEAD", "admin", "/events")).await.unwrap();
    assert_eq!((head.status, head.header("content-type")), (200, Some("text/event-stream")));
    assert_eq!(site.asked.load(Ordering::Relaxed), 0);
    drop(site.listen().await);
}

#[tokio::test]
async fn only_so_many_listen_and_the_next_has_the_place_of_one_who_left() {
    let site = site();
    let mut clients = Vec::new();
    for _ in 0..16 {
        let mut client = site.listen().await;
        next(&mut client).await;
        clients.push(client);
    }
    let refused = get(site.server.local_addr(), "admin", "/events").await.unwrap();
    assert_eq!(refused.status, 503);
    assert!(refused.text().contains("16 clients"), "{}", refused.text());
    // Everything else is answered meanwhile.
    assert_eq!(get(site.server.local_addr(), "admin", "/healthz").await.unwrap().status, 200);
    drop(clients.pop());
    eventually("a place", DEADLINE, || async {
        let mut client = Connection::open(site.server.local_addr()).await.ok()?;
        client.send(&Request::get("admin", "/events")).await.ok()?;
        (client.head("GET").await.ok()?.status == 200).then_some(())
    })
    .await;
}

#[tokio::test]
async fn the_drain_ends_them_and_nobody_holds_up_the_end() {
    let site = site();
    let (mut one, idle) = (site.listen().await, site.listen().await);
    next(&mut one).await;
    site.readiness.leaving();
    site.number.store(2, Ordering::Relaxed);
    assert_eq!(next(&mut one).await.1, json!({"number": 2}), "what still accepts can still be looked at");
    site.readiness.draining();
    assert_eq!(one.piece().await.unwrap().as_deref(), Some(&b"event: leaving\ndata: {}\n\n"[..]));
    assert_eq!(one.piece().await.unwrap(), None);
    let refused = get(site.server.local_addr(), "admin", "/events").await.unwrap();
    assert_eq!(refused.status, 503);
    let addr = site.server.local_addr();
    drop(site);
    assert!(Connection::open(addr).await.is_err(), "it has ended, with a client that read nothing");
    drop(idle);
}
