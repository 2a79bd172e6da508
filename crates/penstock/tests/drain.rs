//! Departures: of an endpoint, and of the process. What runs is let go gently, and in its time.

mod support;
#[path = "support/ws.rs"]
mod ws;

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use penstock_testkit::{Backend, Connection, DEADLINE, Request, Signal, WebSocket, client, eventually, until};
use support::{Gateway, WHILE, http_gateway, rule, service};
use ws::{backend_saw, closed, gateway_with, none_closed, open, open_many, rule_under_settings, stays_open};

const SECOND: Duration = Duration::from_secs(1);

/// A gateway whose Service `app`, in a file of its own, has these backends.
async fn site(settings: &str, backends: &[&Backend]) -> Gateway {
    let gateway = Gateway::start(&[gateway_with(settings), rule_under_settings()]).await;
    gateway.write("app.yaml", &service("app", backends));
    gateway.wait_status("a.example", "/", 200).await;
    gateway
}

/// Waits until new requests go to this backend (or are answered with this status) and nowhere else.
async fn only(gateway: &Gateway, who: &str) {
    let look = || async { [gateway.who("a.example", "/").await, gateway.who("a.example", "/").await] };
    until(&format!("only {who}"), DEADLINE, look, |seen| seen.iter().all(|name| name == who)).await;
}

/// The instants, counted from `since`, at which WebSockets are closed, in their order; each with 1001.
async fn closed_at(sockets: &mut [WebSocket], since: Instant) -> Vec<Duration> {
    let one = async |socket: &mut WebSocket| {
        assert_eq!(socket.ended(DEADLINE).await.expect("an end"), 1001);
        since.elapsed()
    };
    let mut times = join_all(sockets.iter_mut().map(one)).await;
    times.sort();
    times
}

#[tokio::test]
async fn a_departing_endpoint_keeps_its_websockets_until_the_last_part_of_its_drain() {
    let (one, two) = (Backend::start("one").await, Backend::start("two").await);
    let gateway = site("connectionDraining: {timeout: 2500ms, spread: 1500ms}", &[&one]).await;
    let mut sockets = open_many(&gateway, 4).await;
    let since = Instant::now();
    gateway.write("app.yaml", &service("app", &[&two]));
    only(&gateway, "two").await;
    let gone = since.elapsed();
    assert!(gone < SECOND, "new requests took {gone:?} to follow");
    none_closed(&gateway, 4).await;
    let times = closed_at(&mut sockets, since).await;
    assert!(times[0] >= SECOND, "before the spread: {times:?}");
    assert!(times[3] < Duration::from_millis(2500) + SECOND, "after the drain: {times:?}");
    assert!(times[3] - times[0] > Duration::from_millis(700), "in one instant: {times:?}");
    closed(&gateway, "drain", 4).await;
    backend_saw(&one, &["close 1001"; 4]).await;
}

#[tokio::test]
async fn an_endpoint_that_is_back_in_time_loses_nothing() {
    let (one, two) = (Backend::start("one").await, Backend::start("two").await);
    let gateway = site("connectionDraining: {timeout: 1500ms, spread: 300ms}", &[&one]).await;
    let mut sockets = open_many(&gateway, 2).await;
    gateway.write("app.yaml", &service("app", &[&two]));
    only(&gateway, "two").await;
    gateway.write("app.yaml", &service("app", &[&one]));
    only(&gateway, "one").await;
    stays_open(&mut sockets[0], 2 * SECOND).await;
    assert_eq!(sockets[1].echo("!name").await.unwrap(), "one");
    none_closed(&gateway, 2).await;
}

#[tokio::test]
async fn an_endpoint_that_is_back_while_websockets_are_being_closed_keeps_the_rest() {
    let (one, two) = (Backend::start("one").await, Backend::start("two").await);
    let gateway = site("connectionDraining: {timeout: 3s, spread: 3s}", &[&one]).await;
    let mut sockets = open_many(&gateway, 2).await;
    gateway.write("app.yaml", &service("app", &[&two]));
    // The first goes in the first half, the other in the second.
    assert_eq!(sockets[0].ended(DEADLINE).await.unwrap(), 1001);
    gateway.write("app.yaml", &service("app", &[&one]));
    only(&gateway, "one").await;
    stays_open(&mut sockets[1], 3 * SECOND).await;
    assert_eq!(sockets[1].echo("!name").await.unwrap(), "one");
    closed(&gateway, "drain", 1).await;
}

#[tokio::test]
async fn every_way_to_depart_is_one() {
    let one = Backend::start("one").await;
    let slice = |conditions: &str| {
        service("app", &[&one]).replace("[127.0.0.1]}", &format!("[127.0.0.1], conditions: {{{conditions}}}}}"))
    };
    let no_service = service("other", &[&one]);
    for (how, departed) in [
        ("not ready", slice("ready: false")),
        ("terminating", slice("ready: false, serving: true, terminating: true")),
        ("no slice", service("app", &[])),
        ("no Service", no_service),
    ] {
        assert!(!departed.contains("[127.0.0.1]}") || how == "no Service", "{how} is what it says");
        let gateway = site("connectionDraining: {timeout: 600ms}", &[&one]).await;
        let mut socket = open(&gateway).await;
        gateway.write("app.yaml", &departed);
        only(&gateway, "502").await;
        assert_eq!(socket.ended(DEADLINE).await.unwrap(), 1001, "{how}");
        closed(&gateway, "drain", 1).await;
    }
}

#[tokio::test]
async fn an_address_that_is_taken_out_of_its_pool_departs() {
    let (one, two) = (Backend::start("one").await, Backend::start("two").await);
    let pool = |backends: &[&Backend]| {
        let address = |backend: &&Backend| format!("{{host: 127.0.0.1, port: {}}}", backend.port());
        let addresses: Vec<String> = backends.iter().map(address).collect();
        http_gateway(&format!(
            "backendSettings: [{{name: sockets, connectionDraining: {{timeout: 600ms}}}}]\n\
             backendPools: [{{name: old, addresses: [{}]}}]",
            addresses.join(", ")
        ))
    };
    let all = rule("all", "backend: {pool: old, settings: sockets}");
    let gateway = Gateway::start(&[pool(&[&one]), all.clone()]).await;
    let mut socket = open(&gateway).await;
    gateway.replace(&[pool(&[&two]), all]);
    only(&gateway, "two").await;
    assert_eq!(socket.ended(DEADLINE).await.unwrap(), 1001);
    closed(&gateway, "drain", 1).await;
}

#[tokio::test]
async fn a_request_to_a_departing_endpoint_ends_in_its_own_time() {
    let (one, two) = (Backend::start("one").await, Backend::start("two").await);
    let gateway = site("connectionDraining: {timeout: 10s, spread: 0s}", &[&one]).await;
    let mut late = gateway.connect().await;
    late.send(&Request::get("a.example", "/late").behaviour("delay=1200,body=late")).await.unwrap();
    let mut slow = gateway.connect().await;
    slow.send(&Request::get("a.example", "/slow").behaviour("size=12,piece=1,drip=100")).await.unwrap();
    until("both at the backend", DEADLINE, || async { one.count("/late") + one.count("/slow") }, |n| *n == 2).await;
    gateway.write("app.yaml", &service("app", &[&two]));
    only(&gateway, "two").await;
    assert_eq!(late.response("GET").await.unwrap().text(), "late");
    assert_eq!(slow.response("GET").await.unwrap().text(), "abcdefghijkl");
}

#[tokio::test]
async fn at_the_end_of_the_drain_requests_are_cut() {
    let (one, two) = (Backend::start("one").await, Backend::start("two").await);
    let gateway = site("connectionDraining: {timeout: 1s, spread: 0s}", &[&one]).await;
    let mut waiting = gateway.connect().await;
    waiting.send(&Request::get("a.example", "/waiting").behaviour("never")).await.unwrap();
    let mut stream = gateway.connect().await;
    stream.send(&Request::get("a.example", "/stream").behaviour("sse")).await.unwrap();
    assert_eq!(stream.head("GET").await.unwrap().status, 200);
    until("both at the backend", DEADLINE, || async { one.count("/waiting") + one.event_streams() }, |n| *n == 2).await;
    let since = Instant::now();
    gateway.write("app.yaml", &service("app", &[&two]));
    only(&gateway, "two").await;
    assert_eq!(waiting.response("GET").await.unwrap().status, 502);
    stream.piece().await.expect_err("the stream is cut, not ended in order");
    assert!(since.elapsed() >= SECOND, "cut after {:?}", since.elapsed());
}

/// A process to be stopped, with a drain as these flags say.
async fn process(flags: &[&str], backend: &Backend) -> Gateway {
    let objects = [gateway_with("requestTimeout: 20s"), rule_under_settings(), service("app", &[backend])];
    Gateway::start_with(flags, &objects).await
}

async fn readyz(gateway: &Gateway) -> u16 {
    client::get(gateway.admin(), "admin", "/readyz").await.map_or(0, |answer| answer.status)
}

/// Waits until new connections are refused.
async fn refuses_connections(gateway: &Gateway) {
    let connect = || async { Connection::open(gateway.addr()).await.map(drop) };
    until("the listener to close", DEADLINE, connect, Result::is_err).await.expect_err("just seen");
}

#[tokio::test]
async fn a_process_that_is_told_to_stop_drains() {
    let backend = Backend::start("one").await;
    let flags = ["--drain-delay", "1s", "--drain-timeout", "3s", "--drain-spread", "2s"];
    let mut gateway = process(&flags, &backend).await;
    let mut sockets = open_many(&gateway, 4).await;
    let since = Instant::now();
    gateway.process.signal(Signal::Term);
    until("503 of /readyz", DEADLINE, || readyz(&gateway), |status| *status == 503).await;
    // The delay: everything goes on, new connections too.
    assert_eq!(gateway.get("a.example", "/during-the-delay").await.status, 200);
    let mut slow = gateway.connect().await;
    slow.send(&Request::get("a.example", "/slow").behaviour("delay=1500,body=slow")).await.unwrap();
    let mut idle = gateway.connect().await;
    assert_eq!(idle.exchange(&Request::get("a.example", "/")).await.unwrap().header("connection"), None);
    assert!(since.elapsed() < SECOND, "too slow a machine for this test: {:?}", since.elapsed());
    refuses_connections(&gateway).await;
    assert!(since.elapsed() >= Duration::from_millis(900), "closed after {:?}", since.elapsed());
    assert_eq!(sockets[0].echo("still here").await.unwrap(), "still here");
    // What is under way is answered, and what was about to be sent, and the answer says that it is the last one.
    let answer = idle.exchange(&Request::get("a.example", "/last")).await.unwrap();
    assert_eq!((answer.status, answer.header("connection")), (200, Some("close")));
    assert_eq!(idle.closed(DEADLINE).await.unwrap(), b"");
    let answer = slow.response("GET").await.unwrap();
    assert_eq!((answer.text().as_str(), answer.header("connection")), ("slow", Some("close")));
    assert_eq!(slow.closed(DEADLINE).await.unwrap(), b"");
    assert!(since.elapsed() < Duration::from_millis(1900), "too slow a machine: {:?}", since.elapsed());
    let times = closed_at(&mut sockets, since).await;
    assert!(times[0] >= Duration::from_millis(1900), "before the spread: {times:?}");
    assert!(times[3] - times[0] > SECOND, "in one instant: {times:?}");
    assert_eq!(gateway.process.wait_exit(DEADLINE).await.code(), Some(0));
    assert!(since.elapsed() < Duration::from_secs(6), "drained after {:?}", since.elapsed());
    backend_saw(&backend, &["close 1001"; 4]).await;
}

#[tokio::test]
async fn a_client_that_does_not_answer_a_close_holds_nothing_up() {
    let backend = Backend::start("one").await;
    let flags = ["--drain-timeout", "1s", "--drain-spread", "500ms", "--access-log", "json"];
    let mut gateway = process(&flags, &backend).await;
    let mut client = gateway.connect().await;
    client.send_raw(ws::HANDSHAKE.as_bytes()).await.unwrap();
    assert_eq!(client.head("GET").await.unwrap().status, 101);
    let since = Instant::now();
    assert_eq!(gateway.process.stop(DEADLINE).await.code(), Some(0));
    assert!(since.elapsed() < Duration::from_secs(5), "ended after {:?}", since.elapsed());
    // Close 1001, once, and the end.
    assert_eq!(client.closed(DEADLINE).await.unwrap(), [0x88, 2, 3, 0xe9]);
    let line = gateway.process.wait_for_stdout("\"upgrade\":\"websocket\"", SECOND).await;
    assert!(line.contains("\"close_reason\":\"drain\""), "{line}");
}

#[tokio::test]
async fn a_listener_that_is_removed_keeps_its_websockets_for_the_drain_timeout() {
    let backend = Backend::start("one").await;
    let rest = [rule_under_settings(), service("app", &[&backend])];
    let with = |gateway: String| [[gateway].as_slice(), &rest].concat();
    let listeners = |names: &[&str]| {
        let one = |name: &&str| format!("{{name: {name}, port: ${name}, protocol: HTTP}}");
        let all: Vec<String> = names.iter().map(one).collect();
        support::gateway(&format!("listeners: [{}]\nbackendSettings: [{{name: sockets}}]", all.join(", ")))
    };
    let flags = ["--drain-timeout", "2s", "--drain-spread", "1s"];
    let gateway = Gateway::start_with(&flags, &with(listeners(&["http", "other"]))).await;
    let mut staying = WebSocket::open(gateway.addr_of("other"), "a.example", "/ws").await.unwrap();
    let mut sockets = open_many(&gateway, 2).await;
    let since = Instant::now();
    gateway.replace(&with(listeners(&["other"])));
    refuses_connections(&gateway).await;
    assert!(since.elapsed() < SECOND, "new connections were taken for {:?}", since.elapsed());
    let times = closed_at(&mut sockets, since).await;
    assert!(times[0] >= SECOND && times[1] < 4 * SECOND, "not in the last part: {times:?}");
    stays_open(&mut staying, WHILE).await;
    closed(&gateway, "drain", 2).await;
}

#[tokio::test]
async fn a_process_without_connections_ends_at_once() {
    let backend = Backend::start("one").await;
    let mut gateway = process(&["--drain-timeout", "60s"], &backend).await;
    // An idle connection is nothing to wait for.
    let mut idle = gateway.connect().await;
    assert_eq!(idle.exchange(&Request::get("a.example", "/")).await.unwrap().status, 200);
    gateway.process.signal(Signal::Int);
    assert_eq!(gateway.process.wait_exit(Duration::from_secs(10)).await.code(), Some(0));
}

#[tokio::test]
async fn metrics_answer_while_it_drains() {
    let backend = Backend::start("one").await;
    let gateway = process(&["--drain-timeout", "20s"], &backend).await;
    let mut socket = open(&gateway).await;
    gateway.process.signal(Signal::Term);
    refuses_connections(&gateway).await;
    none_closed(&gateway, 1).await;
    assert_eq!(client::get(gateway.admin(), "admin", "/healthz").await.unwrap().status, 200);
    assert_eq!(readyz(&gateway).await, 503);
    assert_eq!(socket.echo("hello").await.unwrap(), "hello");
    socket.close(1000, "").await.unwrap();
}

#[tokio::test]
async fn what_the_deadline_cuts_is_no_failure() {
    let backend = Backend::start("one").await;
    let mut gateway = process(&["--drain-timeout", "600ms"], &backend).await;
    let mut waiting = gateway.connect().await;
    waiting.send(&Request::get("a.example", "/waiting").behaviour("never")).await.unwrap();
    until("the request at the backend", DEADLINE, || async { backend.count("/waiting") }, |n| *n == 1).await;
    let since = Instant::now();
    assert_eq!(gateway.process.stop(DEADLINE).await.code(), Some(0));
    assert!(since.elapsed() >= Duration::from_millis(550), "ended after {:?}", since.elapsed());
    gateway.process.wait_for_stderr("connections=1", SECOND).await;
}

#[tokio::test]
async fn a_second_signal_ends_it_at_once() {
    let backend = Backend::start("one").await;
    let mut gateway = process(&["--drain-timeout", "60s"], &backend).await;
    let mut socket = open(&gateway).await;
    gateway.process.signal(Signal::Term);
    refuses_connections(&gateway).await;
    gateway.process.signal(Signal::Term);
    assert_eq!(gateway.process.wait_exit(Duration::from_secs(5)).await.code(), Some(1));
    assert_eq!(socket.ended(DEADLINE).await.unwrap(), 1001);
}

#[tokio::test]
async fn queued_connections_are_answered_and_not_reset() {
    let backend = Backend::start("one").await;
    let mut gateway = process(&["--drain-timeout", "10s"], &backend).await;
    // While it stands still, the kernel queues connections for it.
    gateway.process.signal(Signal::Stop);
    let mut queued = Vec::new();
    for n in 0..40 {
        let mut connection = gateway.connect().await;
        connection.send(&Request::get("a.example", &format!("/{n}"))).await.unwrap();
        queued.push(connection);
    }
    gateway.process.signal(Signal::Term);
    gateway.process.signal(Signal::Continue);
    for (n, connection) in queued.iter_mut().enumerate() {
        let answer = connection.response("GET").await.unwrap_or_else(|error| panic!("connection {n}: {error:#}"));
        assert_eq!(answer.status, 200);
    }
    drop(queued);
    assert_eq!(gateway.process.wait_exit(DEADLINE).await.code(), Some(0));
}

#[tokio::test]
async fn an_endpoint_that_departs_while_the_process_drains_changes_nothing_for_the_others() {
    let (one, two) = (Backend::start("one").await, Backend::start("two").await);
    let objects = [gateway_with("connectionDraining: {timeout: 300ms}"), rule_under_settings()];
    let mut gateway = Gateway::start_with(&["--drain-timeout", "3s", "--drain-spread", "300ms"], &objects).await;
    gateway.write("app.yaml", &service("app", &[&one]));
    only(&gateway, "one").await;
    let mut leaving = open(&gateway).await;
    gateway.write("app.yaml", &service("app", &[&one, &two]));
    let to_two = eventually("a WebSocket to two", DEADLINE, || async {
        let mut socket = open(&gateway).await;
        let name = socket.echo("!name").await.ok()?;
        (name == "two").then_some(socket)
    });
    let mut staying = to_two.await;
    gateway.process.signal(Signal::Term);
    refuses_connections(&gateway).await;
    gateway.write("app.yaml", &service("app", &[&two]));
    assert_eq!(leaving.ended(2 * SECOND).await.unwrap(), 1001);
    stays_open(&mut staying, WHILE).await;
    assert_eq!(staying.ended(DEADLINE).await.unwrap(), 1001);
    assert_eq!(gateway.process.wait_exit(DEADLINE).await.code(), Some(0));
}

#[tokio::test]
async fn nothing_is_accepted_in_a_drain_that_is_all_spread() {
    let one = Backend::start("one").await;
    let args = ["--drain-timeout", "6s", "--drain-spread", "6s"];
    let objects = [gateway_with("requestTimeout: 20s"), rule_under_settings(), service("app", &[&one])];
    let gateway = Gateway::start_with(&args, &objects).await;
    let mut sockets = open_many(&gateway, 4).await;
    gateway.process.signal(Signal::Term);
    let connect = || async { Connection::open(gateway.addr()).await.map(drop) };
    until("the port to close", DEADLINE, connect, Result::is_err).await.expect_err("just seen");
    let mut open = 0;
    for socket in &mut sockets {
        open += u32::from(socket.echo("hello").await.is_ok());
    }
    assert!(open > 0, "the port closed with the process only");
}
