//! The ends that time brings, with paused time.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncWrite, AsyncWriteExt, duplex};
use tokio::time::Instant;

use super::*;
use crate::tunnel::CloseReason;

/// How long until the tunnel was over, and why.
async fn end(task: JoinHandle<Closed>, start: Instant) -> (CloseReason, Duration) {
    let closed = task.await.unwrap();
    (closed.reason, start.elapsed())
}

fn assert_about(took: Duration, expected: Duration) {
    assert!(took >= expected && took <= expected + 3 * crate::timer::TICK, "{took:?}, not {expected:?}");
}

#[tokio::test(start_paused = true)]
async fn idle_fires_and_no_close_frame_is_sent() {
    local(async {
        let limits = Limits { idle: Some(Duration::from_secs(3600)), websocket: true, ..Limits::default() };
        let start = Instant::now();
        let mut pipes = Pipes::new(limits, 100);
        let (reason, took) = end(pipes.task, start).await;
        assert_eq!(reason, CloseReason::Idle);
        assert_about(took, Duration::from_secs(3600));
        assert_eq!(rest(&mut pipes.client).await, b"");
        assert_eq!(rest(&mut pipes.backend).await, b"");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn traffic_either_way_postpones_idle() {
    local(async {
        let limits = Limits { idle: Some(Duration::from_secs(10)), ..Limits::default() };
        let mut pipes = Pipes::new(limits, 100);
        for turn in 0..6 {
            tokio::time::sleep(Duration::from_millis(9_850)).await;
            let (from, to) = if turn % 2 == 0 {
                (&mut pipes.client, &mut pipes.backend)
            } else {
                (&mut pipes.backend, &mut pipes.client)
            };
            from.write_all(b"x").await.unwrap();
            assert_eq!(take(to, 1).await, b"x");
        }
        let (reason, took) = end(pipes.task, Instant::now()).await;
        assert_eq!(reason, CloseReason::Idle);
        assert_about(took, Duration::from_secs(10));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn the_maximum_duration_holds_under_traffic() {
    local(async {
        let limits = Limits {
            idle: Some(Duration::from_secs(10)),
            duration: Some(Duration::from_secs(25)),
            ..Limits::default()
        };
        let start = Instant::now();
        let mut pipes = Pipes::new(limits, 100);
        let traffic = spawn_local(async move {
            while pipes.client.write_all(b"x").await.is_ok() {
                if tokio::io::AsyncReadExt::read(&mut pipes.backend, &mut [0; 10]).await.unwrap() == 0 {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(330)).await;
            }
        });
        let (reason, took) = end(pipes.task, start).await;
        assert_eq!(reason, CloseReason::Duration);
        assert_about(took, Duration::from_secs(25));
        traffic.await.unwrap();
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_side_that_takes_nothing_for_a_minute_is_let_go() {
    local(async {
        let limits = Limits { idle: Some(Duration::from_secs(3600)), ..Limits::default() };
        let start = Instant::now();
        let mut pipes = Pipes::new(limits, 16);
        pipes.backend.write_all(&[1; 40]).await.unwrap();
        // Taking some starts the minute anew.
        tokio::time::sleep(Duration::from_secs(50)).await;
        assert_eq!(take(&mut pipes.client, 4).await, [1; 4]);
        let (reason, took) = end(pipes.task, start).await;
        assert_eq!(reason, CloseReason::Error);
        assert_about(took, Duration::from_secs(110));
    })
    .await;
}

/// Takes nothing because its peer is gone.
struct Gone;

impl AsyncWrite for Gone {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, _: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()))
    }
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Err(io::ErrorKind::NotConnected.into()))
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_dead_side_said_last_is_passed_on_for_two_seconds() {
    local(async {
        let (mut client, near_client) = duplex(100);
        let (mut backend, near_backend) = duplex(100);
        let (task, _) = spawn(near_client, tokio::io::join(near_backend, Gone), Limits::default(), b"", b"");
        let start = Instant::now();
        client.write_all(b"lost").await.unwrap();
        tokio::time::sleep(Duration::from_secs(1)).await;
        backend.write_all(b"last words").await.unwrap();
        assert_eq!(rest(&mut client).await, b"last words");
        let (reason, took) = end(task, start).await;
        assert_eq!(reason, CloseReason::Backend);
        assert_about(took, Duration::from_secs(2));
    })
    .await;
}
