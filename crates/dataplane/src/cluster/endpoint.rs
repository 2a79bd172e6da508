//! An endpoint that lives: what all workers share about it. Connections are not here, they belong to workers.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant, SystemTime};

use penstock_model::{Endpoint, Name};

use super::gate::Place;
use super::tally::{LastProbe, Moved, Tally};
use crate::upstream::Room;

/// What [`LiveEndpoint::since`] counts from.
static EPOCH: LazyLock<Instant> = LazyLock::new(Instant::now);

fn after_epoch(moment: Instant) -> u64 {
    u64::try_from(moment.saturating_duration_since(*EPOCH).as_millis()).unwrap_or(u64::MAX)
}

/// Health as the probes see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Health {
    /// No result yet: takes traffic.
    Unknown = 0,
    /// The last probes went well.
    Up = 1,
    /// Too many probes failed in a row: takes no traffic.
    Down = 2,
}

impl Health {
    /// As `/status` writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "Unknown",
            Self::Up => "Up",
            Self::Down => "Down",
        }
    }
}

/// An endpoint of a cluster. It keeps its identity while its address stays in the cluster, whatever else changes.
#[derive(Debug)]
pub struct LiveEndpoint {
    /// Unique in the process and never used again.
    pub(crate) number: u64,
    /// As configured.
    pub(crate) endpoint: Endpoint,
    /// Its text, for logs and statuses.
    pub(crate) address: Arc<str>,
    /// Where its cluster has its endpoints from, in words.
    pub(crate) source: Name,
    health: AtomicU8,
    /// It is out for a while because its requests fail, whatever the probes say.
    ejected: AtomicBool,
    /// Requests that failed since the last one that did not.
    failures: AtomicU32,
    /// Since when it serves, in milliseconds after [`EPOCH`].
    since: AtomicU64,
    /// It has left, and keeps what it has until its drain is over.
    departing: AtomicBool,
    requests: AtomicU32,
    websockets: AtomicU32,
    /// Open ones, in use or idle, over all workers.
    connections: AtomicU32,
    /// For people who look on.
    tally: Tally,
}

/// Counts a connection to its endpoint for as long as it is open.
#[derive(Debug)]
pub(crate) struct Connected {
    endpoint: Arc<LiveEndpoint>,
    _room: Room,
}

/// Counts a request or WebSocket at its endpoint for as long as it lives.
#[derive(Debug)]
pub(crate) struct Active {
    endpoint: Arc<LiveEndpoint>,
    websocket: bool,
    /// In a cluster with a limit.
    place: Option<Place>,
}

impl LiveEndpoint {
    pub(crate) fn new(endpoint: Endpoint, source: &Name) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        Self {
            number: NEXT.fetch_add(1, Ordering::Relaxed),
            address: endpoint.address.to_string().into(),
            source: Arc::clone(source),
            endpoint,
            health: AtomicU8::new(Health::Unknown as u8),
            ejected: AtomicBool::new(false),
            failures: AtomicU32::new(0),
            since: AtomicU64::new(after_epoch(Instant::now())),
            departing: AtomicBool::new(false),
            requests: AtomicU32::new(0),
            websockets: AtomicU32::new(0),
            connections: AtomicU32::new(0),
            tally: Tally::default(),
        }
    }

    /// Where it is.
    pub fn address(&self) -> SocketAddr {
        self.endpoint.address
    }

    /// What the probes say.
    pub fn health(&self) -> Health {
        match self.health.load(Ordering::Relaxed) {
            1 => Health::Up,
            2 => Health::Down,
            _ => Health::Unknown,
        }
    }

    /// Whether it changed.
    pub(crate) fn set_health(&self, health: Health) -> bool {
        self.health.swap(health as u8, Ordering::Relaxed) != health as u8
    }

    /// Whether it takes traffic: neither its probes nor its requests say that it should not.
    pub(crate) fn is_available(&self) -> bool {
        self.health() != Health::Down && !self.is_ejected()
    }

    pub(crate) fn is_ejected(&self) -> bool {
        self.ejected.load(Ordering::Relaxed)
    }

    /// Takes it out, or back in; it begins without failures either way.
    pub(crate) fn set_ejected(&self, ejected: bool) {
        self.failures.store(0, Ordering::Relaxed);
        self.ejected.store(ejected, Ordering::Relaxed);
    }

    /// Since when it serves without a break.
    pub(super) fn since(&self) -> Instant {
        *EPOCH + Duration::from_millis(self.since.load(Ordering::Relaxed))
    }

    /// It has come back: it was down, ejected, or gone from its cluster until this moment.
    pub(crate) fn begin_anew(&self, now: Instant) {
        self.since.store(after_epoch(now), Ordering::Relaxed);
    }

    /// A request went well. Writes only after failures: the line stays shared by all workers.
    pub(crate) fn succeeded(&self) {
        if self.failures.load(Ordering::Relaxed) != 0 {
            self.failures.store(0, Ordering::Relaxed);
        }
    }

    /// A request failed; whether that makes a multiple of `limit` in a row. What was sent before it was taken out says
    /// nothing new.
    pub(crate) fn failed(&self, limit: u32) -> bool {
        limit > 0 && !self.is_ejected() && (self.failures.fetch_add(1, Ordering::Relaxed) + 1).is_multiple_of(limit)
    }

    /// Whether it left its cluster and has not come back.
    pub fn is_departing(&self) -> bool {
        self.departing.load(Ordering::Relaxed)
    }

    pub(crate) fn set_departing(&self, departing: bool) {
        self.departing.store(departing, Ordering::Relaxed);
    }

    /// Requests under way and WebSockets open, over all workers.
    pub fn active(&self) -> (u32, u32) {
        (self.requests.load(Ordering::Relaxed), self.websockets.load(Ordering::Relaxed))
    }

    /// Its key in a [`Traffic`](super::Traffic).
    pub fn number(&self) -> u64 {
        self.number
    }

    /// WebSockets that were opened since it is there, over all workers.
    pub fn websockets_opened(&self) -> u64 {
        self.tally.opened()
    }

    /// What the tunnels that are over have relayed.
    pub(crate) fn moved(&self) -> Moved {
        self.tally.moved()
    }

    /// A tunnel is over that has relayed so much.
    pub(crate) fn tunnel_ended(&self, moved: Moved) {
        self.tally.ended(moved);
    }

    /// When its last probe ended; `None`: it is not probed, or was not yet.
    pub fn last_probe(&self) -> Option<SystemTime> {
        self.tally.last_probe()
    }

    /// Whose probes are about it.
    pub(crate) fn probed_by(&self, probed: Option<&Arc<LastProbe>>) {
        self.tally.probed_by(probed);
    }

    /// Connections that are open, over all workers.
    pub(crate) fn connections(&self) -> u32 {
        self.connections.load(Ordering::Relaxed)
    }

    /// A new connection to it, which has this room.
    pub(crate) fn connected(self: &Arc<Self>, room: Room) -> Connected {
        self.connections.fetch_add(1, Ordering::Relaxed);
        Connected { endpoint: Arc::clone(self), _room: room }
    }

    pub(crate) fn begin(self: &Arc<Self>, place: Option<Place>) -> Active {
        self.requests.fetch_add(1, Ordering::Relaxed);
        Active { endpoint: Arc::clone(self), websocket: false, place }
    }
}

impl Active {
    /// From now on it is a WebSocket.
    pub(crate) fn upgrade(&mut self) {
        if !std::mem::replace(&mut self.websocket, true) {
            self.endpoint.requests.fetch_sub(1, Ordering::Relaxed);
            self.endpoint.websockets.fetch_add(1, Ordering::Relaxed);
            self.endpoint.tally.one_opened();
        }
    }

    /// It is over; its place goes to the next attempt.
    pub(crate) fn into_place(mut self) -> Option<Place> {
        self.place.take()
    }

    pub(crate) fn endpoint(&self) -> &Arc<LiveEndpoint> {
        &self.endpoint
    }
}

impl Drop for Connected {
    fn drop(&mut self) {
        self.endpoint.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for Active {
    fn drop(&mut self) {
        let counter = if self.websocket { &self.endpoint.websockets } else { &self.endpoint.requests };
        counter.fetch_sub(1, Ordering::Relaxed);
    }
}
