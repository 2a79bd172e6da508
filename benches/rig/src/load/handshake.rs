//! A client that makes a connection, does a full handshake, and ends it.

use std::io;

use super::Step;
use super::stream::Target;

/// One after the other.
pub(crate) struct Handshakes {
    to: Target,
}

impl Handshakes {
    pub(crate) fn new(to: &Target) -> Self {
        Self { to: to.clone() }
    }
}

impl Step for Handshakes {
    async fn step(&mut self) -> io::Result<u64> {
        self.to.connect().await?.end().await?;
        Ok(0)
    }
}
