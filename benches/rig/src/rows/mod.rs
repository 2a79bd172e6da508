//! The rows: each starts a fresh proxy, does one kind of work and gives values for its metrics.

mod idle;
mod reload;
mod routes;
mod throughput;

use anyhow::Result;

use crate::load::Sample;
use crate::proxy::{Kind, Site};

/// Work to measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Row {
    H1Small,
    H1Middle,
    H1Large,
    WsSmall,
    WsLarge,
    WsIdle,
    H1Idle,
    Routes,
    WsReload,
}

/// What a value must be.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Aim {
    /// At most so many times the best peer.
    Ratio(f64),
    /// At most so much.
    AtMost(f64),
}

/// A value that a row gives. Less is better, always.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Metric {
    /// Name in the report.
    pub(crate) label: &'static str,
    pub(crate) unit: &'static str,
    pub(crate) aim: Aim,
    /// Of a metric that happens rarely, the worst round counts, not the median.
    pub(crate) worst: bool,
}

const fn metric(label: &'static str, unit: &'static str, aim: Aim) -> Metric {
    Metric { label, unit, aim, worst: false }
}

/// What one run of a row gave: a value for each of its metrics, and the closed loop behind it where there is one.
pub(crate) struct Outcome {
    pub(crate) values: Vec<f64>,
    pub(crate) sample: Option<Sample>,
}

impl Row {
    pub(crate) const ALL: [Self; 9] = [
        Self::H1Small,
        Self::H1Middle,
        Self::H1Large,
        Self::WsSmall,
        Self::WsLarge,
        Self::WsIdle,
        Self::H1Idle,
        Self::Routes,
        Self::WsReload,
    ];

    /// Name on the command line.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::H1Small => "h1-small",
            Self::H1Middle => "h1-64k",
            Self::H1Large => "h1-1m",
            Self::WsSmall => "ws-64",
            Self::WsLarge => "ws-16k",
            Self::WsIdle => "ws-idle",
            Self::H1Idle => "h1-idle",
            Self::Routes => "routes",
            Self::WsReload => "ws-reload",
        }
    }

    /// What it gives, with the aims of the design.
    pub(crate) fn metrics(self) -> &'static [Metric] {
        use Aim::{AtMost, Ratio};
        match self {
            Self::H1Small => const { &[metric("HTTP/1.1 keep-alive, small: CPU per request", "us", Ratio(1.0))] },
            Self::H1Middle => const { &[metric("64 KB bodies: CPU per GB", "ms", Ratio(0.85))] },
            Self::H1Large => const { &[metric("1 MB bodies: CPU per GB", "ms", Ratio(0.6))] },
            Self::WsSmall => const { &[metric("WebSocket echo of 64 B: CPU per echo", "us", Ratio(1.0))] },
            Self::WsLarge => const { &[metric("WebSocket echo of 16 KB: CPU per echo", "us", Ratio(0.7))] },
            Self::WsIdle => {
                const {
                    &[
                        metric("idle WebSocket, fresh: memory", "KB", AtMost(2.0)),
                        metric("idle WebSocket, after a 16 KB echo: memory", "KB", AtMost(2.0)),
                    ]
                }
            }
            Self::H1Idle => {
                const {
                    &[
                        metric("process with one route, idle: memory", "MB", AtMost(12.0)),
                        metric("idle keep-alive connection after a request: memory", "KB", AtMost(2.0)),
                    ]
                }
            }
            Self::Routes => {
                const {
                    &[
                        metric("5,000 hosts: CPU per request", "us", Ratio(1.0)),
                        metric("5,000 hosts: CPU per request, more than with one", "%", AtMost(3.0)),
                        metric("5,000 hosts: memory of the process", "MB", AtMost(25.0)),
                        metric("5,000 hosts: until one more answers", "ms", AtMost(5.0)),
                    ]
                }
            }
            Self::WsReload => {
                const {
                    &[
                        Metric {
                            worst: true,
                            ..metric("5 changes under load: WebSockets cut, of 500", "", AtMost(0.0))
                        },
                        Metric { worst: true, ..metric("5 changes under load: requests lost", "", AtMost(0.0)) },
                        metric("5 changes under load: effective after", "ms", AtMost(3.0)),
                    ]
                }
            }
        }
    }

    /// Does it once.
    pub(crate) async fn run(self, kind: Kind, site: &Site) -> Result<Outcome> {
        match self {
            Self::H1Small | Self::H1Middle | Self::H1Large => throughput::requests(self, kind, site).await,
            Self::WsSmall => throughput::messages(64, kind, site).await,
            Self::WsLarge => throughput::messages(16 << 10, kind, site).await,
            Self::WsIdle => idle::websockets(kind, site).await,
            Self::H1Idle => idle::connections(kind, site).await,
            Self::Routes => routes::run(kind, site).await,
            Self::WsReload => reload::run(kind, site).await,
        }
    }
}
