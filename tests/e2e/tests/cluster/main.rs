//! End-to-end tests: Penstock by its charts and its image in a cluster, used as its users use it.
//!
//! Started by `run.sh`, which installs Penstock first. One at a time and in the order of the names: they measure, the
//! first upgrades what is installed, and two take things down.

#![allow(clippy::panic, clippy::unwrap_used, reason = "tests, and what they share")]

mod a_upgrade;
mod asking;
mod disruption;
mod latency;
mod outage;
mod serving;
mod z_uninstall;
