//! Every behaviour of the backend, seen by the client: the parts that other tests rely on.

use std::time::{Duration, Instant};

use penstock_testkit::client::{self, send};
use penstock_testkit::{Backend, Connection, DEADLINE, Request, eventually, until};

fn ask(behaviour: &str) -> Request {
    Request::get("a.example", "/x").behaviour(behaviour)
}

#[tokio::test]
async fn echoes_the_request() {
    let backend = Backend::start("one").await;
    let request = Request::post("a.example:81", "/p?q=1", "hello").with("X-A", "1").with("x-a", "2");
    let answer = send(backend.addr(), &request).await.unwrap();
    assert_eq!((answer.status, answer.header("x-backend")), (200, Some("one")));
    let echo = answer.json();
    assert_eq!((echo["method"].as_str(), echo["target"].as_str()), (Some("POST"), Some("/p?q=1")));
    assert_eq!((echo["body"].as_str(), echo["body_length"].as_u64()), (Some("hello"), Some(5)));
    assert_eq!(answer.echoed("host"), ["a.example:81"]);
    assert_eq!(answer.echoed("X-A"), ["1", "2"]);
    assert_eq!(echo["headers"][2][0], "x-a", "names keep their case and order");
}

#[tokio::test]
async fn reads_chunked_requests_with_trailers() {
    let backend = Backend::start("one").await;
    let request = Request::post("a", "/", vec![b'x'; 2500]).chunked(&[("X-Sum", "9")]);
    let echo = send(backend.addr(), &request).await.unwrap().json();
    assert_eq!(echo["body_length"], 2500);
    assert_eq!(echo["trailers"], serde_json::json!([["X-Sum", "9"]]));
}

#[tokio::test]
async fn keeps_and_closes_connections() {
    let backend = Backend::start("one").await;
    let mut connection = Connection::open(backend.addr()).await.unwrap();
    let first = connection.exchange(&ask("")).await.unwrap().json()["connection"].clone();
    assert_eq!(first, connection.local_addr().port());
    assert_eq!(connection.exchange(&ask("")).await.unwrap().json()["connection"], first);
    let last = connection.exchange(&ask("connection=close")).await.unwrap();
    assert_eq!(last.header("connection"), Some("close"));
    connection.closed(DEADLINE).await.unwrap();

    let mut connection = Connection::open(backend.addr()).await.unwrap();
    assert_eq!(connection.exchange(&ask("connection=silent")).await.unwrap().header("connection"), None);
    connection.closed(DEADLINE).await.unwrap();

    let mut connection = Connection::open(backend.addr()).await.unwrap();
    assert_eq!(connection.exchange(&ask("keepalive=0")).await.unwrap().header("keep-alive"), Some("timeout=0"));
    connection.closed(DEADLINE).await.unwrap();
    assert_eq!(backend.accepted(), 3);
}

#[tokio::test]
async fn answers_with_status_delay_header_and_body() {
    let backend = Backend::start("one").await;
    let start = Instant::now();
    let answer = send(backend.addr(), &ask("status=503,delay=50,header=Retry-After:7,body=so%20busy")).await.unwrap();
    assert!(start.elapsed() >= Duration::from_millis(50));
    assert_eq!((answer.status, answer.header("retry-after"), answer.text().as_str()), (503, Some("7"), "so busy"));
    let wrong = send(backend.addr(), &ask("statsu=503")).await.unwrap();
    assert_eq!(wrong.status, 500, "a typing error shows: {}", wrong.text());
}

#[tokio::test]
async fn takes_the_behaviour_from_the_query_and_the_test() {
    let backend = Backend::start("one").await;
    assert_eq!(client::get(backend.addr(), "a", "/x?do=status=404").await.unwrap().status, 404);
    backend.behave("status=503");
    assert_eq!(client::get(backend.addr(), "a", "/x").await.unwrap().status, 503);
    assert_eq!(client::get(backend.addr(), "a", "/healthz").await.unwrap().status, 200);
    assert_eq!(send(backend.addr(), &ask("status=201")).await.unwrap().status, 201);
}

#[tokio::test]
async fn cuts_the_answer() {
    let backend = Backend::start("one").await;
    for (behaviour, message) in [
        ("close=before", "closed after 0 bytes"),
        ("close=reset", "reading"),
        ("close=head", "of an answer's head"),
        ("close=body,size=100", "after 50 bytes"),
        ("close=body,size=100,chunked", "after 50 bytes"),
    ] {
        let error = format!("{:#}", send(backend.addr(), &ask(behaviour)).await.unwrap_err());
        assert!(error.contains(message), "{behaviour}: {error}");
    }
}

#[tokio::test]
async fn never_answers_but_notices_the_end() {
    let backend = Backend::start("one").await;
    let mut connection = Connection::open(backend.addr()).await.unwrap().patience(Duration::from_millis(50));
    assert!(connection.exchange(&ask("never")).await.unwrap_err().to_string().contains("nothing came"));
    assert_eq!(backend.open(), 1);
    drop(connection);
    eventually("the connection to be gone", DEADLINE, || async { (backend.open() == 0).then_some(()) }).await;
}

#[tokio::test]
async fn frames_answers_in_every_way() {
    let backend = Backend::start("one").await;
    let answer = send(backend.addr(), &ask("size=5000,piece=1000,trailer=X-Sum:1,trailer=X-B:2")).await.unwrap();
    assert_eq!((answer.body.len(), answer.header("content-length")), (5000, None));
    assert_eq!(answer.trailers, [("X-Sum".to_owned(), "1".to_owned()), ("X-B".to_owned(), "2".to_owned())]);
    assert!(answer.body.starts_with(b"abcdefghijklmnopqrstuvwxyzab"));

    let answer = send(backend.addr(), &ask("both,body=abcdef")).await.unwrap();
    assert_eq!((answer.header("content-length"), answer.text().as_str()), (Some("3"), "abcdef"));

    let answer = send(backend.addr(), &ask("http10,body=abc")).await.unwrap();
    assert_eq!((answer.minor, answer.header("content-length"), answer.text().as_str()), (0, None, "abc"));

    let answer = send(backend.addr(), &ask("interim=103,interim=102,body=abc")).await.unwrap();
    assert_eq!(answer.interim.iter().map(|h| h.status).collect::<Vec<_>>(), [103, 102]);

    let answer = send(backend.addr(), &ask("raw=HTTP/1.1%20299%20Odd%0d%0a%0d%0ax")).await.unwrap();
    assert_eq!((answer.status, answer.text().as_str()), (299, "x"));

    let answer = send(backend.addr(), &Request::new("HEAD", "a", "/x?do=size=10")).await.unwrap();
    assert_eq!((answer.header("content-length"), answer.body.len()), (Some("10"), 0));
    assert_eq!(send(backend.addr(), &ask("status=304")).await.unwrap().body.len(), 0);
}

#[tokio::test]
async fn sends_large_and_slow_bodies() {
    let backend = Backend::start("one").await;
    assert_eq!(send(backend.addr(), &ask("size=3000000")).await.unwrap().body.len(), 3_000_000);
    let start = Instant::now();
    assert_eq!(send(backend.addr(), &ask("size=6,drip=10")).await.unwrap().text(), "abcdef");
    assert!(start.elapsed() >= Duration::from_millis(50));
}

#[tokio::test]
async fn sends_events_on_command() {
    let backend = Backend::start("one").await;
    let mut connection = Connection::open(backend.addr()).await.unwrap();
    connection.send(&ask("sse")).await.unwrap();
    assert_eq!(connection.head("GET").await.unwrap().header("content-type"), Some("text/event-stream"));
    assert_eq!((backend.event_streams(), backend.send_event("one")), (1, 1));
    assert_eq!(connection.piece().await.unwrap().as_deref(), Some(&b"data: one\n\n"[..]));
    backend.send_event("two");
    assert_eq!(connection.piece().await.unwrap().as_deref(), Some(&b"data: two\n\n"[..]));
    backend.end_events();
    assert_eq!(connection.piece().await.unwrap(), None);
}

#[tokio::test]
async fn continues_or_answers_early() {
    let backend = Backend::start("one").await;
    let request = Request::post("a", "/x", "body").with("Expect", "100-continue");
    let mut connection = Connection::open(backend.addr()).await.unwrap();
    connection.send_raw(&request.head_bytes()).await.unwrap();
    assert_eq!(connection.head("POST").await.unwrap().status, 100);
    connection.send_raw(&request.body_bytes()).await.unwrap();
    assert_eq!(connection.response("POST").await.unwrap().json()["body"], "body");

    let mut connection = Connection::open(backend.addr()).await.unwrap();
    connection.send_raw(&request.behaviour("early,status=413").head_bytes()).await.unwrap();
    assert_eq!(connection.response("POST").await.unwrap().status, 413);
}

#[tokio::test]
async fn counts_and_remembers() {
    let backend = Backend::start("one").await;
    client::get(backend.addr(), "a", "/x?n=1").await.unwrap();
    client::get(backend.addr(), "b", "/x").await.unwrap();
    client::get(backend.addr(), "b", "/y").await.unwrap();
    assert_eq!((backend.count("/x"), backend.count("/y"), backend.count("/z")), (2, 1, 0));
    assert_eq!(backend.requests()[2].header("HOST"), Some("b"));
    until("all connections closed", DEADLINE, || async { backend.open() }, |open| *open == 0).await;
    assert_eq!(backend.accepted(), 3);
}

#[tokio::test]
async fn health_is_what_the_test_says() {
    let backend = Backend::start("one").await;
    backend.set_health(false);
    assert_eq!(client::get(backend.addr(), "a", "/healthz").await.unwrap().status, 503);
    backend.set_health(true);
    assert_eq!(client::get(backend.addr(), "a", "/healthz").await.unwrap().status, 200);
}

#[tokio::test]
async fn stops_accepting_and_resumes_on_the_same_port() {
    let backend = Backend::start("one").await;
    let mut open = Connection::open(backend.addr()).await.unwrap();
    open.exchange(&ask("")).await.unwrap();
    backend.stop_accepting().await;
    assert!(Connection::open(backend.addr()).await.is_err());
    assert_eq!(open.exchange(&ask("")).await.unwrap().status, 200, "open connections go on");
    backend.resume().await;
    assert_eq!(send(backend.addr(), &ask("")).await.unwrap().status, 200);
    backend.shutdown().await;
    open.closed(DEADLINE).await.unwrap();
    assert!(Connection::open(backend.addr()).await.is_err());
}
