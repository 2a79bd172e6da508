//! Which names are resolved, and for how long the start waits for them.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use penstock_model::{Cluster, ClusterChange, EndpointSource};

use super::clusters::Clusters;
use crate::resolve::Names;

/// How long the first answers keep a process that starts from being ready: one whose DNS is down serves the rest.
const WAIT: Duration = Duration::from_secs(2);

/// Follows the names that clusters have after these changes, also retired ones that have something open.
pub(super) fn follow(names: &mut Names, clusters: &Clusters, changes: &[ClusterChange<'_>]) {
    let is_name = |cluster: &Arc<Cluster>| matches!(cluster.source, EndpointSource::Name { .. });
    if !names.is_empty() || changes.iter().filter_map(|change| change.now).any(is_name) {
        let wanted: BTreeSet<_> = clusters.names().map(|(name, _)| Arc::clone(name)).collect();
        names.sync(&wanted);
    }
}

/// The wait of the start.
#[derive(Debug, Default)]
pub(super) enum FirstAnswers {
    /// No configuration is in yet.
    #[default]
    Starting,
    /// Until all are in, or this moment.
    Waiting(Instant),
    /// No more, whatever comes.
    Over,
}

impl FirstAnswers {
    /// A configuration is in; some names of it have no answer yet, or none.
    pub(super) fn begin(&mut self, pending: bool) {
        if matches!(self, Self::Starting) {
            *self = if pending { Self::Waiting(Instant::now() + WAIT) } else { Self::Over };
        }
    }

    /// Perhaps every answer is in.
    pub(super) fn are_in(&mut self, all: bool) {
        if all {
            self.give_up();
        }
    }

    /// The wait is over.
    pub(super) fn give_up(&mut self) {
        if matches!(self, Self::Waiting(_)) {
            *self = Self::Over;
        }
    }

    /// When the wait ends, while there is one.
    pub(super) fn deadline(&self) -> Option<Instant> {
        match self {
            Self::Waiting(until) => Some(*until),
            _ => None,
        }
    }
}
