//! How the health of an endpoint is found out.

use std::str::FromStr;
use std::time::Duration;

use http::{HeaderName, HeaderValue};

use crate::cluster::{Endpoint, Protocol, UpstreamTls};
use crate::ids::Name;

/// A probe definition. Settings that use the same one share its results.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Probe {
    /// `namespace/gateway/probe`, or how it came about (`readinessProbe`, `default`).
    pub name: Name,
    /// Over TLS: then the endpoint picks what is spoken.
    pub tls: Option<UpstreamTls>,
    /// What is spoken without.
    pub protocol: Protocol,
    /// Value of the Host header; over TLS also the name that is asked for and verified, where [`UpstreamTls::server_name`] has none.
    pub host: ProbeHost,
    /// Headers beside Host; one may stand several times.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// What is asked.
    pub question: Question,
    /// Port; `None`: the endpoint's own.
    pub port: Option<u16>,
    /// Between the starts of two probes.
    pub interval: Duration,
    /// Until the whole answer.
    pub timeout: Duration,
    /// Failures in a row that make it Down.
    pub unhealthy_threshold: u32,
    /// So many are always taken for healthy.
    pub min_servers: u32,
}

/// Whose name a probe sends.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ProbeHost {
    /// This one.
    Named(Name),
    /// The endpoint's own: the name under which it is configured, else its address.
    OfBackend,
}

impl ProbeHost {
    /// What is sent to an endpoint.
    pub fn of(&self, endpoint: &Endpoint) -> Name {
        match (self, &endpoint.host) {
            (Self::Named(name), _) | (Self::OfBackend, Some(name)) => Name::clone(name),
            (Self::OfBackend, None) => endpoint.address.to_string().into(),
        }
    }
}

/// What a probe asks.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Question {
    /// A GET.
    Get {
        /// Path and query.
        path: Name,
        /// What a good answer is.
        accept: HealthMatch,
    },
    /// `GET /` where nobody says what to ask: any complete answer below 500 is good, and over HTTP/2 a reset of the stream, which is
    /// what servers of gRPC's C core (Python, Ruby, PHP, C++) have for a GET.
    Lives,
    /// `grpc.health.v1.Health/Check`, which SERVING alone answers well (grpc/doc/health-checking.md).
    Grpc {
        /// The service that is asked about; empty: the server as a whole.
        service: Name,
    },
}

/// What a good answer is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HealthMatch {
    /// Status codes that are good.
    pub statuses: Vec<StatusRange>,
    /// Text that the body must contain.
    pub body: Option<Name>,
}

/// Status codes from `first` to `last`, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct StatusRange {
    /// The smallest.
    pub first: u16,
    /// The largest.
    pub last: u16,
}

/// Neither a code nor a range from the lower to the higher.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no status code and no range such as 200-399")]
pub struct InvalidStatusRange(String);

impl FromStr for StatusRange {
    type Err = InvalidStatusRange;

    /// Reads `204` or `200-399`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        match (first.parse(), last.parse()) {
            (Ok(first), Ok(last)) if first <= last => Ok(Self { first, last }),
            _ => Err(InvalidStatusRange(text.to_owned())),
        }
    }
}

impl HealthMatch {
    /// Whether a status is good.
    pub fn takes(&self, status: u16) -> bool {
        self.statuses.iter().any(|range| (range.first..=range.last).contains(&status))
    }
}
