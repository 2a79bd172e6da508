//! What takes minutes, on a clock of the test's: clients that stand still.

use std::future::poll_fn;

use h2::client::{Builder as Client, SendRequest};
use http::Request;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::task::{JoinHandle, LocalSet, spawn_local};
use tokio::time::Instant;

use super::super::site::Site;
use super::*;

impl Site {
    /// Serves the other end of the result.
    fn connection(&self, buffer: usize) -> (DuplexStream, JoinHandle<()>) {
        self.connection_of(Downstream::new(self.worker(), 80, self.peer(), None), buffer)
    }

    fn connection_of(&self, downstream: Rc<Downstream>, buffer: usize) -> (DuplexStream, JoinHandle<()>) {
        let (near, far) = duplex(buffer);
        (near, spawn_local(connection(downstream, Port::new(80), far, Bytes::new(), self.counted())))
    }
}

/// A client with these settings.
async fn client(stream: DuplexStream, settings: &Client) -> SendRequest<Bytes> {
    let (requests, connection) = settings.handshake(stream).await.unwrap();
    spawn_local(connection);
    requests
}

/// The status of a GET, and its body, not read.
async fn get(requests: &mut SendRequest<Bytes>) -> (u16, h2::RecvStream) {
    poll_fn(|cx| requests.poll_ready(cx)).await.unwrap();
    let request = Request::get("http://a.example/").body(()).unwrap();
    let answer = requests.send_request(request, true).unwrap().0.await.unwrap();
    (answer.status().as_u16(), answer.into_body())
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_ends_after_three_minutes() {
    let test = async {
        let site = Site::new();
        let (stream, served) = site.connection(64 * 1024);
        let start = Instant::now();
        let mut requests = client(stream, &Client::new()).await;
        assert_eq!(get(&mut requests).await.0, 404);
        served.await.unwrap();
        let took = start.elapsed();
        assert!(took >= IDLE && took < IDLE + LINGER + Duration::from_secs(1), "{took:?}");
        assert_eq!(site.refused("slow_reader"), 0);
    };
    LocalSet::new().run_until(test).await;
}

#[tokio::test(start_paused = true)]
async fn a_client_that_lets_nothing_in_is_given_up_after_a_minute() {
    let test = async {
        let site = Site::new();
        let (stream, served) = site.connection(64 * 1024);
        let start = Instant::now();
        let mut requests = client(stream, Client::new().initial_window_size(0)).await;
        let (status, _body) = get(&mut requests).await;
        assert_eq!(status, 404);
        served.await.unwrap();
        let took = start.elapsed();
        assert!(took >= STALLED_WRITE && took < STALLED_WRITE + LINGER + Duration::from_secs(1), "{took:?}");
        assert_eq!(site.refused("slow_reader"), 1);
    };
    LocalSet::new().run_until(test).await;
}

#[tokio::test(start_paused = true)]
async fn one_stream_that_stands_still_ends_alone() {
    let test = async {
        let site = Site::new();
        let (stream, served) = site.connection(64 * 1024);
        let mut requests = client(stream, Client::new().initial_window_size(10)).await;
        let (_, mut still) = get(&mut requests).await;
        for _ in 0..14 {
            tokio::time::sleep(Duration::from_secs(5)).await;
            let (status, mut body) = get(&mut requests).await;
            assert_eq!(status, 404);
            while let Some(piece) = body.data().await {
                body.flow_control().release_capacity(piece.unwrap().len()).unwrap();
            }
        }
        assert_eq!(site.refused("slow_reader"), 1);
        while let Some(Ok(_)) = still.data().await {}
        assert!(!served.is_finished());
    };
    LocalSet::new().run_until(test).await;
}

#[tokio::test(start_paused = true)]
async fn a_quiet_stream_outlives_one_that_stands_still() {
    let test = async {
        let site = Site::new();
        let downstream = Downstream::new(site.worker(), 80, site.peer(), None);
        let (stream, served) = site.connection_of(Rc::clone(&downstream), 64 * 1024);
        let mut requests = client(stream, Client::new().initial_window_size(10)).await;
        assert_eq!(get(&mut requests).await.0, 404);
        // What a WebSocket has of its connection. Nothing moves on it, which is a matter of its own timeout.
        let websocket = Guard::new(&downstream);
        let (_, mut still) = get(&mut requests).await;
        while let Some(Ok(_)) = still.data().await {}
        assert_eq!(site.refused("slow_reader"), 1);
        tokio::time::sleep(2 * IDLE).await;
        assert!(!served.is_finished(), "the WebSocket was cut");
        // On the connection that is left other streams go on.
        assert_eq!(get(&mut requests).await.0, 404);
        drop(websocket);
        served.await.unwrap();
    };
    LocalSet::new().run_until(test).await;
}

#[tokio::test(start_paused = true)]
async fn a_client_that_reads_nothing_is_given_up_after_a_minute() {
    let test = async {
        let site = Site::new();
        let (mut stream, served) = site.connection(1024);
        let start = Instant::now();
        stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
        // Its pings are to be answered, and there is room for 60 answers.
        let ping = [&b"\0\0\x08\x06\0\0\0\0\0"[..], &[0; 8]].concat();
        let flood = spawn_local(async move {
            while stream.write_all(&ping).await.is_ok() {}
            stream
        });
        served.await.unwrap();
        let took = start.elapsed();
        assert!(took >= STALLED_WRITE && took < STALLED_WRITE + Duration::from_secs(1), "{took:?}");
        assert_eq!(site.refused("slow_reader"), 1);
        flood.await.unwrap();
    };
    LocalSet::new().run_until(test).await;
}

#[tokio::test(start_paused = true)]
async fn a_client_that_reads_slowly_is_not_given_up() {
    let test = async {
        let site = Site::new();
        let (mut stream, served) = site.connection(1024);
        stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
        let ping = [&b"\0\0\x08\x06\0\0\0\0\0"[..], &[0; 8]].concat();
        let (mut from, mut to) = tokio::io::split(stream);
        let flood = spawn_local(async move { while to.write_all(&ping).await.is_ok() {} });
        // There is always more for it than it takes.
        for _ in 0..30 {
            tokio::time::sleep(Duration::from_secs(5)).await;
            from.read_exact(&mut [0; 200]).await.unwrap();
        }
        assert_eq!(site.refused("slow_reader"), 0);
        assert!(!served.is_finished());
        flood.abort();
    };
    LocalSet::new().run_until(test).await;
}
