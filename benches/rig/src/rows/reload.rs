//! Changes of the configuration while WebSockets are open and requests arrive at a steady rate.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Result, ensure};
use tokio::time::MissedTickBehavior;

use super::Outcome;
use crate::backend::SMALL;
use crate::load::http::{self, Connection};
use crate::load::stream::Target;
use crate::load::ws::{Message, WebSocket};
use crate::proxy::{Front, Kind, Running, Site, host};

const WEBSOCKETS: usize = 500;
/// Connections that ask once in [`PACE`]: 2,000 requests a second.
const CLIENTS: usize = 20;
const PACE: Duration = Duration::from_millis(10);
const CHANGES: usize = 5;
const BETWEEN: Duration = Duration::from_millis(300);

#[derive(Default)]
struct Count {
    stop: Cell<bool>,
    asked: Cell<u64>,
    lost: Cell<u64>,
    cut: Cell<u64>,
}

pub(super) async fn run(kind: Kind, site: &Site) -> Result<Outcome> {
    let proxy = Running::start(kind, site, Front::Plain, 1).await?;
    let count = Rc::new(Count::default());
    let mut tasks = Vec::new();
    for n in 0..WEBSOCKETS {
        let socket = WebSocket::open(proxy.target(), &host(0)).await?;
        tasks.push(tokio::task::spawn_local(talk(socket, n, count.clone())));
    }
    for n in 0..CLIENTS {
        tasks.push(tokio::task::spawn_local(ask(proxy.target().clone(), n, count.clone())));
    }
    tokio::time::sleep(BETWEEN).await;
    ensure!(count.lost.get() + count.cut.get() == 0, "connections failed before any change");
    let mut effective = Vec::new();
    for n in 0..CHANGES {
        effective.push(proxy.add_host(&format!("added{n}.example.com")).await?);
        tokio::time::sleep(BETWEEN).await;
    }
    tokio::time::sleep(2 * BETWEEN).await;
    count.stop.set(true);
    for task in tasks {
        task.await?;
    }
    ensure!(count.asked.get() > 2000, "only {} requests were made", count.asked.get());
    effective.sort_by(f64::total_cmp);
    Ok(Outcome { values: vec![count.cut.get() as f64, count.lost.get() as f64, effective[CHANGES / 2]], sample: None })
}

/// A WebSocket that echoes about twice a second, and once more at the end.
async fn talk(mut socket: WebSocket, n: usize, count: Rc<Count>) {
    let (message, mut buffer) = (Message::new(64), Vec::new());
    tokio::time::sleep(Duration::from_millis(n as u64)).await;
    loop {
        let last = count.stop.get();
        let echo = tokio::time::timeout(Duration::from_secs(2), socket.echo(&message, &mut buffer)).await;
        if !matches!(echo, Ok(Ok(()))) {
            count.cut.set(count.cut.get() + 1);
            return;
        }
        if last {
            return;
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

/// A careful client: a connection that was closed between two requests is no loss, one that is closed under a request is.
async fn ask(to: Target, n: usize, count: Rc<Count>) {
    let request = http::request(&host(0), SMALL);
    let mut connection = None;
    tokio::time::sleep(PACE * n as u32 / CLIENTS as u32).await;
    let mut ticks = tokio::time::interval(PACE);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    while !count.stop.get() {
        ticks.tick().await;
        count.asked.set(count.asked.get() + 1);
        let exchange = async {
            let mut open = match connection.take().and_then(|mut open: Connection| (!open.closed()).then_some(open)) {
                Some(open) => open,
                None => Connection::open(&to).await?,
            };
            open.exchange(&request).await.map(|answer| (open, answer))
        };
        match tokio::time::timeout(Duration::from_secs(2), exchange).await {
            Ok(Ok((open, answer))) if answer.status == 200 => connection = (!answer.close).then_some(open),
            _ => count.lost.set(count.lost.get() + 1),
        }
    }
}
