//! What a connection costs while nothing happens on it.

use std::time::Duration;

use anyhow::{Context as _, Result};

use super::Outcome;
use crate::backend::SMALL;
use crate::load::http::{self, Connection};
use crate::load::ws::{Message, WebSocket};
use crate::proxy::{Front, Kind, Running, Site, host};

const COUNT: usize = 2000;
/// So many WebSockets echo at the same time: a proxy may share buffers between those that are quiet.
const AT_ONCE: usize = 50;
/// Proxies may give memory back, or park what is idle, on a slow clock. All get the same time.
pub(super) const SETTLE: Duration = Duration::from_millis(3500);

pub(super) async fn websockets(front: Front, kind: Kind, site: &Site) -> Result<Outcome> {
    let (proxy, empty) = warm(front, kind, site).await?;
    let mut sockets = Vec::with_capacity(COUNT);
    for _ in 0..COUNT {
        sockets.push(WebSocket::open(proxy.target(), &host(0)).await?);
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

pub(super) async fn connections(front: Front, kind: Kind, site: &Site) -> Result<Outcome> {
    let (proxy, empty) = warm(front, kind, site).await?;
    let request = http::request(&host(0), SMALL);
    let mut open = Vec::with_capacity(COUNT);
    for _ in 0..COUNT {
        let mut connection = Connection::open(proxy.target()).await?;
        connection.exchange(&request).await?;
        open.push(connection);
    }
    tokio::time::sleep(SETTLE).await;
    let each = (proxy.tree().memory()? - empty) / COUNT as f64;
    let closed = open.iter_mut().map(Connection::closed).filter(|closed| *closed).count();
    anyhow::ensure!(closed == 0, "{closed} of {COUNT} idle connections were closed");
    let values = match front {
        Front::Plain => vec![empty / 1024.0, each],
        Front::Tls => vec![each],
    };
    Ok(Outcome { values, sample: None })
}

/// A proxy that has served some requests and a WebSocket, and its memory in KB once it is idle again. All of it twice: what only
/// its start needed may go in between, and what comes back then is not a connection's.
async fn warm(front: Front, kind: Kind, site: &Site) -> Result<(Running, f64)> {
    let proxy = Running::start(kind, site, front, 1).await?;
    let request = http::request(&host(0), SMALL);
    let message = Message::new(16 << 10);
    for _ in 0..2 {
        let mut connection = Connection::open(proxy.target()).await?;
        for _ in 0..200 {
            connection.exchange(&request).await?;
        }
        WebSocket::open(proxy.target(), &host(0)).await?.echo(&message, &mut Vec::new()).await?;
        drop(connection);
        tokio::time::sleep(SETTLE).await;
    }
    let empty = proxy.tree().memory()?;
    Ok((proxy, empty))
}
