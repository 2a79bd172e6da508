//! What is done with a request that a route takes.

use std::sync::Arc;
use std::time::Duration;

use http::uri::Authority;
use http::{StatusCode, Uri};

use crate::cluster::{Balancing, ClusterId};
use crate::filter::Filter;
use crate::ids::Name;
use crate::origin::SettingsOrigin;
use crate::rewrite::RewriteSet;

/// The end of a route.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// To a backend.
    Forward(Forward),
    /// Back to the client with a new place.
    Redirect(Redirect),
    /// A fixed answer: what the front end says where a rule has no backend.
    Respond(StatusCode),
}

/// To a backend: which, how long, and what becomes of host and path.
#[derive(Clone, Debug, PartialEq)]
pub struct Forward {
    /// Name of the pool, for metrics and logs.
    pub pool: Name,
    /// Name of the settings, for metrics and logs.
    pub settings: Name,
    /// Candidates with their shares. Empty: 502.
    pub backends: Vec<WeightedBackend>,
    /// Until the response head; `None`: no limit.
    pub request_timeout: Option<Duration>,
    /// Until a connection stands.
    pub connect_timeout: Option<Duration>,
    /// For one attempt of several (Gateway API's backendRequest timeout).
    pub per_try_timeout: Option<Duration>,
    /// For a body that stands still, either way.
    pub stream_idle_timeout: Option<Duration>,
    /// For WebSockets and other upgrades.
    pub websocket: WebSocketTimeouts,
    /// Where these settings stand.
    pub origin: Arc<SettingsOrigin>,
    /// When an attempt fails.
    pub retry: Retry,
    /// The Host that the backend sees.
    pub host: HostRewrite,
    /// The path that the backend sees.
    pub path: PathOverride,
    /// Cookie that keeps a client on its endpoint.
    pub affinity: Option<Affinity>,
    /// How an endpoint is chosen; by the client's address, that decides among the backends, too.
    pub balancing: Balancing,
    /// Largest request body, in bytes.
    pub max_body: Option<u64>,
    /// What is rewritten on the way, before host and path.
    pub rewrites: Option<Arc<RewriteSet>>,
}

/// How long an upgraded connection may stand still and stay open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WebSocketTimeouts {
    /// No byte in either direction; `None`: no limit.
    pub idle: Option<Duration>,
    /// In all; `None`: no limit.
    pub max_duration: Option<Duration>,
}

/// Trying again, always on another endpoint where there is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retry {
    /// How often once more.
    pub attempts: u8,
    /// Also when the response head did not come in time.
    pub on_timeout: bool,
}

/// One candidate.
#[derive(Clone, Debug, PartialEq)]
pub struct WeightedBackend {
    /// Its share among the weights of all candidates; 0: none.
    pub weight: u32,
    /// What it is.
    pub target: BackendTarget,
    /// Filters of this backend alone.
    pub filters: Vec<Filter>,
}

/// A backend, or the reason why there is none.
#[derive(Clone, Debug, PartialEq)]
pub enum BackendTarget {
    /// A cluster of the configuration.
    Cluster(ClusterId),
    /// Keeps its place and its weight, and answers so.
    Unavailable(Unavailable),
}

/// A reference that could not be resolved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unavailable {
    /// What the client gets: 502 for our resources, 500 for Gateway API.
    pub status: StatusCode,
    /// Why: the reason of the status condition.
    pub reason: Name,
}

/// The Host header of the request to the backend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostRewrite {
    /// The client's.
    Keep,
    /// This one.
    Set(Authority),
    /// The name under which the endpoint is configured.
    FromBackend,
}

/// The path of the request to the backend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PathOverride {
    /// As matched.
    Keep,
    /// In place of the first `literal` bytes of the path (0: in front of all of it), joined with exactly one slash.
    ReplacePrefix {
        /// How many bytes the new prefix replaces.
        literal: usize,
        /// What it is replaced with.
        with: Arc<str>,
    },
}

/// Session affinity by cookie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Affinity {
    /// The name of the cookie.
    pub cookie: Name,
    /// What its value is made with. The same in all replicas, and no client knows it.
    pub key: Name,
    /// Whether browsers send it over TLS only. Its twin for other sites always has that.
    pub secure: bool,
}

/// A redirect.
#[derive(Clone, Debug, PartialEq)]
pub struct Redirect {
    /// 301, 302, 303 or 307.
    pub status: StatusCode,
    /// Where to.
    pub target: RedirectTarget,
    /// Whether the request's path goes with it.
    pub include_path: bool,
    /// Whether the request's query goes with it.
    pub include_query: bool,
}

/// The place a redirect names.
#[derive(Clone, Debug, PartialEq)]
pub enum RedirectTarget {
    /// Another listener: its scheme and port, and its host where it has exactly one, else the request's.
    Listener {
        /// `http` or `https`.
        https: bool,
        /// The public port.
        port: u16,
        /// The listener's only exact host.
        host: Option<Name>,
    },
    /// A whole URL.
    Url {
        /// What stands before the `#`.
        url: Uri,
        /// What stands behind it, and comes last in a Location (RFC 9110 10.2.2).
        fragment: Option<Name>,
    },
}
