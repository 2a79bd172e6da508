//! For tests only: real parts to put around the built binary.
//!
//! A [`Backend`] and a [`DnsServer`] that misbehave on request, clients that see what is on the wire ([`client`], [`WebSocket`]), the
//! [`Process`] under test, its [`Metrics`], certificates from a [`Ca`], a folder of [`Manifests`], and a real
//! [`ApiServer`]. Waiting is always for a condition with a deadline: [`eventually`] and [`until`].
//!
//! Failures of the test's own parts panic with a sentence; what the program under test does comes back as a value.

#![allow(
    clippy::panic,
    clippy::unwrap_used,
    reason = "for tests only: a panic with a sentence is how these parts report a failure"
)]

mod apiserver;
mod backend;
mod certs;
pub mod client;
mod dns;
mod files;
mod metrics;
mod ports;
mod process;
mod wait;

pub use apiserver::ApiServer;
pub use backend::{BEHAVIOUR_HEADER, Backend, Received};
pub use certs::{Ca, Identity};
pub use client::{Connection, Frame, Frames, Http2, Request, Response, TlsClient, WebSocket};
pub use dns::{DnsMode, DnsServer};
pub use files::Manifests;
pub use metrics::{Metrics, Sample};
pub use ports::{free_port, free_ports};
pub use process::{Process, ProcessBuilder, Signal};
pub use wait::{DEADLINE, Outcome, eventually, until};
