//! What the end-to-end tests are made of: the [`Backend`] that runs in the cluster, the load generator that judges how
//! WebSockets end ([`load`]), and what the tests know of the cluster ([`cluster`]).
//!
//! The tests are in `tests/cluster`; `run.sh` brings up what they need.

#![allow(
    clippy::panic,
    clippy::unwrap_used,
    reason = "for tests only: a panic with a sentence is how these parts report a failure"
)]

mod backend;
#[cfg(feature = "harness")]
pub mod cluster;
#[cfg(feature = "harness")]
pub mod load;

pub use backend::Backend;
