//! The whole configuration: what one translation yields and one compilation takes.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::cluster::{Cluster, ClusterId};
use crate::listener::Listener;

/// Everything that the data plane shall do. Published whole, only when it differs from the last one.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Config {
    /// Listeners, sorted by identity.
    pub listeners: Vec<Arc<Listener>>,
    /// Every cluster that a route names.
    pub clusters: BTreeMap<ClusterId, Arc<Cluster>>,
}
