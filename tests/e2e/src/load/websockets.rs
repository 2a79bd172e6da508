//! WebSockets that exchange messages, and a verdict on each one's end.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use penstock_testkit::WebSocket;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval, interval_at, timeout};
use tokio_tungstenite::tungstenite::Message;

use super::report::Tally;
use super::{Departures, Plan, stopped};

/// How long the rest of a closing handshake may take.
const CLOSING: Duration = Duration::from_secs(10);

/// The Close that a drain sends: going away (RFC 6455 section 7.4.1).
const GOING_AWAY: u16 = 1001;

/// An open WebSocket and the Pods that it goes through.
struct Open {
    socket: WebSocket,
    pod: String,
    gateway: String,
}

/// How a WebSocket ended.
enum End {
    Stopped,
    Close(u16),
    Broken(anyhow::Error),
    Wrong(String),
}

/// Keeps one WebSocket open until told to stop, anew after each end.
pub(super) async fn keep_one(plan: Plan, tally: Arc<Tally>, departures: Departures, mut stop: watch::Receiver<bool>) {
    // Only ever waited for after a failed handshake, so that a gateway that is down is not flooded.
    let mut attempts = interval(Duration::from_millis(100));
    attempts.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while !*stop.borrow() {
        let mut open = match open(&plan).await {
            Ok(open) => open,
            Err(error) => {
                tally.error("no WebSocket", &format!("opening a WebSocket: {error:#}"));
                attempts.tick().await;
                continue;
            }
        };
        tally.opened_one();
        let started = Instant::now();
        let end = talk(&mut open, &plan, &tally, &mut stop).await;
        let through = format!("WebSocket through {} to {}, open for {:.1?}", open.gateway, open.pod, started.elapsed());
        match end {
            End::Stopped => match open.socket.close(1000, "done").await {
                Ok(()) => return,
                Err(error) => return tally.error("no Close", &format!("{through}: closing it: {error:#}")),
            },
            End::Close(GOING_AWAY) => match departures.may_close(&[&open.pod, &open.gateway]) {
                Ok(()) => {
                    // Our own Close goes out while the end is awaited; how the connection ends after both does not matter.
                    let _ = open.socket.ended(CLOSING).await;
                    tally.closed_in_window();
                }
                Err(why) => tally.cut(&format!("{through}: closed with 1001, but {why}")),
            },
            End::Close(code) => tally.cut(&format!("{through}: closed with {code}")),
            End::Broken(error) => tally.cut(&format!("{through}: {error:#}")),
            End::Wrong(what) => tally.error("a wrong message", &format!("{through}: {what}")),
        }
    }
}

async fn open(plan: &Plan) -> Result<Open> {
    let mut socket = WebSocket::open(plan.addr, &plan.host, "/load").await?;
    let hello = socket.text().await.context("waiting for the backend's first message")?;
    let mut words = hello.split(' ');
    match (words.next(), words.next(), words.next()) {
        (Some("hello"), Some(pod), Some(gateway)) => {
            Ok(Open { pod: pod.to_owned(), gateway: gateway.to_owned(), socket })
        }
        _ => bail!("the backend's first message is {hello:?}"),
    }
}

async fn talk(open: &mut Open, plan: &Plan, tally: &Tally, stop: &mut watch::Receiver<bool>) -> End {
    let mut ticks = interval_at(Instant::now() + plan.message_every, plan.message_every);
    let (mut next, mut awaited) = (0_u64, VecDeque::new());
    loop {
        tokio::select! {
            // What has come counts before what is to be sent: late messages must not hide an orderly end.
            biased;
            _ = stopped(stop) => return End::Stopped,
            message = open.socket.next() => match message {
                Ok(Message::Text(text)) => {
                    let expected = awaited.pop_front().map(|number| format!("{} {number}", open.pod));
                    if expected.as_deref() != Some(text.as_str()) {
                        return End::Wrong(format!("got {text:?}, expected {expected:?}"));
                    }
                    tally.message();
                }
                Ok(Message::Close(frame)) => return End::Close(frame.map_or(1005, |frame| frame.code.into())),
                Ok(_) => {}
                Err(error) => return End::Broken(error),
            },
            _ = ticks.tick() => {
                if let Err(error) = open.socket.send(&next.to_string()).await {
                    return last_word(&mut open.socket, error).await;
                }
                awaited.push_back(next);
                next += 1;
            }
        }
    }
}

/// Why nothing can be sent any more: the other side may have closed in order a moment before.
async fn last_word(socket: &mut WebSocket, error: anyhow::Error) -> End {
    loop {
        match timeout(CLOSING, socket.next()).await {
            Ok(Ok(Message::Close(frame))) => return End::Close(frame.map_or(1005, |frame| frame.code.into())),
            Ok(Ok(_)) => {}
            Ok(Err(_)) | Err(_) => return End::Broken(error),
        }
    }
}
