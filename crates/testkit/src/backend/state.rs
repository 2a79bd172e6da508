//! What all connections of one backend share: its counters, its switches, and what it has seen.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::broadcast;
use tokio::task::AbortHandle;

/// A request as the backend received it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Received {
    /// The method.
    pub method: String,
    /// The target, as in the request line.
    pub target: String,
    /// The headers in the order received.
    pub headers: Vec<(String, String)>,
    /// The port of the other end: which connection brought it.
    pub connection: u16,
}

impl Received {
    /// The target without its query.
    #[must_use]
    pub fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }

    /// The first header of this name.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str())
    }
}

/// The shared state.
#[derive(Debug)]
pub(super) struct State {
    pub(super) name: String,
    pub(super) healthy: AtomicBool,
    pub(super) accepted: AtomicU64,
    pub(super) events: broadcast::Sender<Option<String>>,
    pub(super) commands: broadcast::Sender<String>,
    behaviour: Mutex<String>,
    requests: Mutex<Vec<Received>>,
    connections: Mutex<HashMap<u64, AbortHandle>>,
    websockets: Mutex<Vec<String>>,
}

impl State {
    pub(super) fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            healthy: AtomicBool::new(true),
            accepted: AtomicU64::new(0),
            events: broadcast::channel(1024).0,
            commands: broadcast::channel(1024).0,
            behaviour: Mutex::default(),
            requests: Mutex::default(),
            connections: Mutex::default(),
            websockets: Mutex::default(),
        }
    }

    /// The behaviour of requests that do not name one.
    pub(super) fn behaviour(&self) -> MutexGuard<'_, String> {
        lock(&self.behaviour)
    }

    /// Every request so far.
    pub(super) fn requests(&self) -> MutexGuard<'_, Vec<Received>> {
        lock(&self.requests)
    }

    /// The open connections, by the order in which they were accepted.
    pub(super) fn connections(&self) -> MutexGuard<'_, HashMap<u64, AbortHandle>> {
        lock(&self.connections)
    }

    /// How each WebSocket that is over ended.
    pub(super) fn websocket_ends(&self) -> MutexGuard<'_, Vec<String>> {
        lock(&self.websockets)
    }

    pub(super) fn healthy(&self) -> bool {
        self.healthy.load(Ordering::Relaxed)
    }
}

/// Removes a connection from the open ones, however its task ends.
pub(super) struct OpenGuard {
    pub(super) state: std::sync::Arc<State>,
    pub(super) id: u64,
}

impl Drop for OpenGuard {
    fn drop(&mut self) {
        self.state.connections().remove(&self.id);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
