//! Properties, with hyper as the judge: its client must read the answers that we read, its server the requests that we
//! write. What we refuse it may accept, never the other way round.

use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request};
use http_body_util::{BodyExt, Empty, Full};
use hyper_util::rt::TokioIo;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use tokio::io::{AsyncWriteExt, DuplexStream};

use super::super::{BodyLength, Connection, RequestHead};
use super::script::{Script, answer, sent};

/// Status, headers without the ones about framing, body, trailers.
type Seen = (u16, HeaderMap, Vec<u8>, Option<HeaderMap>);

fn run<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let limit = Duration::from_secs(20);
    runtime.block_on(async { tokio::time::timeout(limit, future).await.expect("in time") })
}

fn without_framing(mut headers: HeaderMap) -> HeaderMap {
    headers.remove("content-length");
    headers.remove("transfer-encoding");
    headers
}

/// What our connection makes of an answer that comes in these pieces, after which the backend closes.
fn ours(raw: &[u8], cuts: &[usize], method: &Method) -> Option<Seen> {
    let (mut pieces, mut rest) = (Vec::new(), raw);
    for cut in cuts {
        let (piece, after) = rest.split_at((*cut).min(rest.len()));
        pieces.push(piece);
        rest = after;
    }
    pieces.push(rest);
    let answer = answer(&mut sent(Script::closing(pieces), method, false)).ok()?;
    Some((answer.head.status.as_u16(), without_framing(answer.head.headers), answer.body, answer.trailers))
}

/// What hyper's client makes of it.
fn theirs(raw: &[u8], method: &Method) -> Option<Seen> {
    run(async {
        let (near, mut far) = tokio::io::duplex(raw.len() + 1024);
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(near)).await.ok()?;
        tokio::spawn(connection);
        let request = Request::builder().method(method).uri("/").body(Empty::<Bytes>::new()).ok()?;
        let response = tokio::spawn(sender.send_request(request));
        // Only after the request: hyper's client refuses an answer that nobody asked for.
        tokio::io::AsyncReadExt::read(&mut far, &mut [0; 512]).await.ok()?;
        far.write_all(raw).await.ok()?;
        drop(far);
        let (head, body) = response.await.ok()?.ok()?.into_parts();
        let body = body.collect().await.ok()?;
        let trailers = body.trailers().cloned();
        Some((head.status.as_u16(), without_framing(head.headers), body.to_bytes().to_vec(), trailers))
    })
}

fn header_lines(prefix: &'static str) -> impl Strategy<Value = String> {
    vec(("[a-zA-Z0-9-]{0,12}", "([!-~]([ -~\t]{0,20}[!-~])?)?"), 0..6)
        .prop_map(move |lines| lines.iter().map(|(name, value)| format!("{prefix}{name}: {value}\r\n")).collect())
}

#[derive(Debug, Clone, Copy)]
enum Framing {
    Length,
    Chunked,
    UntilClose,
}

/// A valid answer: interim ones in front, any framing, chunks of any size with extensions, trailers.
fn response() -> impl Strategy<Value = Vec<u8>> {
    let chunk = (vec(any::<u8>(), 1..600), "(;[a-z]{1,5}(=\"[ -!#-~]{0,9}\")?)?", any::<bool>());
    (
        vec((select(vec![100, 102, 103, 150]), header_lines("x-")), 0..4),
        select(vec![200, 201, 204, 206, 304, 404, 500, 599]),
        header_lines("x-"),
        select(vec![Framing::Length, Framing::Chunked, Framing::UntilClose]),
        vec(chunk, 0..8),
        header_lines("t-"),
    )
        .prop_map(|(interim, status, headers, framing, chunks, trailers)| {
            let mut raw = Vec::new();
            for (status, headers) in interim {
                raw.extend_from_slice(format!("HTTP/1.1 {status} Some Reason\r\n{headers}\r\n").as_bytes());
            }
            raw.extend_from_slice(format!("HTTP/1.1 {status} Some Reason\r\n{headers}").as_bytes());
            let length: usize = chunks.iter().map(|(data, ..)| data.len()).sum();
            match framing {
                Framing::Length => raw.extend_from_slice(format!("Content-Length: {length}\r\n\r\n").as_bytes()),
                Framing::Chunked => raw.extend_from_slice(b"Transfer-Encoding: chunked\r\n\r\n"),
                Framing::UntilClose => raw.extend_from_slice(b"\r\n"),
            }
            for (data, extension, upper) in chunks {
                if matches!(framing, Framing::Chunked) {
                    let size = if upper { format!("{:X}", data.len()) } else { format!("{:03x}", data.len()) };
                    raw.extend_from_slice(format!("{size}{extension}\r\n").as_bytes());
                }
                raw.extend_from_slice(&data);
                if matches!(framing, Framing::Chunked) {
                    raw.extend_from_slice(b"\r\n");
                }
            }
            if matches!(framing, Framing::Chunked) {
                raw.extend_from_slice(format!("0\r\n{trailers}\r\n").as_bytes());
            }
            raw
        })
}

fn method() -> impl Strategy<Value = Method> {
    select(vec![Method::GET, Method::GET, Method::POST, Method::HEAD])
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn valid_answers_are_read_as_hyper_reads_them(
        raw in response(), cuts in vec(0..200_usize, 0..20), method in method(),
    ) {
        let ours = ours(&raw, &cuts, &method);
        prop_assert!(ours.is_some(), "refused: {}", raw.escape_ascii());
        prop_assert_eq!(ours, theirs(&raw, &method));
    }

    #[test]
    fn what_we_accept_hyper_accepts_alike(
        mut raw in response(), edits in vec((any::<prop::sample::Index>(), select(b" \r\n:;,0a\x00\xff".to_vec()), 0..3), 1..4),
    ) {
        for (at, byte, how) in edits {
            let at = at.index(raw.len().min(400));
            match how {
                0 => raw[at] = byte,
                1 => raw.insert(at, byte),
                _ => { raw.remove(at); }
            }
        }
        if let Some(ours) = ours(&raw, &[], &Method::GET) {
            prop_assert_eq!(Some(ours), theirs(&raw, &Method::GET), "{}", raw.escape_ascii());
        }
    }

    #[test]
    fn any_bytes_do_no_harm(raw in vec(any::<u8>(), 0..300), cuts in vec(0..20_usize, 0..9)) {
        ours(&raw, &cuts, &Method::GET);
        let chunked = [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", &raw[..]].concat();
        ours(&chunked, &cuts, &Method::GET);
        let headers = [b"HTTP/1.1 200 OK\r\n", &raw[..], b"\r\n\r\n"].concat();
        ours(&headers, &cuts, &Method::GET);
    }

    #[test]
    fn where_reads_end_makes_no_difference(raw in response(), cuts in vec(0..40_usize, 0..60)) {
        prop_assert_eq!(ours(&raw, &cuts, &Method::GET), ours(&raw, &[], &Method::GET));
    }

    #[test]
    fn requests_are_read_by_hyper_as_they_were_meant(
        method in select(vec![Method::GET, Method::POST, Method::DELETE, Method::PATCH]),
        target in "/[a-zA-Z0-9!$%&'()*+,./:;=?@_~-]{0,30}",
        lines in vec(("x-[a-z0-9-]{0,12}", "([!-~]([ -~]{0,20}[!-~])?)?"), 0..8),
        pieces in vec(vec(any::<u8>(), 0..3000), 0..6),
        (known, with_trailers) in any::<(bool, bool)>(),
        capacity in 1..5000_usize,
    ) {
        let headers: HeaderMap = lines.iter()
            .map(|(name, value)| (name.parse::<HeaderName>().unwrap(), HeaderValue::from_str(value).unwrap()))
            .collect();
        let sent = pieces.concat();
        let trailers: HeaderMap = [(HeaderName::from_static("x-sum"), HeaderValue::from_static("1"))].into_iter().collect();
        let length = if known { BodyLength::Known(sent.len() as u64) } else { BodyLength::Chunked };
        let frames = pieces.into_iter().map(|piece| http_body::Frame::data(Bytes::from(piece)));
        let frames = frames.chain(with_trailers.then(|| http_body::Frame::trailers(trailers.clone())));
        let frames: Vec<_> = frames.collect();
        let head = RequestHead { method: &method, target: target.as_bytes(), host: b"h:1", headers: &headers, upgrade: None, keep: &|_| true, extra: &|_| () };

        let (parts, body, got_trailers) = run(async {
            let (near, far) = tokio::io::duplex(capacity);
            let mut connection = Connection::new(near);
            connection.start(&head, length, false).unwrap();
            let server = tokio::spawn(serve_one(far));
            let mut body = Frames(frames.into_iter());
            poll_fn(|cx| connection.poll_send(cx, &mut body)).await.unwrap();
            poll_fn(|cx| connection.poll_head(cx)).await.unwrap();
            while let Some(frame) = poll_fn(|cx| connection.poll_frame(cx)).await {
                frame.unwrap();
            }
            assert!(connection.is_reusable());
            drop(connection);
            server.await.unwrap()
        });
        prop_assert_eq!((parts.method, parts.uri.to_string()), (method, target));
        let mut expected = headers;
        expected.insert("host", HeaderValue::from_static("h:1"));
        prop_assert_eq!(without_framing(parts.headers), expected);
        prop_assert_eq!(body, sent);
        prop_assert_eq!(got_trailers, (with_trailers && !known).then_some(trailers));
    }
}

/// A body whose frames are all there.
struct Frames<I>(I);

impl<I> http_body::Body for Frames<I>
where
    I: Iterator<Item = http_body::Frame<Bytes>> + Unpin,
{
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<I::Item, Infallible>>> {
        Poll::Ready(self.0.next().map(Ok))
    }
}

/// hyper's server on one connection: what it understood of the last request.
async fn serve_one(io: DuplexStream) -> (http::request::Parts, Vec<u8>, Option<HeaderMap>) {
    let seen = Arc::new(Mutex::new(None));
    let service = hyper::service::service_fn(|request: Request<hyper::body::Incoming>| {
        let seen = seen.clone();
        async move {
            let (parts, body) = request.into_parts();
            let body = body.collect().await.unwrap();
            let trailers = body.trailers().cloned();
            *seen.lock().unwrap() = Some((parts, body.to_bytes().to_vec(), trailers));
            Ok::<_, Infallible>(http::Response::new(Full::<Bytes>::from("done")))
        }
    });
    hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(io), service).await.unwrap();
    seen.lock().unwrap().take().expect("a request came")
}
