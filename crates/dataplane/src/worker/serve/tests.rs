//! What takes minutes, on a clock of the test's: clients that stay away, read slowly, and not at all.

use penstock_testkit::TlsClient;
use tokio::io::{AsyncBufRead, AsyncReadExt, BufReader, DuplexStream, duplex};
use tokio::task::{JoinHandle, LocalSet, spawn_local};
use tokio::time::Instant;

use super::super::site::Site;
use super::*;
use crate::tls::stream_tests::{CA, pair};

/// Always worth a try.
impl Parked for DuplexStream {
    fn poll_readable(&mut self, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// Worth a try when something is there.
impl Parked for BufReader<DuplexStream> {
    fn poll_readable(&mut self, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(self).poll_fill_buf(cx).map_ok(|_| ())
    }
}

/// Serves the other end of a client's stream.
fn serve(site: &Site, stream: impl Parked) -> JoinHandle<()> {
    // As over TLS: then the protocol is known.
    let agreed = Tls { listener: 1, client: None, version: None, cipher: None, http2: false };
    spawn_local(connection(Rc::clone(site.worker()), Port::new(80), stream, site.peer(), Some(agreed), site.counted()))
}

/// The client's side of a connection on which it asks without end.
fn asking(client: DuplexStream) -> tokio::io::ReadHalf<DuplexStream> {
    let (from, mut to) = tokio::io::split(client);
    spawn_local(async move { while to.write_all(b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n").await.is_ok() {} });
    from
}

async fn is_given_up(site: &Site, _from: impl AsyncRead, served: JoinHandle<()>) {
    let start = Instant::now();
    tokio::time::timeout(STALLED_WRITE * 10, served).await.expect("an end").unwrap();
    let took = start.elapsed();
    assert!(took >= STALLED_WRITE && took < STALLED_WRITE + Duration::from_secs(1), "{took:?}");
    assert_eq!(site.refused("timeout"), 1);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_reads_nothing_is_given_up_after_a_minute() {
    let test = async {
        let site = Site::new();
        let (near, far) = duplex(1024);
        is_given_up(&site, asking(near), serve(&site, far)).await;
    };
    LocalSet::new().run_until(test).await;
}

#[tokio::test(start_paused = true)]
async fn so_is_one_over_tls_for_which_all_is_encrypted_and_waits() {
    let test = async {
        let site = Site::new();
        let (mut client, server) = pair(100, &TlsClient::new(&CA)).await;
        let served = serve(&site, server);
        client.write_all(b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n").await.unwrap();
        client.flush().await.unwrap();
        is_given_up(&site, client, served).await;
    };
    LocalSet::new().run_until(test).await;
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_ends_75_seconds_after_its_last_request() {
    let test = async {
        let site = Site::new();
        let (mut near, far) = duplex(1024);
        let served = serve(&site, BufReader::new(far));
        let mut asked = Instant::now();
        // It begins anew with each request.
        for pause in [60, 60, 0] {
            near.write_all(b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n").await.unwrap();
            assert!(near.read(&mut [0; 1024]).await.unwrap() > 0, "an answer");
            asked = Instant::now();
            tokio::time::sleep(Duration::from_secs(pause)).await;
        }
        assert_eq!(near.read(&mut [0; 1]).await.unwrap(), 0, "the end");
        let took = asked.elapsed().as_secs();
        assert!((75..=76).contains(&took), "{took} s");
        served.await.unwrap();
        assert_eq!(site.refused("timeout"), 0, "nothing was refused");
    };
    LocalSet::new().run_until(test).await;
}

#[tokio::test(start_paused = true)]
async fn the_end_of_an_idle_connection_waits_for_no_client() {
    let test = async {
        let site = Site::new();
        // Its tickets do not fit into the pipe.
        let (_client, server) = pair(100, &TlsClient::new(&CA)).await;
        let end = tokio::time::timeout(Duration::from_secs(75 + 10), serve(&site, server)).await;
        end.expect("an end").unwrap();
    };
    LocalSet::new().run_until(test).await;
}

/// Takes so many bytes every five seconds.
async fn is_not(site: &Site, bytes: usize, mut from: impl AsyncRead + Unpin, served: JoinHandle<()>) {
    for _ in 0..30 {
        tokio::time::sleep(Duration::from_secs(5)).await;
        from.read_exact(&mut vec![0; bytes]).await.unwrap();
    }
    assert_eq!(site.refused("timeout"), 0);
    assert!(!served.is_finished());
}

#[tokio::test(start_paused = true)]
async fn a_client_that_reads_slowly_is_not() {
    let test = async {
        let site = Site::new();
        // No more than an answer or two fits in.
        let (near, far) = duplex(1024);
        is_not(&site, 200, asking(near), serve(&site, far)).await;
    };
    LocalSet::new().run_until(test).await;
}

#[tokio::test(start_paused = true)]
async fn nor_is_one_over_tls_while_it_takes_what_is_encrypted() {
    let test = async {
        let site = Site::new();
        let (mut client, server) = pair(100, &TlsClient::new(&CA)).await;
        let served = serve(&site, server);
        client.write_all(b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n").await.unwrap();
        client.flush().await.unwrap();
        // Tickets and one answer: no write waits, and the flush does for all of the time.
        is_not(&site, 20, client.into_inner().0, served).await;
    };
    LocalSet::new().run_until(test).await;
}
