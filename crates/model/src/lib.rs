//! The intermediate representation: what the data plane shall do, free of Kubernetes.
//!
//! A front end (our own resources today; `Ingress` and Gateway API later) lowers its objects into a
//! [`Config`]; the data plane knows nothing else. Everything here is parsed: a [`HostPattern`] is a valid
//! host pattern, a [`Rank`] is a decided precedence. Whole values compare with `==`, so "skip what did not
//! change" is one comparison.
//!
//! Read in this order: [`config`], [`listener`], [`route`], [`action`], [`cluster`].

pub mod action;
pub mod cluster;
pub mod config;
pub mod filter;
pub mod host;
pub mod ids;
pub mod listener;
pub mod observed;
pub mod origin;
pub mod path;
pub mod probe;
pub mod problem;
pub mod rank;
pub mod rewrite;
pub mod route;
pub mod shared;
pub mod tickets;
pub mod uri;

pub use action::{
    Action, Affinity, BackendTarget, Forward, HostRewrite, PathOverride, Redirect, RedirectTarget, Retry, Unavailable,
    WebSocketTimeouts, WeightedBackend,
};
pub use cluster::{
    Balancing, Cluster, ClusterId, Draining, Endpoint, EndpointSet, EndpointSource, Limits, OutlierDetection, Protocol,
    SubjectAltName, UpstreamTls,
};
pub use config::{ClusterChange, Config};
pub use filter::{Filter, HeaderEdit};
pub use host::{Host, HostPattern};
pub use ids::{GatewayId, ListenerId, Name, RuleId};
pub use listener::{
    Certificate, ClientAddress, ClientAuth, ErrorPage, Listener, ListenerTls, ProxyProtocol, TlsVersion,
};
pub use observed::{EndpointUpdate, Observed, ObservedEndpoint, ObservedIdle, ObservedName};
pub use origin::SettingsOrigin;
pub use path::{PathMatch, Pattern};
pub use probe::{HealthMatch, InvalidStatusRange, Probe, ProbeHost, Question, StatusRange};
pub use problem::{ObjectRef, Problem};
pub use rank::Rank;
pub use rewrite::RewriteSet;
pub use route::{HeaderMatch, Route, ValueMatch};
pub use shared::Shared;
pub use tickets::{TicketSecret, TicketSecrets};
