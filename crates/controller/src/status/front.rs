//! What is in front of the gateways: where their addresses come from.

use std::sync::Arc;

use penstock_api::k8s::Service;
use penstock_translate::Key;
use tokio::sync::watch;

use super::addresses;
use super::complete::Front;
use crate::service::{Refusals, Table};

/// Where addresses come from.
pub(crate) enum Fronts {
    /// Each gateway's own Service.
    Own {
        /// The Services.
        table: Table,
        /// Wakes when one of them changes.
        changed: watch::Receiver<u64>,
        /// What is wrong with some.
        refusals: watch::Receiver<Refusals>,
    },
    /// One Service for all, if any is named.
    Shared(watch::Receiver<Option<Option<Arc<Service>>>>),
}

impl Fronts {
    /// Waits for another answer.
    pub(super) async fn changed(&mut self) {
        match self {
            Self::Own { changed, refusals, .. } => tokio::select! {
                _ = changed.changed() => {}
                Ok(()) = refusals.changed() => {}
            },
            Self::Shared(service) => {
                if service.changed().await.is_err() {
                    std::future::pending::<()>().await;
                }
            }
        }
    }

    pub(super) fn of(&self, gateway: &Key) -> Front {
        match self {
            Self::Own { table, refusals, .. } => match refusals.borrow().get(gateway) {
                Some(refusal) => Front::Refused(refusal.clone()),
                None => Front::Service(table.of(gateway).map(|service| addresses::of(&service)).unwrap_or_default()),
            },
            Self::Shared(service) => match &*service.borrow() {
                None => Front::Unknown,
                Some(service) => {
                    Front::Service(service.as_ref().map(|service| addresses::of(service)).unwrap_or_default())
                }
            },
        }
    }
}
