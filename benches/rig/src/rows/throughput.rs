//! Requests and WebSocket messages: as many as there can be, or at a fixed rate.

use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use super::{Outcome, Row};
use crate::backend::{LARGE, MIDDLE, SMALL};
use crate::load::http::{self, Requests};
use crate::load::ws::{Echo, Message};
use crate::load::{Load, Sample};
use crate::proxy::{Front, Kind, Running, Site, host};

/// Connections, or tunnels, of a loop.
pub(super) const CONNECTIONS: usize = 64;
/// Large bodies need fewer to fill the core.
const CONNECTIONS_WITH_BODIES: usize = 16;
pub(super) const WARM_UP: Duration = Duration::from_millis(300);
pub(super) const TIME: Duration = Duration::from_millis(1500);
/// A second, where latency is what counts: a good deal less than what fills a core.
pub(super) const RATE: u32 = 4000;
/// The same with bodies of 64 KB.
const RATE_WITH_BODIES: u32 = 1000;
/// Proxies may tidy up after their start, once; quantiles are those of what goes on.
pub(super) const STEADY: Duration = Duration::from_secs(4);
/// 80 of the slowest hundredth.
pub(super) const LONGER: Duration = Duration::from_secs(2);

pub(super) async fn requests(row: Row, kind: Kind, site: &Site) -> Result<Outcome> {
    let (path, count) = match row {
        Row::H1Middle => (MIDDLE, CONNECTIONS_WITH_BODIES),
        Row::H1Large => (LARGE, CONNECTIONS_WITH_BODIES),
        _ => (SMALL, CONNECTIONS),
    };
    let front = if row == Row::TlsH1 { Front::Tls } else { Front::Plain };
    let proxy = Running::start(kind, site, front, 1).await?;
    let requests = Rc::new(vec![http::request(&host(0), path)]);
    let load = Load::closed(count, |index| Requests::open(proxy.target(), requests.clone(), index)).await?;
    let sample = load.measure(proxy.tree(), WARM_UP, TIME).await?;
    load.end().await;
    let value = if path == SMALL { sample.cpu_us } else { sample.cpu_ms_per_gb };
    Ok(Outcome { values: vec![value], sample: Some(sample) })
}

pub(super) async fn messages(size: u16, kind: Kind, site: &Site) -> Result<Outcome> {
    let proxy = Running::start(kind, site, Front::Plain, 1).await?;
    let (message, host) = (Message::new(size), host(0));
    let load = Load::closed(CONNECTIONS, |_| Echo::open(proxy.target(), &host, message.clone())).await?;
    let sample = load.measure(proxy.tree(), WARM_UP, TIME).await?;
    load.end().await;
    Ok(Outcome { values: vec![sample.cpu_us], sample: Some(sample) })
}

/// Latency of requests at a fixed rate.
pub(super) async fn latency(row: Row, kind: Kind, site: &Site) -> Result<Outcome> {
    let (front, path, rate) = match row {
        Row::H1MiddleRate => (Front::Plain, MIDDLE, RATE_WITH_BODIES),
        Row::TlsRate => (Front::Tls, SMALL, RATE),
        _ => (Front::Plain, SMALL, RATE),
    };
    let proxy = Running::start(kind, site, front, 1).await?;
    let requests = Rc::new(vec![http::request(&host(0), path)]);
    let connect = |index| Requests::open(proxy.target(), requests.clone(), index);
    in_time(Load::paced(CONNECTIONS, rate, connect).await?, &proxy, rate).await
}

/// Latency of echoes of 64 bytes at a fixed rate.
pub(super) async fn echo_latency(kind: Kind, site: &Site) -> Result<Outcome> {
    let proxy = Running::start(kind, site, Front::Plain, 1).await?;
    let (message, host) = (Message::new(64), host(0));
    let connect = |_| Echo::open(proxy.target(), &host, message.clone());
    in_time(Load::paced(CONNECTIONS, RATE, connect).await?, &proxy, RATE).await
}

async fn in_time(load: Load, proxy: &Running, rate: u32) -> Result<Outcome> {
    let sample = load.measure(proxy.tree(), STEADY, LONGER).await?;
    load.end().await;
    quantiles(sample, rate)
}

/// The latencies of a load that kept to its rate.
pub(super) fn quantiles(sample: Sample, rate: u32) -> Result<Outcome> {
    ensure!(sample.rate > f64::from(rate) * 0.9, "only {:.0} a second of {rate}", sample.rate);
    let (half, most) = sample.latency_us.context("the load tells no latency")?;
    Ok(Outcome { values: vec![half, most], sample: Some(sample) })
}
