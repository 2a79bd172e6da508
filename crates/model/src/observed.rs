//! What the data plane reports back, for statuses: which ports are bound, and how the endpoints are.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::cluster::{ClusterId, EndpointSet, EndpointSource};
use crate::ids::{Name, RuleId};
use crate::origin::SettingsOrigin;
use crate::shared::Shared;

/// New endpoints of every cluster that has this source: the fast way, past translation and route table.
#[derive(Clone, Debug, PartialEq)]
pub struct EndpointUpdate {
    /// Whose.
    pub source: EndpointSource,
    /// All that are ready now.
    pub endpoints: Arc<EndpointSet>,
}

/// The data plane at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Observed {
    /// Configurations that are in the traffic; counts up from 1.
    pub generation: u64,
    /// Local ports that listeners asked for: bound, or the reason why not.
    pub ports: BTreeMap<u16, Result<(), String>>,
    /// Every cluster and its endpoints.
    pub clusters: Shared<BTreeMap<ClusterId, Arc<[ObservedEndpoint]>>>,
    /// DNS names of backends that are not as they should be.
    pub names: Shared<BTreeMap<Name, ObservedName>>,
    /// Rules whose WebSockets are closed again and again because nothing moves in them.
    pub idle: Shared<BTreeMap<RuleId, ObservedIdle>>,
    /// At the start: the first answers about names are still waited for.
    pub resolving: bool,
}

/// A DNS name whose last lookup brought no address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObservedName {
    /// Why: a word, then a sentence.
    pub reason: String,
    /// Whether the addresses of an earlier lookup are still used.
    pub stale: bool,
}

/// The limit that most WebSockets of a rule reach.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObservedIdle {
    /// How long nothing may move.
    pub limit: Duration,
    /// Where the settings stand that say so.
    pub origin: Arc<SettingsOrigin>,
}

/// An endpoint at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObservedEndpoint {
    /// Where.
    pub address: SocketAddr,
    /// Whether it takes traffic: up, not known yet, or taken all the same because too few others are.
    pub healthy: bool,
    /// `Up`, `Down`, `Unknown` or `Draining`.
    pub health: &'static str,
    /// Why it is down: the class of the last probe's failure, or `Ejected` when its requests fail; empty when it is not.
    pub reason: String,
}
