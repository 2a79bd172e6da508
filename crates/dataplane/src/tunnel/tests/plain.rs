//! Bytes: order, leftovers, half-close, blocked writers, fairness, resets, size.

use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use tokio::io::{AsyncWriteExt, BufWriter, ReadBuf, duplex};

use super::*;
use crate::tunnel::{CloseReason, Leaving};

#[tokio::test]
async fn leftovers_go_first_and_half_close_is_passed_on_from_the_client() {
    local(async {
        let mut pipes = Pipes::with_leftovers(Limits::default(), 8, b"hello backend, ", b"hello client, ");
        let (mut client_read, mut client_write) = tokio::io::split(pipes.client);
        let write = spawn_local(async move {
            client_write.write_all(b"and more").await.unwrap();
            client_write.shutdown().await.unwrap();
            client_write
        });
        assert_eq!(rest(&mut pipes.backend).await, b"hello backend, and more");
        let answer = spawn_local(async move {
            pipes.backend.write_all(b"still here").await.unwrap();
            pipes.backend.shutdown().await.unwrap();
        });
        assert_eq!(rest(&mut client_read).await, b"hello client, still here");
        let closed = within(pipes.task).await.unwrap();
        assert_eq!(closed, Closed { reason: CloseReason::Client, from_client: 23, from_backend: 24 });
        drop((write.await, answer.await));
    })
    .await;
}

#[tokio::test]
async fn half_close_is_passed_on_from_the_backend() {
    local(async {
        let (mut client, near_client) = tcp().await;
        let (mut backend, near_backend) = tcp().await;
        let (task, control) = spawn(near_client, near_backend, Limits::default(), b"", b"");
        backend.write_all(b"bye").await.unwrap();
        backend.shutdown().await.unwrap();
        assert_eq!(rest(&mut client).await, b"bye");
        client.write_all(b"not yet").await.unwrap();
        assert_eq!(take(&mut backend, 7).await, b"not yet");
        assert_eq!((control.from_client(), control.from_backend()), (7, 3));
        client.shutdown().await.unwrap();
        assert_eq!(rest(&mut backend).await, b"");
        assert_eq!(within(task).await.unwrap().reason, CloseReason::Backend);
    })
    .await;
}

#[tokio::test]
async fn much_data_both_ways_at_once_arrives_whole() {
    local(async {
        let (client, near_client) = tcp().await;
        let (backend, near_backend) = tcp().await;
        let (task, _) = spawn(near_client, near_backend, Limits::default(), b"", b"");
        let data: Rc<Vec<u8>> = Rc::new((0..8_000_000u32).map(|i| (i ^ i >> 8 ^ i >> 16) as u8).collect());
        let ends = [client, backend].map(|end| {
            let data = Rc::clone(&data);
            spawn_local(async move {
                let (mut read, mut write) = end.into_split();
                let send = async {
                    write.write_all(&data).await.unwrap();
                    write.shutdown().await.unwrap();
                };
                let ((), got) = tokio::join!(send, rest(&mut read));
                assert!(got == *data);
            })
        });
        for end in ends {
            within(end).await.unwrap();
        }
        let closed = within(task).await.unwrap();
        assert_eq!((closed.from_client, closed.from_backend), (8_000_000, 8_000_000));
    })
    .await;
}

#[tokio::test]
async fn a_blocked_writer_stops_the_reader_and_loses_nothing() {
    local(async {
        let (mut client, near_client) = duplex(100_000);
        let (mut backend, near_backend) = duplex(16);
        let (_task, control) = spawn(near_client, near_backend, Limits::default(), b"", b"");
        let data: Vec<u8> = (0..200_000u32).map(|i| (i * 7) as u8).collect();
        let sent = data.clone();
        let send = spawn_local(async move {
            client.write_all(&sent).await.unwrap();
            client
        });
        within(async {
            while control.from_client() < 16 {
                tokio::task::yield_now().await;
            }
        })
        .await;
        assert_eq!(control.from_client(), 16);
        assert!(!send.is_finished());
        assert!(take(&mut backend, data.len()).await == data);
        drop(send.await);
    })
    .await;
}

#[tokio::test]
async fn what_a_side_buffers_is_flushed() {
    local(async {
        let (mut client, near_client) = duplex(1000);
        let (mut backend, near_backend) = duplex(1000);
        let (_task, _) = spawn(BufWriter::new(near_client), BufWriter::new(near_backend), Limits::default(), b"", b"");
        client.write_all(b"up").await.unwrap();
        assert_eq!(take(&mut backend, 2).await, b"up");
        backend.write_all(b"down").await.unwrap();
        assert_eq!(take(&mut client, 4).await, b"down");
    })
    .await;
}

/// Gives and takes without end.
struct Endless;

impl AsyncRead for Endless {
    fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        buffer.put_slice(&[7; 1024]);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Endless {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(bytes.len()))
    }
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[derive(Default)]
struct Wakes(AtomicU32);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[tokio::test]
async fn a_fast_pair_does_bounded_work_and_asks_to_go_on() {
    let wakes = Arc::new(Wakes::default());
    let waker = Waker::from(Arc::clone(&wakes));
    let control = Control::new();
    let mut relay = Relay::new(Endless, Endless, Bytes::new(), Bytes::new(), &Limits::default(), control.clone());
    for turn in 1..4 {
        assert!(Pin::new(&mut relay).poll(&mut Context::from_waker(&waker)).is_pending());
        assert_eq!(control.from_client(), u64::from(turn) * 16 * 1024);
        assert_eq!(wakes.0.load(Ordering::Relaxed), turn);
    }
    control.cut(CloseReason::Drain(Leaving::Process));
    let over = Pin::new(&mut relay).poll(&mut Context::from_waker(&waker));
    assert!(matches!(over, Poll::Ready(Closed { reason: CloseReason::Drain(Leaving::Process), .. })));
}

#[tokio::test]
async fn a_reset_ends_both_sides_and_is_put_down_to_its_side() {
    local(async {
        for reason in [CloseReason::Client, CloseReason::Backend] {
            let (client, near_client) = tcp().await;
            let (backend, near_backend) = tcp().await;
            let (task, _) = spawn(near_client, near_backend, Limits::default(), b"", b"");
            let (bad, mut good) = if reason == CloseReason::Client { (client, backend) } else { (backend, client) };
            bad.set_zero_linger().unwrap();
            drop(bad);
            assert_eq!(rest(&mut good).await, b"");
            assert_eq!(within(task).await.unwrap().reason, reason);
        }
    })
    .await;
}

#[tokio::test]
async fn what_is_no_websocket_is_just_closed() {
    local(async {
        let mut pipes = Pipes::new(Limits::default(), 100);
        pipes.client.write_all(b"\x82\x80").await.unwrap();
        assert_eq!(take(&mut pipes.backend, 2).await, b"\x82\x80");
        pipes.control.close(CloseReason::Drain(Leaving::Process));
        assert_eq!(rest(&mut pipes.backend).await, b"");
        assert_eq!(rest(&mut pipes.client).await, b"");
        assert_eq!(within(pipes.task).await.unwrap().reason, CloseReason::Drain(Leaving::Process));
    })
    .await;
}

#[test]
fn runs_on_a_local_runtime() {
    use tokio::runtime::{Builder, LocalOptions};
    let runtime = Builder::new_current_thread().enable_all().build_local(LocalOptions::default()).unwrap();
    runtime.block_on(async {
        let limits = Limits { idle: Some(Duration::from_millis(200)), ..Limits::default() };
        let mut pipes = Pipes::new(limits, 100);
        assert_eq!(rest(&mut pipes.client).await, b"");
        assert_eq!(within(pipes.task).await.unwrap().reason, CloseReason::Idle);
    });
}

#[tokio::test]
async fn an_idle_tunnel_is_small() {
    let (client, backend) = (tcp().await.0, tcp().await.0);
    let limits = Limits { websocket: true, ..Limits::default() };
    let relay = Relay::new(client, backend, Bytes::new(), Bytes::new(), &limits, Control::new());
    println!("relay of two TcpStreams: {} bytes", size_of_val(&relay));
    assert!(size_of_val(&relay) <= 300);
}
