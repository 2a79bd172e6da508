//! HTTP/2 in front (RFC 9113), to backends of HTTP/1.1: by prior knowledge and by ALPN, through the same rules, headers and
//! answers as HTTP/1.1.

mod support;

use std::time::Duration;

use futures_util::future::join_all;
use h2::client::Builder;
use penstock_testkit::client::frames::{END_STREAM, kind};
use penstock_testkit::client::send_tls;
use penstock_testkit::{Backend, Ca, DEADLINE, Frame, Frames, Http2, Request, Response, Signal, TlsClient, until};
use support::{Gateway, RawBackend, WHILE, gateway, http_gateway, rule, rule_to, service, service_at};
use tokio::io::AsyncWriteExt;
use tokio::time::timeout;

const HOST: &str = "a.example";
const PROTOCOL_ERROR: u32 = 1;

fn ask(behaviour: &str) -> Request {
    Request::get(HOST, "/x").behaviour(behaviour)
}

async fn one() -> (Backend, Gateway, Http2) {
    let backend = Backend::start("one").await;
    let gateway = Gateway::to(&backend).await;
    let client = Http2::open(gateway.addr()).await.expect("a connection");
    (backend, gateway, client)
}

async fn exchange(client: &Http2, request: &Request) -> Response {
    client.exchange(request).await.expect("an answer of the gateway")
}

#[tokio::test]
async fn a_request_reaches_the_backend_and_its_answer_the_client() {
    let (backend, gateway, client) = one().await;
    let request = Request::new("PATCH", HOST, "/x?y=1&z=%20").with("X-A", "1").with("x-a", "2").body("hello");
    let answer = exchange(&client, &request).await;
    assert_eq!((answer.status, answer.header("x-backend")), (200, Some("one")));
    let echo = answer.json();
    assert_eq!(echo["method"], "PATCH");
    assert_eq!(echo["target"], "/x?y=1&z=%20");
    assert_eq!(echo["version"], "HTTP/1.1");
    assert_eq!(echo["body"], "hello");
    assert_eq!(answer.echoed("x-a"), ["1", "2"]);
    assert_eq!(answer.echoed("host"), [HOST]);
    assert_eq!(answer.echoed("content-length"), ["5"]);
    assert_eq!(answer.echoed("x-forwarded-proto"), ["http"]);
    assert!(answer.header("date").is_some() && answer.header("connection").is_none());
    let answer = exchange(&client, &ask("status=418,header=Set-Cookie:a=1,header=Set-Cookie:b=2")).await;
    assert_eq!((answer.status, answer.all("set-cookie")), (418, vec!["a=1", "b=2"]));
    // HTTP/1.1 goes on, on the same port.
    assert_eq!(gateway.who(HOST, "/x").await, "one");
    assert_eq!(backend.count("/x"), 3);
}

#[tokio::test]
async fn alpn_chooses() {
    let ca = Ca::new("test");
    let backend = Backend::start("one").await;
    let listeners =
        "listeners:\n- {name: https, port: $https, protocol: HTTPS, tls: {certificateRefs: [{name: cert}]}}\n";
    let secret = ca.server(&[HOST]).secret_yaml("edge", "cert");
    let objects = [gateway(listeners), rule_to("all", "app"), service("app", &[&backend]), secret];
    let gateway = Gateway::start(&objects).await;
    let address = gateway.addr_of("https");
    for tls in [TlsClient::new(&ca), TlsClient::tls12(&ca)] {
        let client = Http2::open_tls(address, &tls, HOST).await.unwrap();
        let answer = exchange(&client, &Request::post(HOST, "/x", vec![b'x'; 300_000])).await;
        assert_eq!(answer.json()["body_length"], 300_000);
        assert_eq!(answer.echoed("x-forwarded-proto"), ["https"]);
        for tls in [tls.clone(), tls.alpn(&["http/1.1"])] {
            let answer = send_tls(address, &tls, &Request::get(HOST, "/x")).await.unwrap();
            assert_eq!((answer.status, answer.minor), (200, 1));
        }
    }
}

#[tokio::test]
async fn large_bodies_pass_whole_both_ways_at_the_same_time() {
    let (_backend, _gateway, client) = one().await;
    let expected: Vec<u8> = (b'a'..=b'z').cycle().take(1_000_000).collect();
    let both = async |_| {
        let answer = exchange(&client, &ask("size=1000000")).await;
        assert!(answer.body == expected, "{} bytes came, or others", answer.body.len());
        assert_eq!(answer.header("content-length"), Some("1000000"));
        let echo = exchange(&client, &Request::post(HOST, "/x", expected.clone())).await.json();
        assert_eq!(echo["body_length"], 1_000_000);
        let answer = exchange(&client, &Request::post(HOST, "/x", expected.clone()).chunked(&[])).await;
        assert_eq!(answer.json()["body_length"], 1_000_000);
        assert_eq!(answer.echoed("transfer-encoding"), ["chunked"]);
    };
    join_all((0..10).map(both)).await;
}

#[tokio::test]
async fn trailers_pass_both_ways() {
    let (_backend, _gateway, client) = one().await;
    let answer = exchange(&client, &ask("body=x,trailer=X-Sum:9")).await;
    assert_eq!((answer.text().as_str(), answer.trailers.len()), ("x", 1));
    assert_eq!((answer.trailers[0].0.as_str(), answer.trailers[0].1.as_str()), ("x-sum", "9"));
    let request = Request::post(HOST, "/x", vec![b'x'; 2500]).with("te", "trailers").chunked(&[("x-sum", "9")]);
    let echo = exchange(&client, &request).await.json();
    assert_eq!(echo["body_length"], 2500);
    assert_eq!(echo["trailers"][0][0].as_str().map(str::to_lowercase).as_deref(), Some("x-sum"));
}

#[tokio::test]
async fn interim_answers_pass() {
    let (backend, _gateway, client) = one().await;
    let answer = exchange(&client, &ask("interim=103,interim=102,body=hello")).await;
    assert_eq!((answer.status, answer.text().as_str()), (200, "hello"));
    assert_eq!(answer.interim.iter().map(|head| head.status).collect::<Vec<_>>(), [103, 102]);
    let request = Request::post(HOST, "/x", "").with("expect", "100-continue").with("content-length", "5");
    let mut stream = client.begin(&request, false).await.unwrap();
    assert_eq!(stream.interim().await.unwrap().unwrap().status, 100);
    stream.data(b"hello", true).await.unwrap();
    let answer = stream.response().await.unwrap();
    assert_eq!((answer.status, answer.json()["body"].as_str()), (200, Some("hello")));
    assert_eq!(backend.count("/x"), 2);
}

#[tokio::test]
async fn events_arrive_one_by_one() {
    let (backend, _gateway, client) = one().await;
    let mut stream = client.send(&ask("sse")).await.unwrap();
    assert_eq!(stream.head().await.unwrap().status, 200);
    for event in ["one", "two"] {
        until("the stream at the backend", DEADLINE, || async { backend.event_streams() }, |seen| *seen == 1).await;
        backend.send_event(event);
        assert_eq!(stream.piece().await.unwrap().unwrap(), format!("data: {event}\n\n"));
    }
    backend.end_events();
    assert_eq!(stream.piece().await.unwrap(), None);
}

#[tokio::test]
async fn head_204_and_304_have_no_body() {
    let (_backend, _gateway, client) = one().await;
    let answer = exchange(&client, &Request::new("HEAD", HOST, "/x").behaviour("body=hello")).await;
    assert_eq!((answer.status, answer.header("content-length"), answer.body.len()), (200, Some("5"), 0));
    for status in [204, 304] {
        let answer = exchange(&client, &ask(&format!("status={status}"))).await;
        assert_eq!((answer.status, answer.body.len(), answer.header("content-length")), (status, 0, None));
    }
    // An answer of the gateway itself, too.
    let answer = exchange(&client, &Request::new("HEAD", HOST, "/a/%2e%2e%5c")).await;
    assert_eq!((answer.status, answer.body.len()), (400, 0));
    assert!(answer.header("content-length").is_some());
}

#[tokio::test]
async fn cookies_in_crumbs_are_one_header_for_the_backend() {
    let (_backend, _gateway, client) = one().await;
    // RFC 9113 8.2.3.
    let request = Request::get(HOST, "/x").with("cookie", "a=1").with("x-a", "1").with("cookie", "b=2; c=3");
    let answer = exchange(&client, &request.with("cookie", "d=4")).await;
    assert_eq!(answer.echoed("cookie"), ["a=1; b=2; c=3; d=4"]);
}

#[tokio::test]
async fn what_is_malformed_is_refused() {
    let (backend, gateway, _client) = one().await;
    let base = [(":method", "GET"), (":scheme", "http"), (":path", "/x")];
    let mut frames = Frames::open(gateway.addr(), &[]).await.unwrap();
    let mut stream = 1;
    // RFC 9113 8.3.1: the host is in :authority or, from an intermediary, in Host; not two of them.
    for (more, status) in [
        (&[(":authority", HOST), ("host", "A.example")][..], "200"),
        (&[("host", HOST)], "200"),
        (&[(":authority", HOST), ("host", "b.example")], "400"),
        (&[(":authority", HOST), ("host", HOST), ("host", HOST)], "400"),
        (&[(":authority", "user@a.example")], "400"),
        (&[], "400"),
    ] {
        let headers = [&base[..], more].concat();
        frames.send(&[Frame::headers(stream, true, &headers)]).await.unwrap();
        let head = frames.wait_for(|f| f.kind == kind::HEADERS && f.stream == stream).await.unwrap();
        assert!(has_status(&head.payload, status), "{more:?}: {:?}", head.payload);
        stream += 2;
    }
    // RFC 9113 8.2.2: what is about a connection has no place in HTTP/2.
    for header in [("connection", "close"), ("transfer-encoding", "chunked"), ("upgrade", "websocket"), ("te", "gzip")]
    {
        let headers = [&base[..], &[(":authority", HOST), header]].concat();
        frames.send(&[Frame::headers(stream, true, &headers)]).await.unwrap();
        let reset = frames.wait_for(|f| f.kind == kind::RST_STREAM && f.stream == stream).await.unwrap();
        assert_eq!(reset.error_code(), Some(PROTOCOL_ERROR), "{header:?}");
        stream += 2;
    }
    let connect = [(":method", "CONNECT"), (":authority", "a.example:443")];
    frames.send(&[Frame::headers(stream, false, &connect)]).await.unwrap();
    let head = frames.wait_for(|f| f.kind == kind::HEADERS && f.stream == stream).await.unwrap();
    assert!(has_status(&head.payload, "405"), "{:?}", head.payload);
    assert_eq!(backend.count("/x"), 2);
}

/// Whether a block begins with this status: indexed (RFC 7541 appendix A), or with its digits as a literal, plain or in
/// the Huffman code.
fn has_status(block: &[u8], status: &str) -> bool {
    match status {
        "200" => block.first() == Some(&0x88),
        "400" => block.first() == Some(&0x8c),
        "405" => block.first() == Some(&0x48),
        _ => false,
    }
}

#[tokio::test]
async fn a_client_that_resets_a_stream_ends_the_request_at_the_backend() {
    let (backend, gateway, client) = one().await;
    let mut stream = client.send(&ask("never")).await.unwrap();
    until("the request at the backend", DEADLINE, || async { backend.count("/x") }, |seen| *seen == 1).await;
    stream.reset(h2::Reason::CANCEL);
    until("its end at the backend", DEADLINE, || async { backend.open() }, |open| *open == 0).await;
    gateway.wait_metric("penstock_requests_total", &[("code", "499")], 1.0).await;
    assert_eq!(exchange(&client, &ask("")).await.status, 200, "the connection goes on");
}

#[tokio::test]
async fn an_answer_that_breaks_off_resets_its_stream_only() {
    let (_backend, _gateway, client) = one().await;
    let broken = client.exchange(&ask("close=body,size=100000")).await.unwrap_err();
    let reason = broken.downcast_ref::<h2::Error>().and_then(h2::Error::reason);
    assert_eq!(reason, Some(h2::Reason::INTERNAL_ERROR), "{broken:#}");
    assert_eq!(exchange(&client, &ask("")).await.status, 200);
    assert_eq!(exchange(&client, &ask("close=before")).await.status, 502);
}

#[tokio::test]
async fn an_answer_may_come_before_the_body_is_sent() {
    let (_backend, gateway, client) = one().await;
    gateway.replace(&[http_gateway("")]);
    gateway.wait_status(HOST, "/x", 404).await;
    let mut stream = client.begin(&Request::post(HOST, "/x", ""), false).await.unwrap();
    assert_eq!(stream.head().await.unwrap().status, 404);
    // RFC 9113 8.1: the rest is not wanted, which is no failure.
    let mut frames = Frames::open(gateway.addr(), &[]).await.unwrap();
    let head = [(":method", "POST"), (":scheme", "http"), (":path", "/x"), (":authority", HOST)];
    frames.send(&[Frame::headers(1, false, &head)]).await.unwrap();
    frames.wait_for(|f| f.kind == kind::DATA && f.flags & END_STREAM != 0).await.unwrap();
    let reset = frames.wait_for(|f| f.kind == kind::RST_STREAM).await.unwrap();
    assert_eq!(reset.error_code(), Some(0));
}

#[tokio::test]
async fn streams_that_stand_still_stall_no_other() {
    let (backend, raw) = (Backend::start("one").await, RawBackend::start().await);
    let gateway = Gateway::start(&[
        http_gateway(""),
        rule(
            "all",
            "backend: {services: [{name: app, port: 80}]}\n\
             paths: [{paths: [/slow/*], backend: {services: [{name: slow, port: 80}]}}]",
        ),
        service("app", &[&backend]),
        service_at("slow", &[raw.addr()]),
    ])
    .await;
    // Its own window is not what is looked at.
    let client =
        Http2::open_with(gateway.addr(), Builder::new().initial_connection_window_size(1 << 30)).await.unwrap();
    // Uploads that the backend does not read: as much as there is window for.
    let upload = async |_| {
        let mut stream = client.begin(&Request::post(HOST, "/slow/x", ""), false).await.unwrap();
        let filled = timeout(WHILE, async { while stream.data(&[b'x'; 16 * 1024], false).await.is_ok() {} }).await;
        assert!(filled.is_err(), "an upload that nobody reads must stand still");
        stream
    };
    let accept = async {
        let mut backends = Vec::new();
        while backends.len() < 30 {
            backends.push(raw.accept().await);
        }
        backends
    };
    let (_uploads, _backends) = tokio::join!(join_all((0..30).map(upload)), accept);
    // Answers that the client does not read.
    let download = async |_| {
        let mut stream = client.send(&ask("size=300000")).await.unwrap();
        assert_eq!(stream.head().await.unwrap().status, 200);
        stream
    };
    let _downloads = join_all((0..30).map(download)).await;
    let echo = exchange(&client, &Request::post(HOST, "/x", vec![b'x'; 1_000_000])).await.json();
    assert_eq!(echo["body_length"], 1_000_000);
}

#[tokio::test]
async fn a_drain_ends_with_the_last_stream() {
    let (backend, mut gateway, mut client) = one().await;
    let mut idle = Http2::open(gateway.addr()).await.unwrap();
    let mut stream = client.send(&ask("sse")).await.unwrap();
    assert_eq!(stream.head().await.unwrap().status, 200);
    until("the stream at the backend", DEADLINE, || async { backend.event_streams() }, |seen| *seen == 1).await;
    gateway.process.signal(Signal::Term);
    idle.ended(DEADLINE).await.unwrap().unwrap();
    backend.send_event("still here");
    assert_eq!(stream.piece().await.unwrap().unwrap(), "data: still here\n\n");
    let refused = client.begin(&ask(""), true).await;
    assert!(refused.is_err(), "GOAWAY: no new streams");
    backend.end_events();
    assert_eq!(stream.piece().await.unwrap(), None);
    client.ended(DEADLINE).await.unwrap().unwrap();
    assert_eq!(gateway.process.wait_exit(Duration::from_secs(5)).await.code(), Some(0));
}

#[tokio::test]
async fn requests_are_counted_and_logged() {
    let backend = Backend::start("one").await;
    let objects = [http_gateway(""), rule_to("all", "app"), service("app", &[&backend])];
    let gateway = Gateway::start_with(&["--access-log", "json"], &objects).await;
    let client = Http2::open(gateway.addr()).await.unwrap();
    exchange(&client, &Request::post(HOST, "/logged?a=1", "hello").behaviour("body=bye")).await;
    let line = gateway.process.wait_for_stdout("/logged", DEADLINE).await;
    let line: serde_json::Value = serde_json::from_str(&line).unwrap();
    for (key, value) in [
        ("protocol", "HTTP/2"),
        ("host", HOST),
        ("path", "/logged"),
        ("query", "a=1"),
        ("scheme", "http"),
        ("method", "POST"),
        ("rule", "edge/all"),
    ] {
        assert_eq!(line[key], value, "{line}");
    }
    assert_eq!((&line["status"], &line["bytes_received"], &line["bytes_sent"]), (&200.into(), &5.into(), &3.into()));
    gateway.wait_metric("penstock_requests_total", &[("code", "200"), ("method", "POST")], 1.0).await;
    gateway.wait_metric("penstock_connections_open", &[], 1.0).await;
    drop(client);
    gateway.wait_metric("penstock_connections_open", &[], 0.0).await;
}

#[tokio::test]
async fn a_preface_in_pieces_is_one() {
    let (_backend, gateway, _client) = one().await;
    let mut stream = tokio::net::TcpStream::connect(gateway.addr()).await.unwrap();
    stream.set_nodelay(true).unwrap();
    for piece in ["P", "RI * HT", "TP/2.0\r\n\r\nSM\r\n\r", "\n"] {
        stream.write_all(piece.as_bytes()).await.unwrap();
        tokio::task::yield_now().await;
    }
    let mut answer = [0; 9];
    tokio::io::AsyncReadExt::read_exact(&mut stream, &mut answer).await.unwrap();
    assert_eq!(answer[3], kind::SETTINGS);
    // What only begins like it is HTTP/1.
    let answer = gateway.raw("PRI * HTTP/1.1\r\nHost: a.example\r\n\r\n").await;
    assert_eq!((answer.status, answer.minor), (400, 1));
}
