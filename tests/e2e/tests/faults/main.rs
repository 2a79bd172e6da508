//! Faults: what breaks around the built binary, under load, and what of it clients get to see.
//!
//! Each test is a row of the table that they print: errors by kind, WebSockets cut, and whether memory and descriptors come
//! back to where they were. `make faults` runs them one at a time; those that need a network of their own need root, and
//! those in `apiserver` etcd and kube-apiserver.

#![allow(clippy::panic, clippy::unwrap_used, reason = "tests, and what they share")]

#[cfg(feature = "apiserver")]
mod apiserver;
mod backend;
mod backends;
mod descriptors;
mod flood;
mod full;
mod network;
mod objects;
mod restart;
mod site;
mod soak;
mod usage;
