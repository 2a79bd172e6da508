//! WebSockets: who said Close first, and a Close of ours between two frames, read by another implementation.

use futures_util::{SinkExt, StreamExt};
use tokio::io::AsyncWriteExt;
use tokio::time::Instant;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{CloseCode, Data, OpCode};
use tokio_tungstenite::tungstenite::protocol::{Role, frame::Frame};
use tokio_tungstenite::tungstenite::{Error, Message};

use super::*;
use crate::tunnel::frames::{Sender, going_away};
use crate::tunnel::{CloseReason, Leaving};

const WEBSOCKET: Limits = Limits { idle: None, duration: None, websocket: true };

async fn sockets() -> (WebSocketStream<TcpStream>, WebSocketStream<TcpStream>, JoinHandle<Closed>, Control) {
    let (client, near_client) = tcp().await;
    let (backend, near_backend) = tcp().await;
    let (task, control) = spawn(near_client, near_backend, WEBSOCKET, b"", b"");
    let client = WebSocketStream::from_raw_socket(client, Role::Client, None).await;
    let backend = WebSocketStream::from_raw_socket(backend, Role::Server, None).await;
    (client, backend, task, control)
}

#[tokio::test]
async fn echo_and_a_close_from_either_side() {
    local(async {
        for reason in [CloseReason::Client, CloseReason::Backend] {
            let (mut client, mut backend, task, _) = sockets().await;
            let echo = spawn_local(async move {
                while let Some(Ok(message)) = backend.next().await {
                    match message {
                        Message::Text(text) if text.as_str() == "close" => backend.close(None).await.unwrap(),
                        Message::Text(_) | Message::Binary(_) => backend.send(message).await.unwrap(),
                        _ => {}
                    }
                }
            });
            for size in [0, 1, 125, 126, 65_535, 65_536, 1_000_000] {
                let message = Message::binary(vec![0x5a; size]);
                client.send(message.clone()).await.unwrap();
                assert!(within(client.next()).await.unwrap().unwrap() == message, "{size} bytes");
            }
            if reason == CloseReason::Client {
                client.close(None).await.unwrap();
            } else {
                client.send(Message::text("close")).await.unwrap();
            }
            while within(client.next()).await.is_some_and(|message| message.is_ok()) {}
            drop(client);
            assert_eq!(within(task).await.unwrap().reason, reason);
            echo.await.unwrap();
        }
    })
    .await;
}

/// Sends fragmented messages with pings between the fragments until it may no more, and reads whatever comes until the end.
/// Returns the code of the Close and how many whole messages came.
async fn talk(socket: WebSocketStream<TcpStream>) -> (Option<CloseCode>, usize) {
    let (mut send, mut receive) = socket.split();
    let writer = spawn_local(async move {
        let frame = |last, code, size| Message::Frame(Frame::message(vec![b'x'; size], OpCode::Data(code), last));
        for turn in 0usize.. {
            let sizes = [turn % 200, turn * 37 % 3000, 70_000 * usize::from(turn % 50 == 0)];
            for message in [
                frame(false, Data::Text, sizes[0]),
                Message::Ping(vec![1; turn % 126].into()),
                frame(false, Data::Continue, sizes[1]),
                frame(true, Data::Continue, sizes[2]),
            ] {
                if send.send(message).await.is_err() {
                    return;
                }
            }
        }
    });
    let (mut code, mut messages) = (None, 0);
    loop {
        match within(receive.next()).await {
            Some(Ok(Message::Close(frame))) => code = frame.map(|frame| frame.code),
            Some(Ok(Message::Text(text))) => {
                assert!(text.bytes().all(|byte| byte == b'x'));
                messages += 1;
            }
            Some(Ok(_)) => {}
            None | Some(Err(Error::ConnectionClosed | Error::AlreadyClosed | Error::Io(_))) => break,
            Some(Err(error)) => panic!("not valid frames: {error}"),
        }
    }
    writer.abort();
    (code, messages)
}

#[tokio::test]
async fn a_drain_puts_1001_between_frames_under_traffic_both_ways() {
    local(async {
        for kilobytes in [1, 300, 1_111, 2_000] {
            let (client, backend, task, control) = sockets().await;
            let (client, backend) = (spawn_local(talk(client)), spawn_local(talk(backend)));
            within(async {
                while control.from_client().min(control.from_backend()) < kilobytes * 1000 {
                    tokio::task::yield_now().await;
                }
            })
            .await;
            let start = Instant::now();
            control.close(CloseReason::Drain(Leaving::Process));
            let closed = within(task).await.unwrap();
            assert_eq!(closed.reason, CloseReason::Drain(Leaving::Process));
            for end in [client, backend] {
                let (code, messages) = within(end).await.unwrap();
                assert_eq!(code, Some(CloseCode::Away));
                assert!(messages > 0 || kilobytes == 1);
            }
            assert!(start.elapsed() < Duration::from_secs(4));
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn each_direction_waits_for_its_own_boundary() {
    local(async {
        let mut pipes = Pipes::with_leftovers(WEBSOCKET, 100, &[0x82, 0x85, 1], &[0x01]);
        assert_eq!(take(&mut pipes.backend, 3).await, [0x82, 0x85, 1]);
        assert_eq!(take(&mut pipes.client, 1).await, [0x01]);
        pipes.control.close(CloseReason::Drain(Leaving::Process));
        // The second frame of each comes too late and is not relayed.
        pipes.backend.write_all(&[3, b'a', b'b', b'c', 0x80, 0]).await.unwrap();
        let expected = [&[3, b'a', b'b', b'c'], going_away(Sender::Server)].concat();
        assert_eq!(take(&mut pipes.client, expected.len()).await, expected);
        pipes.client.write_all(&[2, 3, 4, 5, 6, 7, 8, 9, 0x89, 0x80, 1, 1, 1, 1]).await.unwrap();
        let expected = [&[2, 3, 4, 5, 6, 7, 8, 9], going_away(Sender::Client)].concat();
        assert_eq!(take(&mut pipes.backend, expected.len()).await, expected);
        // Both answer: over at once.
        let start = Instant::now();
        pipes.client.write_all(going_away(Sender::Client)).await.unwrap();
        pipes.backend.write_all(going_away(Sender::Server)).await.unwrap();
        assert_eq!(rest(&mut pipes.client).await, b"");
        assert_eq!(rest(&mut pipes.backend).await, b"");
        let closed = pipes.task.await.unwrap();
        assert_eq!(closed, Closed { reason: CloseReason::Drain(Leaving::Process), from_client: 11, from_backend: 5 });
        assert!(start.elapsed() < Duration::from_millis(500));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_close_on_its_way_is_not_followed_by_another() {
    local(async {
        let close = going_away(Sender::Client);
        let mut pipes = Pipes::new(WEBSOCKET, 100);
        pipes.client.write_all(&close[..5]).await.unwrap();
        assert_eq!(take(&mut pipes.backend, 5).await, &close[..5]);
        pipes.control.close(CloseReason::Drain(Leaving::Process));
        pipes.client.write_all(&close[5..]).await.unwrap();
        assert_eq!(take(&mut pipes.backend, 3).await, &close[5..]);
        assert_eq!(take(&mut pipes.client, 4).await, going_away(Sender::Server));
        pipes.backend.write_all(going_away(Sender::Server)).await.unwrap();
        assert_eq!(rest(&mut pipes.backend).await, b"");
        assert_eq!(rest(&mut pipes.client).await, b"");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn no_answer_or_no_boundary_ends_after_two_seconds() {
    local(async {
        for first in [&b""[..], &[0x82, 0x7e, 1, 0, 7]] {
            let start = Instant::now();
            let mut pipes = Pipes::with_leftovers(WEBSOCKET, 100, b"", first);
            assert_eq!(take(&mut pipes.client, first.len()).await, first);
            pipes.control.close(CloseReason::Drain(Leaving::Process));
            let expected = if first.is_empty() { going_away(Sender::Server) } else { b"" };
            assert_eq!(rest(&mut pipes.client).await, expected);
            assert_eq!(rest(&mut pipes.backend).await, going_away(Sender::Client));
            assert_eq!(pipes.task.await.unwrap().reason, CloseReason::Drain(Leaving::Process));
            assert!(start.elapsed() >= Duration::from_secs(2) && start.elapsed() < Duration::from_millis(2300));
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn bytes_that_are_no_frames_are_relayed_and_then_just_closed() {
    local(async {
        let start = Instant::now();
        let mut pipes = Pipes::new(WEBSOCKET, 100);
        pipes.backend.write_all(b"no frames").await.unwrap();
        assert_eq!(take(&mut pipes.client, 9).await, b"no frames");
        pipes.control.close(CloseReason::Drain(Leaving::Process));
        assert_eq!(rest(&mut pipes.client).await, b"");
        assert_eq!(pipes.task.await.unwrap().reason, CloseReason::Drain(Leaving::Process));
        assert!(start.elapsed() < Duration::from_secs(1));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn two_closes_and_no_fin_end_it_too() {
    local(async {
        let start = Instant::now();
        let mut pipes = Pipes::new(WEBSOCKET, 100);
        pipes.backend.write_all(going_away(Sender::Server)).await.unwrap();
        assert_eq!(take(&mut pipes.client, 4).await, going_away(Sender::Server));
        pipes.client.write_all(going_away(Sender::Client)).await.unwrap();
        assert_eq!(pipes.task.await.unwrap().reason, CloseReason::Backend);
        assert!(start.elapsed() < Duration::from_secs(3));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn the_maximum_duration_says_close() {
    local(async {
        let mut pipes = Pipes::new(Limits { duration: Some(Duration::from_secs(5)), ..WEBSOCKET }, 100);
        assert_eq!(rest(&mut pipes.client).await, going_away(Sender::Server));
        assert_eq!(rest(&mut pipes.backend).await, going_away(Sender::Client));
        assert_eq!(pipes.task.await.unwrap().reason, CloseReason::Duration);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn an_answer_in_the_bytes_behind_the_boundary_is_seen() {
    local(async {
        let mut pipes = Pipes::with_leftovers(WEBSOCKET, 100, &[0x82, 0x81, 1], &[0x82, 2, 1]);
        assert_eq!(take(&mut pipes.backend, 3).await, [0x82, 0x81, 1]);
        assert_eq!(take(&mut pipes.client, 3).await, [0x82, 2, 1]);
        pipes.control.close(CloseReason::Drain(Leaving::Process));
        let start = Instant::now();
        pipes.client.write_all(&[&[2, 3, 4, 5], going_away(Sender::Client)].concat()).await.unwrap();
        pipes.backend.write_all(&[&[2, 0x82, 0], going_away(Sender::Server)].concat()).await.unwrap();
        assert_eq!(rest(&mut pipes.backend).await, [&[2, 3, 4, 5], going_away(Sender::Client)].concat());
        assert_eq!(rest(&mut pipes.client).await, [&[2], going_away(Sender::Server)].concat());
        assert!(start.elapsed() < Duration::from_millis(500));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn frames_that_break_while_a_close_waits_end_it_at_once() {
    local(async {
        let mut pipes = Pipes::with_leftovers(WEBSOCKET, 100, &[0x82], b"");
        assert_eq!(take(&mut pipes.backend, 1).await, [0x82]);
        pipes.control.close(CloseReason::Drain(Leaving::Process));
        assert_eq!(take(&mut pipes.client, 4).await, going_away(Sender::Server));
        let start = Instant::now();
        pipes.client.write_all(&[0x01, b'x']).await.unwrap();
        assert_eq!(pipes.task.await.unwrap().reason, CloseReason::Drain(Leaving::Process));
        assert!(start.elapsed() < Duration::from_millis(500));
    })
    .await;
}
