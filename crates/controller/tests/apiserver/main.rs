//! The controller against a real API server: only with `--features apiserver-tests`, because it needs the binaries of a cluster.

mod reading;
mod services;
mod setup;
mod writing;
