//! The data plane: listeners, TLS, the request path, tunnels, upstream pools, balancing and probes.
//!
//! One [`DataPlane`] has a plane task (see `plane`), which turns configurations into a table, and workers (see
//! `worker`), which serve. The way of a request is in `exchange`; that of bytes after a 101 in [`tunnel`].

mod access_log;
mod cluster;
mod exchange;
mod http2;
mod metrics;
mod plane;
mod probe;
mod proxy_protocol;
mod resolve;
mod route_state;
pub mod timer;
mod tls;
mod trace;
pub mod tunnel;
pub mod upstream;
mod worker;

pub use access_log::AccessLog;
pub use cluster::{Health, LiveCluster, LiveEndpoint, Moved, Traffic};
pub use plane::{DataPlane, DrainingEndpoint, Inputs, Options, StartError, View};
pub use probe::{Found, ProbeNow, Probed, Spoken};
pub use resolve::AddressRule;
pub use trace::Tracing;
pub use worker::Totals;
