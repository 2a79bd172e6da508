//! The controller against a real API server: only with `--features apiserver-tests`, because it needs the binaries of a cluster.

#![allow(clippy::panic, clippy::unwrap_used, reason = "helpers of tests: a panic is how they report a failure")]

mod away;
mod events;
mod limits;
mod reading;
mod restart;
mod services;
mod setup;
mod tickets;
mod writing;
