//! The secrets of session tickets that are in force: those that all replicas share, else some of this process's own.

use std::time::Duration;

use penstock_model::TicketSecrets;
use tokio::sync::watch;

use crate::tls::{own_secrets, rest};

/// Owned by the plane.
#[derive(Debug)]
pub(super) struct Tickets {
    shared: watch::Receiver<Option<TicketSecrets>>,
    /// Only while there are none to share.
    own: TicketSecrets,
}

impl Tickets {
    pub(super) fn new(shared: watch::Receiver<Option<TicketSecrets>>) -> Self {
        Self { shared, own: TicketSecrets::default() }
    }

    /// Those in force, for a new listener.
    pub(super) fn current(&mut self) -> TicketSecrets {
        match self.shared() {
            Some(shared) => shared,
            None if self.own.is_empty() => self.renewed(),
            None => self.own.clone(),
        }
    }

    /// Those in force from now on, for every listener.
    pub(super) fn renewed(&mut self) -> TicketSecrets {
        if let Some(shared) = self.shared() {
            self.own = TicketSecrets::default();
            return shared;
        }
        if let Some(rotated) = own_secrets(&self.own) {
            self.own = rotated;
        }
        self.own.clone()
    }

    fn shared(&self) -> Option<TicketSecrets> {
        self.shared.borrow().clone().filter(|shared| !shared.is_empty())
    }

    /// Ends when others may be in force.
    pub(super) async fn changed(&mut self) {
        let own = Duration::from_secs(rest(&self.own).max(1));
        let alone = self.shared().is_none();
        tokio::select! {
            Ok(()) = self.shared.changed() => {}
            () = tokio::time::sleep(own), if alone => {}
            else => std::future::pending().await,
        }
    }
}
