//! What a connection costs while nothing happens on it.

use std::time::Duration;

use anyhow::{Context as _, Result};

use super::Outcome;
use crate::backend::SMALL;
use crate::load::http::{self, Connection};
use crate::load::ws::{Message, WebSocket};
use crate::proxy::{Kind, Running, Site, host};

const COUNT: usize = 2000;
/// So many WebSockets echo at the same time: a proxy may share buffers between those that are quiet.
const AT_ONCE: usize = 50;
/// Proxies may give memory back, or park what is idle, on a slow clock. All get the same time.
const SETTLE: Duration = Duration::from_millis(3500);

pub(super) async fn websockets(kind: Kind, site: &Site) -> Result<Outcome> {
    let (proxy, empty) = warm(kind, site).await?;
    let mut sockets = Vec::with_capacity(COUNT);
    for _ in 0..COUNT {
        sockets.push(WebSocket::open(proxy.address(), &host(0)).await?);
    }
    tokio::time::sleep(SETTLE).await;
    let fresh = (proxy.tree().memory()? - empty) / COUNT as f64;

    let message = Message::new(16 << 10);
    let mut quiet = Vec::with_capacity(COUNT);
    while !sockets.is_empty() {
        let some = sockets.split_off(sockets.len().saturating_sub(AT_ONCE));
        let echoes = some.into_iter().map(|mut socket| {
            let message = message.clone();
            tokio::task::spawn_local(async move { socket.echo(&message, &mut Vec::new()).await.map(|()| socket) })
        });
        for echo in echoes.collect::<Vec<_>>() {
            quiet.push(echo.await?.context("an idle WebSocket did not echo")?);
        }
    }
    tokio::time::sleep(SETTLE).await;
    let used = (proxy.tree().memory()? - empty) / COUNT as f64;
    Ok(Outcome { values: vec![fresh, used], sample: None })
}

pub(super) async fn connections(kind: Kind, site: &Site) -> Result<Outcome> {
    let (proxy, empty) = warm(kind, site).await?;
    let request = http::request(&host(0), SMALL);
    let mut open = Vec::with_capacity(COUNT);
    for _ in 0..COUNT {
        let mut connection = Connection::open(proxy.address()).await?;
        connection.exchange(&request).await?;
        open.push(connection);
    }
    tokio::time::sleep(SETTLE).await;
    let each = (proxy.tree().memory()? - empty) / COUNT as f64;
    let closed = open.iter().filter(|connection| connection.closed()).count();
    anyhow::ensure!(closed == 0, "{closed} of {COUNT} idle connections were closed");
    Ok(Outcome { values: vec![empty / 1024.0, each], sample: None })
}

/// A proxy that has served some requests, and its memory in KB once it is idle again.
async fn warm(kind: Kind, site: &Site) -> Result<(Running, f64)> {
    let proxy = Running::start(kind, site, 1).await?;
    let request = http::request(&host(0), SMALL);
    let mut connection = Connection::open(proxy.address()).await?;
    for _ in 0..200 {
        connection.exchange(&request).await?;
    }
    drop(connection);
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let empty = proxy.tree().memory()?;
    Ok((proxy, empty))
}
