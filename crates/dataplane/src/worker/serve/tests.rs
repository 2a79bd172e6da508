//! What takes minutes, on a clock of the test's: clients that read slowly, and not at all.

use tokio::io::{AsyncReadExt, DuplexStream, duplex};
use tokio::task::{JoinHandle, LocalSet, spawn_local};
use tokio::time::Instant;

use super::super::site::Site;
use super::*;

/// Always worth a try.
impl Parked for DuplexStream {
    fn poll_readable(&mut self, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// A client that asks without end, over a pipe that holds no more than an answer or two.
fn asking(site: &Site) -> (tokio::io::ReadHalf<DuplexStream>, JoinHandle<()>) {
    let (near, far) = duplex(1024);
    // As over TLS: then the protocol is known.
    let agreed = Tls { listener: 1, client: None, version: None, cipher: None, http2: false };
    let connection =
        connection(Rc::clone(site.worker()), Port::new(80), far, site.peer(), Some(agreed), site.counted());
    let served = spawn_local(connection);
    let (from, mut to) = tokio::io::split(near);
    spawn_local(async move { while to.write_all(b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n").await.is_ok() {} });
    (from, served)
}

#[tokio::test(start_paused = true)]
async fn a_client_that_reads_nothing_is_given_up_after_a_minute() {
    let test = async {
        let site = Site::new();
        let start = Instant::now();
        let (_from, served) = asking(&site);
        served.await.unwrap();
        let took = start.elapsed();
        assert!(took >= STALLED_WRITE && took < STALLED_WRITE + Duration::from_secs(1), "{took:?}");
        assert_eq!(site.refused("timeout"), 1);
    };
    LocalSet::new().run_until(test).await;
}

#[tokio::test(start_paused = true)]
async fn a_client_that_reads_slowly_is_not() {
    let test = async {
        let site = Site::new();
        let (mut from, served) = asking(&site);
        for _ in 0..30 {
            tokio::time::sleep(Duration::from_secs(5)).await;
            from.read_exact(&mut [0; 200]).await.unwrap();
        }
        assert_eq!(site.refused("timeout"), 0);
        assert!(!served.is_finished());
    };
    LocalSet::new().run_until(test).await;
}
