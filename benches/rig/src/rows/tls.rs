//! What TLS brings: handshakes, and HTTP/2.

use anyhow::Result;

use super::Outcome;
use super::throughput::{CONNECTIONS, LONGER, RATE, STEADY, TIME, WARM_UP, quantiles};
use crate::load::handshake::Handshakes;
use crate::load::{Load, h2};
use crate::proxy::{Front, Kind, Running, Site, host};

pub(super) async fn handshakes(kind: Kind, site: &Site) -> Result<Outcome> {
    let proxy = Running::start(kind, site, Front::Tls, 1).await?;
    let load = Load::closed(CONNECTIONS, async |_| Ok(Handshakes::new(proxy.target()))).await?;
    let sample = load.measure(proxy.tree(), WARM_UP, TIME).await?;
    load.end().await;
    Ok(Outcome { values: vec![sample.cpu_us], sample: Some(sample) })
}

pub(super) async fn h2(kind: Kind, site: &Site) -> Result<Outcome> {
    let proxy = Running::start(kind, site, Front::Tls, 1).await?;
    let address = proxy.target().address;
    let sample = h2::measure(address, &host(0), &site.backend, proxy.tree(), (WARM_UP, TIME), None).await?;
    Ok(Outcome { values: vec![sample.cpu_us], sample: Some(sample) })
}

pub(super) async fn h2_latency(kind: Kind, site: &Site) -> Result<Outcome> {
    let proxy = Running::start(kind, site, Front::Tls, 1).await?;
    let (address, times) = (proxy.target().address, (STEADY, LONGER));
    quantiles(h2::measure(address, &host(0), &site.backend, proxy.tree(), times, Some(RATE)).await?, RATE)
}
