//! Connections as the kernel sees them: dead peers are found out on both sides, and descriptors never run out.

mod support;

use std::net::SocketAddr;

use penstock_testkit::{Backend, DEADLINE, Request, until};
use support::{Gateway, WHILE, http_gateway, rule, rule_to, service};

const HOST: &str = "a.example";

/// What the kernel's timers of established connections wait for, and for how many seconds more: those with this end on the
/// side of the gateway (`local`) or on the other one.
fn timers(local: Option<SocketAddr>, remote: Option<SocketAddr>) -> Vec<(u64, u64)> {
    let is = |field: &str, wanted: Option<SocketAddr>| {
        let Some(SocketAddr::V4(v4)) = wanted else { return true };
        field == format!("{:08X}:{:04X}", u32::from_ne_bytes(v4.ip().octets()), v4.port())
    };
    let table = std::fs::read_to_string("/proc/net/tcp").expect("a table of connections");
    let mut timers = Vec::new();
    for line in table.lines().skip(1) {
        let fields: Vec<_> = line.split_whitespace().collect();
        if is(fields[1], local) && is(fields[2], remote) && fields[3] == ESTABLISHED {
            let (kind, due) = fields[5].split_once(':').expect("a timer");
            // In hundredths of a second, whatever the clock of this kernel.
            let hex = |digits| u64::from_str_radix(digits, 16).expect("a number");
            timers.push((hex(kind), hex(due) / 100));
        }
    }
    timers
}

const ESTABLISHED: &str = "01";
/// The timer of keep-alive, and no other.
const KEEP_ALIVE: u64 = 2;

#[tokio::test]
async fn the_kernel_looks_for_dead_peers_on_both_sides() {
    let backend = Backend::start("one").await;
    let gateway = Gateway::to(&backend).await;
    let mut client = gateway.connect().await;
    let answer = client.exchange(&Request::get(HOST, "/x")).await.unwrap();
    assert_eq!(answer.status, 200);
    let sides = [("client", Some(gateway.addr()), Some(client.local_addr())), ("backend", None, Some(backend.addr()))];
    for (side, local, remote) in sides {
        // Until the last bytes are acknowledged, another timer may run.
        let all = |seen: &Vec<(u64, u64)>| !seen.is_empty() && seen.iter().all(|(kind, _)| *kind == KEEP_ALIVE);
        let seen = until(side, DEADLINE, || async { timers(local, remote) }, all).await;
        assert!(seen.iter().all(|(_, seconds)| (30..=60).contains(seconds)), "{side}: {seen:?}");
    }
}

/// 90 % of them, half for clients and half for backends.
const OPEN_FILES: usize = 200;
const CONNECTIONS: usize = 90;

#[tokio::test]
async fn accepting_pauses_near_the_limit_of_open_files() {
    let backend = Backend::start("one").await;
    let objects = [http_gateway(""), rule_to("all", "app"), service("app", &[&backend])];
    let gateway = Gateway::start_under(&["prlimit", &format!("--nofile={OPEN_FILES}")], &objects).await;
    let mut held = Vec::new();
    for _ in 0..CONNECTIONS {
        let mut connection = gateway.connect().await;
        assert_eq!(connection.exchange(&Request::get(HOST, "/x")).await.unwrap().status, 200);
        held.push(connection);
    }
    gateway.wait_metric("penstock_connections_open", &[], CONNECTIONS as f64).await;
    // The kernel takes one more, which waits; those that are there go on.
    let mut waiting = gateway.connect().await;
    gateway.wait_metric("penstock_refused_total", &[("reason", "limit")], 1.0).await;
    waiting.send(&Request::get(HOST, "/late")).await.unwrap();
    tokio::time::sleep(WHILE).await;
    assert_eq!(backend.count("/late"), 0, "not before there is room");
    for connection in &mut held {
        assert_eq!(connection.exchange(&Request::get(HOST, "/x")).await.unwrap().status, 200);
    }
    drop(held.pop());
    assert_eq!(waiting.response("GET").await.unwrap().status, 200);
    assert_eq!(backend.count("/late"), 1);
}

/// So many that the tenth is enough for the process itself.
const MORE_FILES: usize = 400;
const HALF: usize = MORE_FILES / 10 * 9 / 2;

#[tokio::test]
async fn idle_connections_make_room_for_those_to_other_backends() {
    let (one, two) = (Backend::start("one").await, Backend::start("two").await);
    let objects = [
        http_gateway(""),
        rule_to("all", "app"),
        service("app", &[&one]),
        rule("other", "hostNames: [b.example]\nbackend: {services: [{name: other, port: 80}]}"),
        service("other", &[&two]),
    ];
    let gateway = Gateway::start_under(&["prlimit", &format!("--nofile={MORE_FILES}")], &objects).await;
    let mut clients = Vec::new();
    for _ in 0..HALF {
        clients.push(gateway.connect().await);
    }
    for (host, backend) in [(HOST, &one), ("b.example", &two)] {
        // All at once, so that each has a connection of its own: as many as there may be.
        for client in &mut clients {
            client.send(&Request::get(host, "/held").behaviour("sse")).await.unwrap();
        }
        until("all requests", DEADLINE, || async { backend.event_streams() }, |open| *open == HALF).await;
        backend.end_events();
        for client in &mut clients {
            assert_eq!(client.response("GET").await.unwrap().status, 200);
        }
    }
    let open = gateway.metrics().await.sum("penstock_backend_connections", &[]);
    assert!(open <= HALF as f64, "{open}");
}
