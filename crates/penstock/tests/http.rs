//! HTTP/1.1 through the gateway: framing, streaming, keep-alive, what is sent on and what comes back.

mod support;

use penstock_testkit::{Backend, Connection, DEADLINE, Request, client, until};
use support::{Gateway, RawBackend, http_gateway, read_until, rule, rule_to, service, service_at};
use tokio::io::AsyncWriteExt;

const HOST: &str = "a.example";

fn ask(behaviour: &str) -> Request {
    Request::get(HOST, "/x").behaviour(behaviour)
}

async fn one() -> (Backend, Gateway) {
    let backend = Backend::start("one").await;
    let gateway = Gateway::to(&backend).await;
    (backend, gateway)
}

/// The backend saw `count` requests for this path.
async fn seen(backend: &Backend, path: &str, count: usize) {
    until("the request at the backend", DEADLINE, || async { backend.count(path) }, |seen| *seen == count).await;
}

#[tokio::test]
async fn a_request_reaches_the_backend_and_its_answer_the_client() {
    let (_backend, gateway) = one().await;
    let request = Request::new("PATCH", HOST, "/x?y=1&z=%20").with("X-A", "1").with("x-a", "2").body("hello");
    let answer = gateway.send(&request).await;
    assert_eq!((answer.status, answer.header("x-backend")), (200, Some("one")));
    let echo = answer.json();
    assert_eq!(echo["method"], "PATCH");
    assert_eq!(echo["target"], "/x?y=1&z=%20");
    assert_eq!(echo["version"], "HTTP/1.1");
    assert_eq!(echo["body"], "hello");
    assert_eq!(answer.echoed("x-a"), ["1", "2"]);
    assert_eq!(answer.echoed("host"), [HOST]);
    let answer = gateway.send(&ask("status=418,header=Set-Cookie:a=1,header=Set-Cookie:b=2")).await;
    assert_eq!((answer.status, answer.all("set-cookie")), (418, vec!["a=1", "b=2"]));
}

#[tokio::test]
async fn large_bodies_pass_whole_both_ways() {
    let (_backend, gateway) = one().await;
    let answer = gateway.send(&ask("size=5000000")).await;
    let expected: Vec<u8> = (b'a'..=b'z').cycle().take(5_000_000).collect();
    assert!(answer.body == expected, "{} bytes came, or others", answer.body.len());
    let echo = gateway.send(&Request::post(HOST, "/x", expected.clone())).await.json();
    assert_eq!(echo["body_length"], 5_000_000);
    let answer = gateway.send(&Request::post(HOST, "/x", expected).chunked(&[])).await;
    assert_eq!(answer.json()["body_length"], 5_000_000);
    assert_eq!(answer.echoed("transfer-encoding"), ["chunked"]);
}

#[tokio::test]
async fn a_chunked_answer_stays_chunked_and_keeps_its_trailers() {
    let (_backend, gateway) = one().await;
    let answer = gateway.send(&ask("chunked,size=100000,piece=1000")).await;
    assert_eq!((answer.header("transfer-encoding"), answer.header("content-length")), (Some("chunked"), None));
    assert_eq!(answer.body.len(), 100_000);
    // RFC 9110 6.5.1: trailers only for those who said that they take them.
    let answer = gateway.send(&ask("body=x,trailer=X-Sum:9").with("TE", "trailers")).await;
    assert_eq!((answer.text().as_str(), answer.trailers.len()), ("x", 1));
    assert_eq!((answer.trailers[0].0.to_lowercase().as_str(), answer.trailers[0].1.as_str()), ("x-sum", "9"));
}

#[tokio::test]
async fn a_chunked_request_keeps_its_trailers() {
    let (_backend, gateway) = one().await;
    let request = Request::post(HOST, "/x", vec![b'x'; 2500]).with("Trailer", "X-Sum").chunked(&[("X-Sum", "9")]);
    let echo = gateway.send(&request).await.json();
    assert_eq!(echo["body_length"], 2500);
    assert_eq!(echo["trailers"][0][0].as_str().map(str::to_lowercase).as_deref(), Some("x-sum"));
    assert_eq!(echo["trailers"][0][1], "9");
}

#[tokio::test]
async fn transfer_encoding_counts_and_content_length_is_removed() {
    let (_backend, gateway) = one().await;
    // RFC 9112 6.3, from the backend and from the client.
    let answer = gateway.send(&ask("both,body=hello")).await;
    assert_eq!(answer.text(), "hello");
    assert_ne!(answer.header("content-length"), Some("3"), "the backend's wrong one");
    let request = "POST /x HTTP/1.1\r\nHost: a.example\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n\
                   5\r\nhello\r\n0\r\n\r\n";
    let answer = gateway.raw(request).await;
    assert_eq!((answer.status, answer.json()["body"].as_str()), (200, Some("hello")));
    assert_eq!((answer.echoed("content-length").len(), answer.echoed("transfer-encoding").len()), (0, 1));
}

#[tokio::test]
async fn head_204_and_304_have_no_body() {
    let (backend, gateway) = one().await;
    let mut connection = gateway.connect().await;
    let head = Request::new("HEAD", HOST, "/x").behaviour("body=hello");
    let answer = connection.exchange(&head).await.unwrap();
    assert_eq!((answer.status, answer.header("content-length")), (200, Some("5")));
    for (status, behaviour) in [(204, ""), (304, ""), (304, ",chunked")] {
        let answer = connection.exchange(&ask(&format!("status={status}{behaviour}"))).await.unwrap();
        assert_eq!((answer.status, answer.body.len()), (status, 0));
        assert_eq!(answer.header("transfer-encoding"), None, "{status}");
        assert_eq!(answer.header("content-length"), None, "{status}");
    }
    let answer = connection.exchange(&ask("body=after")).await.unwrap();
    assert_eq!(answer.text(), "after", "what came before left nothing behind");
    let ports: std::collections::BTreeSet<_> =
        backend.requests().iter().filter(|r| r.path() == "/x").map(|r| r.connection).collect();
    assert_eq!(ports.len(), 1, "and the backend's connection is as good as before");
    // RFC 9110 8.6: a 204 has no Content-Length, whatever the backend thinks.
    let answer = connection.exchange(&ask("status=204,header=Content-Length:5")).await.unwrap();
    assert_eq!((answer.status, answer.header("content-length")), (204, None));
    assert_eq!(connection.exchange(&ask("body=after")).await.unwrap().text(), "after");
}

#[tokio::test]
async fn interim_answers_do_not_disturb_the_answer() {
    let (_backend, gateway) = one().await;
    let mut connection = gateway.connect().await;
    for _ in 0..2 {
        let answer = connection.exchange(&ask("interim=103,interim=102,body=hello")).await.unwrap();
        assert_eq!((answer.status, answer.text().as_str()), (200, "hello"));
    }
}

#[tokio::test]
async fn a_client_that_expects_100_continue_gets_it() {
    let (backend, gateway) = one().await;
    let mut connection = gateway.connect().await;
    let head = "POST /x HTTP/1.1\r\nHost: a.example\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n";
    connection.send_raw(head.as_bytes()).await.unwrap();
    let interim = connection.head("POST").await.unwrap();
    assert_eq!(interim.status, 100);
    connection.send_raw(b"hello").await.unwrap();
    let answer = connection.response("POST").await.unwrap();
    assert_eq!((answer.status, answer.json()["body"].as_str()), (200, Some("hello")));
    assert_eq!(backend.count("/x"), 1);
}

#[tokio::test]
async fn http_1_0_clients_are_served() {
    let (_backend, gateway) = one().await;
    // Without Host, and without keep-alive.
    let mut connection = gateway.connect().await;
    connection.send_raw(b"GET /x?do=chunked,body=hello HTTP/1.0\r\n\r\n").await.unwrap();
    let answer = connection.response("GET").await.unwrap();
    assert_eq!((answer.status, answer.text().as_str()), (200, "hello"));
    assert_eq!(answer.header("transfer-encoding"), None, "HTTP/1.0 knows no chunks");
    connection.closed(DEADLINE).await.unwrap();

    let mut connection = gateway.connect().await;
    for _ in 0..2 {
        let request = b"GET /x?do=body=hello HTTP/1.0\r\nHost: a.example\r\nConnection: keep-alive\r\n\r\n";
        connection.send_raw(request).await.unwrap();
        let answer = connection.response("GET").await.unwrap();
        assert_eq!((answer.status, answer.text().as_str()), (200, "hello"));
    }
}

#[tokio::test]
async fn an_http_1_0_backend_is_understood() {
    let (_backend, gateway) = one().await;
    let mut connection = gateway.connect().await;
    for _ in 0..2 {
        let answer = connection.exchange(&ask("http10,size=50000")).await.unwrap();
        assert_eq!((answer.minor, answer.status, answer.body.len()), (1, 200, 50_000));
    }
}

#[tokio::test]
async fn connections_are_kept_on_both_sides() {
    let (backend, gateway) = one().await;
    let mut connection = gateway.connect().await;
    let mut ports = std::collections::BTreeSet::new();
    for _ in 0..5 {
        ports.insert(connection.exchange(&ask("")).await.unwrap().json()["connection"].as_u64());
    }
    assert_eq!(ports.len(), 1, "one connection to the backend for all");
    // Long enough for the gateway to give the idle connection's buffers back.
    assert!(connection.closed(std::time::Duration::from_millis(400)).await.is_err(), "it stays open");
    assert_eq!(connection.exchange(&ask("body=still")).await.unwrap().text(), "still");
    // The backend says that it closes: the client's connection is none of its business.
    assert_eq!(connection.exchange(&ask("connection=close")).await.unwrap().header("connection"), None);
    assert_eq!(connection.exchange(&ask("body=still")).await.unwrap().text(), "still");
    let last = connection.exchange(&ask("body=last").with("Connection", "close")).await.unwrap();
    assert_eq!((last.text().as_str(), last.header("connection")), ("last", Some("close")));
    connection.closed(DEADLINE).await.unwrap();
    assert_eq!(backend.requests().iter().filter(|r| r.path() == "/x").count(), 9);
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let (_backend, gateway) = one().await;
    let mut connection = gateway.connect().await;
    let mut bytes = ask("delay=100,body=first").head_bytes();
    bytes.extend(ask("body=second").head_bytes());
    bytes.extend(Request::post(HOST, "/x", "abc").head_bytes());
    bytes.extend(b"abc");
    connection.send_raw(&bytes).await.unwrap();
    assert_eq!(connection.response("GET").await.unwrap().text(), "first");
    assert_eq!(connection.response("GET").await.unwrap().text(), "second");
    assert_eq!(connection.response("POST").await.unwrap().json()["body"], "abc");
}

#[tokio::test]
async fn a_head_in_single_bytes_is_a_head() {
    let (_backend, gateway) = one().await;
    let mut connection = gateway.connect().await;
    for byte in ask("body=hello").head_bytes() {
        connection.send_raw(&[byte]).await.unwrap();
    }
    assert_eq!(connection.response("GET").await.unwrap().text(), "hello");
}

#[tokio::test]
async fn an_absolute_target_names_the_host() {
    let app = Backend::start("app").await;
    let other = Backend::start("other").await;
    let gateway = Gateway::start(&[
        http_gateway(""),
        rule("app", "hostNames: [a.example]\nbackend: {services: [{name: app, port: 80}]}"),
        rule_to("rest", "other"),
        service("app", &[&app]),
        service("other", &[&other]),
    ])
    .await;
    // RFC 9112 3.2.2: the target counts, not the Host header.
    let answer = gateway.raw("GET http://A.example:80/x?y=1 HTTP/1.1\r\nHost: elsewhere\r\n\r\n").await;
    assert_eq!(answer.header("x-backend"), Some("app"));
    assert_eq!(answer.json()["target"], "/x?y=1");
    assert_eq!(answer.echoed("host").len(), 1);
    assert!(answer.echoed("host")[0].eq_ignore_ascii_case("a.example:80"), "{:?}", answer.echoed("host"));
    let answer = gateway.raw("GET http://a.example HTTP/1.1\r\nHost: a.example\r\n\r\n").await;
    assert_eq!((answer.header("x-backend"), answer.json()["target"].as_str()), (Some("app"), Some("/")));
}

#[tokio::test]
async fn events_arrive_one_by_one() {
    let (backend, gateway) = one().await;
    let mut connection = gateway.connect().await;
    connection.send(&ask("sse")).await.unwrap();
    let head = connection.head("GET").await.unwrap();
    assert_eq!(head.header("content-type"), Some("text/event-stream"));
    until("the stream", DEADLINE, || async { backend.event_streams() }, |open| *open == 1).await;
    for n in 0..3 {
        backend.send_event(&format!("event {n}"));
        let piece = connection.piece().await.unwrap().unwrap();
        assert_eq!(String::from_utf8_lossy(&piece), format!("data: event {n}\n\n"), "before the next one is sent");
    }
    backend.end_events();
    assert_eq!(connection.piece().await.unwrap(), None);
    assert_eq!(connection.exchange(&ask("body=after")).await.unwrap().text(), "after");
}

#[tokio::test]
async fn bodies_stream_both_ways_at_once() {
    let backend = RawBackend::start().await;
    let gateway =
        Gateway::start(&[http_gateway(""), rule_to("all", "raw"), service_at("raw", &[backend.addr()])]).await;
    let mut client = gateway.connect().await;
    client.send_raw(b"POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n").await.unwrap();
    let (mut stream, came) = backend.accept().await;
    if !came.contains("one") {
        read_until(&mut stream, "one").await;
    }
    stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nONE\r\n").await.unwrap();
    assert_eq!(client.head("POST").await.unwrap().status, 200);
    assert_eq!(client.piece().await.unwrap().unwrap(), b"ONE");
    client.send_raw(b"3\r\ntwo\r\n").await.unwrap();
    read_until(&mut stream, "two").await;
    stream.write_all(b"3\r\nTWO\r\n").await.unwrap();
    assert_eq!(client.piece().await.unwrap().unwrap(), b"TWO");
    client.send_raw(b"0\r\n\r\n").await.unwrap();
    read_until(&mut stream, "0\r\n\r\n").await;
    stream.write_all(b"0\r\n\r\n").await.unwrap();
    assert_eq!(client.piece().await.unwrap(), None);
}

#[tokio::test]
async fn an_answer_before_the_end_of_the_upload_is_passed_on() {
    let (_backend, gateway) = one().await;
    let mut connection = gateway.connect().await;
    let head = "POST /x?do=early,status=403,body=no HTTP/1.1\r\nHost: a.example\r\nContent-Length: 100000\r\n\r\n";
    connection.send_raw(head.as_bytes()).await.unwrap();
    connection.send_raw(&[b'x'; 1000]).await.unwrap();
    let answer = connection.response("POST").await.unwrap();
    assert_eq!((answer.status, answer.text().as_str()), (403, "no"));
}

#[tokio::test]
async fn a_slow_client_does_not_make_the_gateway_buffer_the_answer() {
    let (backend, gateway) = one().await;
    gateway.send(&ask("body=warm")).await;
    let before = gateway.process.own_memory();
    let mut connection = gateway.connect().await;
    connection.send(&ask("size=60000000")).await.unwrap();
    assert_eq!(connection.head("GET").await.unwrap().status, 200);
    connection.piece().await.unwrap();
    // The sockets' buffers are full by the time this second client is served; the gateway holds next to nothing.
    assert_eq!(gateway.send(&ask("body=other")).await.text(), "other");
    let now = gateway.process.own_memory();
    assert!(now < before + 15e6, "{before}, then {now} bytes");
    drop(connection);
    until("the backend's connection to end", DEADLINE, || async { backend.open() }, |open| *open <= 1).await;
}

#[tokio::test]
async fn a_client_that_leaves_an_event_stream_ends_it() {
    let (backend, gateway) = one().await;
    let mut connection = gateway.connect().await;
    connection.send(&ask("sse")).await.unwrap();
    assert_eq!(connection.head("GET").await.unwrap().status, 200);
    drop(connection);
    let tell = || async { backend.send_event("is anybody there?") };
    until("the event stream to end", DEADLINE, tell, |open| *open == 0).await;
}

#[tokio::test]
async fn a_client_that_leaves_in_its_upload_does_not_look_like_a_whole_request() {
    let (backend, gateway) = one().await;
    for head in ["Content-Length: 10\r\n\r\nabc", "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"] {
        let before = backend.count("/x");
        let mut connection = gateway.connect().await;
        connection.send_raw(format!("POST /x HTTP/1.1\r\nHost: a\r\n{head}").as_bytes()).await.unwrap();
        seen(&backend, "/x", before + 1).await;
        drop(connection);
        until("the backend's connection to end", DEADLINE, || async { backend.open() }, |open| *open == 0).await;
    }
}

#[tokio::test]
async fn a_client_may_close_its_sending_side() {
    let (_backend, gateway) = one().await;
    let mut connection = Connection::open(gateway.addr()).await.unwrap();
    connection.send(&ask("delay=100,body=hello")).await.unwrap();
    connection.finish().await.unwrap();
    assert_eq!(connection.response("GET").await.unwrap().text(), "hello");
    connection.closed(DEADLINE).await.unwrap();
}

#[tokio::test]
async fn many_clients_at_once_get_their_own_answers() {
    let (_backend, gateway) = one().await;
    let one = |n: usize| {
        let addr = gateway.addr();
        async move {
            let mut connection = Connection::open(addr).await.unwrap();
            for turn in 0..5 {
                let body = format!("{n}-{turn}");
                let request = Request::post(HOST, &format!("/{n}"), body.clone());
                assert_eq!(connection.exchange(&request).await.unwrap().json()["body"], *body);
            }
        }
    };
    let clients: Vec<_> = (0..50).map(|n| tokio::spawn(one(n))).collect();
    for client in clients {
        client.await.unwrap();
    }
    assert_eq!(client::get(gateway.addr(), HOST, "/").await.unwrap().status, 200);
}
