//! The life of a connection: reuse, idleness, memory, and how many reads an answer costs.

use bytes::Bytes;
use http::{HeaderMap, Method};
use http_body_util::{Empty, Full};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::super::{BodyLength, Connection, Error, RequestHead, ResponseEvent, SendError};
use super::script::{Script, answer, poll, ready, sent};

fn get(connection: &mut Connection<impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin>) {
    let headers = HeaderMap::new();
    let head = RequestHead {
        method: &Method::GET,
        target: b"/",
        host: b"h",
        headers: &headers,
        upgrade: None,
        keep: &|_| true,
        extra: &|_| (),
    };
    connection.start(&head, BodyLength::Empty, false).unwrap();
}

#[test]
fn one_connection_many_requests() {
    let small = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    let mut connection = Connection::new(Script::open([small, small, small]));
    for turn in 1..=3 {
        assert!(connection.is_reusable() && poll(|cx| connection.poll_send(cx, &mut Empty::new())).is_ready());
        get(&mut connection);
        assert_eq!((connection.bytes_sent(), connection.anything_received()), (0, false));
        ready(|cx| connection.poll_send(cx, &mut Empty::<Bytes>::new())).unwrap();
        assert_eq!(connection.bytes_sent(), 27);
        assert_eq!(answer(&mut connection).unwrap().body, b"ok");
        assert!(connection.anything_received());
        let script = connection.get_ref();
        assert_eq!((script.write_calls, script.read_calls), (turn, turn), "one write and one read a request");
    }
}

#[test]
fn large_bodies_need_few_reads() {
    for (length, most) in [(64 * 1024, 2), (1024 * 1024, 18)] {
        let raw =
            [format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n").into_bytes(), vec![b'x'; length]].concat();
        let mut connection = sent(Script::open([raw]), &Method::GET, false);
        let answer = answer(&mut connection).unwrap();
        assert_eq!((answer.body.len(), answer.reusable), (length, true));
        let reads = connection.get_ref().read_calls;
        assert!(reads <= most, "{reads} reads for {length} bytes");
    }
    let chunks = format!("8000\r\n{}\r\n", "x".repeat(0x8000)).repeat(32);
    let raw = format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}0\r\n\r\n");
    let mut connection = sent(Script::open([raw]), &Method::GET, false);
    assert_eq!(answer(&mut connection).unwrap().body.len(), 1024 * 1024);
    let reads = connection.get_ref().read_calls;
    assert!(reads <= 40, "{reads} reads");
}

#[test]
fn an_idle_connection_is_small() {
    assert!(size_of::<Connection<()>>() <= 256, "{} bytes", size_of::<Connection<()>>());
    let mut connection = sent(Script::open(["HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"]), &Method::GET, false);
    assert!(connection.buffered() == 0, "waiting for the answer");
    answer(&mut connection).unwrap();
    assert_eq!(connection.buffered(), 0);
}

#[test]
fn an_idle_connection_notices() {
    let mut silent = Connection::new(Script::open([""; 0]));
    assert!(poll(|cx| silent.poll_idle(cx)).is_pending() && silent.is_reusable());

    let mut closed = Connection::new(Script::closing([""; 0]));
    assert!(poll(|cx| closed.poll_idle(cx)).is_ready() && !closed.is_reusable());

    let mut talking = Connection::new(Script::open(["HTTP/1.1 408 x\r\n\r\n"]));
    assert!(poll(|cx| talking.poll_idle(cx)).is_ready() && !talking.is_reusable());
    assert_eq!(talking.into_parts().1, "HTTP/1.1 408 x\r\n\r\n");
}

#[test]
fn an_early_answer_does_not_free_the_connection() {
    let mut connection = Connection::new(Script::open(["HTTP/1.1 413 x\r\nContent-Length: 0\r\n\r\n"]));
    let headers = HeaderMap::new();
    let head = RequestHead {
        method: &Method::PUT,
        target: b"/",
        host: b"h",
        headers: &headers,
        upgrade: None,
        keep: &|_| true,
        extra: &|_| (),
    };
    connection.start(&head, BodyLength::Known(5), false).unwrap();
    assert_eq!(answer(&mut connection).unwrap().head.status, 413);
    assert!(connection.is_end_stream() && !connection.is_reusable());
    ready(|cx| connection.poll_send(cx, &mut Full::from("hello"))).unwrap();
    assert!(connection.is_reusable());
}

#[test]
fn reads_are_bounded_per_poll() {
    let head: Vec<_> = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".bytes().map(|byte| vec![byte]).collect();
    let mut connection = sent(Script::open(head), &Method::GET, false);
    let turns = (1..).find(|_| poll(|cx| connection.poll_head(cx)).is_ready());
    assert_eq!(turns, Some(3));
}

#[tokio::test]
async fn over_a_real_stream() {
    let (near, mut far) = tokio::io::duplex(64);
    let mut connection = Connection::new(near);
    let backend = tokio::spawn(async move {
        let mut request = vec![0; 27];
        far.read_exact(&mut request).await.unwrap();
        far.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n").await.unwrap();
        far.write_all(b"0\r\nx-a: b\r\n\r\n").await.unwrap();
        far
    });
    get(&mut connection);
    std::future::poll_fn(|cx| connection.poll_send(cx, &mut Empty::<Bytes>::new())).await.unwrap();
    let head = std::future::poll_fn(|cx| connection.poll_head(cx)).await.unwrap();
    assert!(matches!(head, ResponseEvent::Final(head) if head.status == 200));
    let mut frames = Vec::new();
    while let Some(frame) = std::future::poll_fn(|cx| connection.poll_frame(cx)).await {
        frames.push(frame.unwrap());
    }
    assert_eq!(frames[0].data_ref().unwrap(), "hello");
    assert_eq!(frames.last().unwrap().trailers_ref().unwrap()["x-a"], "b");

    drop(backend.await.unwrap());
    std::future::poll_fn(|cx| connection.poll_idle(cx)).await;
    assert!(!connection.is_reusable());
}

#[tokio::test]
async fn a_backend_that_is_gone() {
    let (near, far) = tokio::io::duplex(64);
    drop(far);
    let mut connection = Connection::new(near);
    get(&mut connection);
    let sent = std::future::poll_fn(|cx| connection.poll_send(cx, &mut Empty::<Bytes>::new())).await;
    assert!(matches!(sent, Err(SendError::Backend(Error::Write(_)))));
    assert_eq!(connection.bytes_sent(), 0);
    let head = std::future::poll_fn(|cx| connection.poll_head(cx)).await;
    assert!(matches!(head, Err(Error::ClosedBeforeHead)));
}
