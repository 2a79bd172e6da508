//! The rows: each starts a fresh proxy, does one kind of work and gives values for its metrics.

mod idle;
mod reload;
mod routes;
mod throughput;
mod tls;

use anyhow::Result;

use crate::load::Sample;
use crate::proxy::{Front, Kind, Site};

/// Work to measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Row {
    H1Small,
    H1Rate,
    H1Middle,
    H1MiddleRate,
    H1Large,
    TlsH1,
    TlsRate,
    TlsHandshakes,
    TlsH2,
    TlsH2Rate,
    WsSmall,
    WsLarge,
    WsRate,
    WsIdle,
    WsIdleTls,
    H1Idle,
    H1IdleTls,
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

/// What one run of a row gave: a value for each of its metrics, and the load behind it where there is one.
pub(crate) struct Outcome {
    pub(crate) values: Vec<f64>,
    pub(crate) sample: Option<Sample>,
}

impl Row {
    pub(crate) const ALL: [Self; 19] = [
        Self::H1Small,
        Self::H1Rate,
        Self::H1Middle,
        Self::H1MiddleRate,
        Self::H1Large,
        Self::TlsH1,
        Self::TlsRate,
        Self::TlsHandshakes,
        Self::TlsH2,
        Self::TlsH2Rate,
        Self::WsSmall,
        Self::WsLarge,
        Self::WsRate,
        Self::WsIdle,
        Self::WsIdleTls,
        Self::H1Idle,
        Self::H1IdleTls,
        Self::Routes,
        Self::WsReload,
    ];

    /// Name on the command line.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::H1Small => "h1-small",
            Self::H1Rate => "h1-rate",
            Self::H1Middle => "h1-64k",
            Self::H1MiddleRate => "h1-64k-rate",
            Self::H1Large => "h1-1m",
            Self::TlsH1 => "tls-h1",
            Self::TlsRate => "tls-rate",
            Self::TlsHandshakes => "tls-handshakes",
            Self::TlsH2 => "tls-h2",
            Self::TlsH2Rate => "tls-h2-rate",
            Self::WsSmall => "ws-64",
            Self::WsLarge => "ws-16k",
            Self::WsRate => "ws-rate",
            Self::WsIdle => "ws-idle",
            Self::WsIdleTls => "ws-idle-tls",
            Self::H1Idle => "h1-idle",
            Self::H1IdleTls => "h1-idle-tls",
            Self::Routes => "routes",
            Self::WsReload => "ws-reload",
        }
    }

    /// What it gives, with the aims of the design.
    pub(crate) fn metrics(self) -> &'static [Metric] {
        use Aim::{AtMost, Ratio};
        match self {
            Self::H1Small => const { &[metric("HTTP/1.1 keep-alive, small: CPU per request", "us", Ratio(1.0))] },
            Self::H1Rate => {
                const {
                    &[
                        metric("HTTP/1.1, small, 4,000 requests a second: p50", "us", Ratio(1.0)),
                        metric("HTTP/1.1, small, 4,000 requests a second: p99", "us", Ratio(1.0)),
                    ]
                }
            }
            Self::H1Middle => const { &[metric("64 KB bodies: CPU per GB", "ms", Ratio(0.85))] },
            Self::H1MiddleRate => {
                const {
                    &[
                        metric("64 KB bodies, 1,000 requests a second: p50", "us", Ratio(1.0)),
                        metric("64 KB bodies, 1,000 requests a second: p99", "us", Ratio(1.0)),
                    ]
                }
            }
            Self::H1Large => const { &[metric("1 MB bodies: CPU per GB", "ms", Ratio(0.6))] },
            Self::TlsH1 => {
                const { &[metric("HTTP/1.1 over TLS, keep-alive, small: CPU per request", "us", Ratio(0.9))] }
            }
            Self::TlsRate => {
                const {
                    &[
                        metric("HTTP/1.1 over TLS, small, 4,000 requests a second: p50", "us", Ratio(1.0)),
                        metric("HTTP/1.1 over TLS, small, 4,000 requests a second: p99", "us", Ratio(1.0)),
                    ]
                }
            }
            Self::TlsHandshakes => {
                const { &[metric("connection with a full TLS 1.3 handshake, ECDSA: CPU", "us", Ratio(0.8))] }
            }
            Self::TlsH2 => const { &[metric("HTTP/2 over TLS, small: CPU per request", "us", Ratio(0.9))] },
            Self::TlsH2Rate => {
                const {
                    &[
                        metric("HTTP/2 over TLS, small, 4,000 requests a second: p50", "us", Ratio(1.0)),
                        metric("HTTP/2 over TLS, small, 4,000 requests a second: p99", "us", Ratio(1.0)),
                    ]
                }
            }
            Self::WsSmall => const { &[metric("WebSocket echo of 64 B: CPU per echo", "us", Ratio(1.0))] },
            Self::WsLarge => const { &[metric("WebSocket echo of 16 KB: CPU per echo", "us", Ratio(0.7))] },
            Self::WsRate => {
                const {
                    &[
                        metric("WebSocket echo of 64 B, 4,000 a second: p50", "us", Ratio(1.0)),
                        metric("WebSocket echo of 64 B, 4,000 a second: p99", "us", Ratio(1.0)),
                    ]
                }
            }
            Self::WsIdle => {
                const {
                    &[
                        metric("idle WebSocket, fresh: memory", "KB", AtMost(2.0)),
                        metric("idle WebSocket, after a 16 KB echo: memory", "KB", AtMost(2.0)),
                    ]
                }
            }
            Self::WsIdleTls => {
                const {
                    &[
                        metric("idle WebSocket over TLS, fresh: memory", "KB", AtMost(8.0)),
                        metric("idle WebSocket over TLS, after a 16 KB echo: memory", "KB", AtMost(8.0)),
                    ]
                }
            }
            Self::H1IdleTls => {
                const { &[metric("idle keep-alive connection over TLS after a request: memory", "KB", AtMost(10.0))] }
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
            Self::H1Small | Self::H1Middle | Self::H1Large | Self::TlsH1 => {
                throughput::requests(self, kind, site).await
            }
            Self::TlsHandshakes => tls::handshakes(kind, site).await,
            Self::TlsH2 => tls::h2(kind, site).await,
            Self::WsSmall => throughput::messages(64, kind, site).await,
            Self::WsLarge => throughput::messages(16 << 10, kind, site).await,
            Self::H1Rate | Self::H1MiddleRate | Self::TlsRate => throughput::latency(self, kind, site).await,
            Self::TlsH2Rate => tls::h2_latency(kind, site).await,
            Self::WsRate => throughput::echo_latency(kind, site).await,
            Self::WsIdle => idle::websockets(Front::Plain, kind, site).await,
            Self::WsIdleTls => idle::websockets(Front::Tls, kind, site).await,
            Self::H1Idle => idle::connections(Front::Plain, kind, site).await,
            Self::H1IdleTls => idle::connections(Front::Tls, kind, site).await,
            Self::Routes => routes::run(kind, site).await,
            Self::WsReload => reload::run(kind, site).await,
        }
    }
}
