//! From a snapshot of objects to a configuration and statuses: pure, synchronous, total.
//!
//! [`Translator::translate`] never fails: what is wrong with one object becomes a [`Problem`](penstock_model::Problem)
//! and a status condition of that object, and everything else goes on.
//!
//! The way of an object: `gateway` and `listener` parse a gateway, `rule` attaches rules to it and makes routes of them
//! (`hosts`, `paths`, `rank`, `redirect`), `pool` and `service` find their backends, `tls`,
//! `certificate` and `authorities` what a listener proves its name with, `assemble` puts listeners and statuses together. `translator` remembers all of it (`memo`) and does again only what changed.
//! What is wrong is a `finding` until it becomes a condition in `status`.

mod address;
mod allowed;
mod assemble;
mod authorities;
mod certificate;
mod dns_name;
mod endpoints;
mod error_pages;
mod finding;
mod gateway;
mod grant;
mod hosts;
mod listener;
mod memo;
pub mod outcome;
mod paths;
mod policy;
mod pool;
mod probe;
mod probe_host;
mod rank;
mod redirect;
mod rewrite;
mod rule;
mod seen;
mod service;
mod settings;
pub mod snapshot;
mod status;
mod tls;
mod translator;
mod upstream;
mod uses;

pub use endpoints::endpoints;
pub use finding::PARTIALLY_INVALID;
pub use outcome::{GatewayStatus, Outcome, RuleStatus, Wants};
pub use snapshot::{Key, Options, Snapshot};
pub use translator::Translator;
