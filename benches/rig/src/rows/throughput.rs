//! Closed loops of requests and of WebSocket messages.

use std::rc::Rc;
use std::time::Duration;

use anyhow::Result;

use super::{Outcome, Row};
use crate::backend::{LARGE, MIDDLE, SMALL};
use crate::load::ClosedLoop;
use crate::load::http::{self, Requests};
use crate::load::ws::{Echo, Message};
use crate::proxy::{Front, Kind, Running, Site, host};

/// Connections, or tunnels, of a loop.
pub(super) const CONNECTIONS: usize = 64;
/// Large bodies need fewer to fill the core.
const CONNECTIONS_WITH_BODIES: usize = 16;
pub(super) const WARM_UP: Duration = Duration::from_millis(300);
pub(super) const TIME: Duration = Duration::from_millis(1500);

pub(super) async fn requests(row: Row, kind: Kind, site: &Site) -> Result<Outcome> {
    let (path, count) = match row {
        Row::H1Middle => (MIDDLE, CONNECTIONS_WITH_BODIES),
        Row::H1Large => (LARGE, CONNECTIONS_WITH_BODIES),
        _ => (SMALL, CONNECTIONS),
    };
    let front = if row == Row::TlsH1 { Front::Tls } else { Front::Plain };
    let proxy = Running::start(kind, site, front, 1).await?;
    let requests = Rc::new(vec![http::request(&host(0), path)]);
    let load = ClosedLoop::start(count, |index| Requests::open(proxy.target(), requests.clone(), index)).await?;
    let sample = load.measure(proxy.tree(), WARM_UP, TIME).await?;
    load.end().await;
    let value = if path == SMALL { sample.cpu_us } else { sample.cpu_ms_per_gb };
    Ok(Outcome { values: vec![value], sample: Some(sample) })
}

pub(super) async fn messages(size: u16, kind: Kind, site: &Site) -> Result<Outcome> {
    let proxy = Running::start(kind, site, Front::Plain, 1).await?;
    let (message, host) = (Message::new(size), host(0));
    let load = ClosedLoop::start(CONNECTIONS, |_| Echo::open(proxy.target(), &host, message.clone())).await?;
    let sample = load.measure(proxy.tree(), WARM_UP, TIME).await?;
    load.end().await;
    Ok(Outcome { values: vec![sample.cpu_us], sample: Some(sample) })
}
