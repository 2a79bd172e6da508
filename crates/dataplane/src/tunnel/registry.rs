//! The live tunnels of one worker, so that those of an endpoint, a listener or the whole worker can be counted and closed.

use std::cell::{Cell, RefCell};
use std::hash::{BuildHasher, RandomState};
use std::rc::Rc;
use std::time::Duration;

use hashbrown::HashMap;

use super::control::{CloseReason, Control};
use crate::cluster::{Moved, Traffic};
use crate::timer::{self, Span, Tick};

/// How many counters are read before other tasks have their turn: less than a tenth of a millisecond.
const READ_AT_ONCE: usize = 500;

/// Which tunnels are meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Filter {
    /// All of the worker.
    All,
    /// Those to an endpoint.
    Endpoint(u64),
    /// Those that came by a listener.
    Listener(u64),
}

#[derive(Debug)]
struct Entry {
    control: Control,
    endpoint: u64,
    listener: u64,
}

impl Entry {
    fn matches(&self, filter: Filter) -> bool {
        match filter {
            Filter::All => true,
            Filter::Endpoint(endpoint) => self.endpoint == endpoint,
            Filter::Listener(listener) => self.listener == listener,
        }
    }
}

#[derive(Debug, Default)]
struct Shared {
    tunnels: RefCell<HashMap<u64, Entry>>,
    next: Cell<u64>,
}

/// The registry of a worker; clones are the same registry.
#[derive(Clone, Debug, Default)]
pub struct Registry(Rc<Shared>);

/// Keeps a tunnel in the registry. Held by the task that runs it.
#[derive(Debug)]
#[must_use = "the tunnel leaves the registry when this is dropped"]
pub struct Registered {
    registry: Registry,
    number: u64,
}

/// A close that is spread over time; dropped, it closes no more.
#[derive(Debug)]
#[must_use = "closing stops when this is dropped"]
pub struct Spread {
    task: tokio::task::JoinHandle<()>,
}

impl Registry {
    /// Enters a tunnel until the result is dropped.
    pub fn insert(&self, control: Control, endpoint: u64, listener: u64) -> Registered {
        let number = self.0.next.get();
        self.0.next.set(number + 1);
        self.0.tunnels.borrow_mut().insert(number, Entry { control, endpoint, listener });
        Registered { registry: self.clone(), number }
    }

    /// How many there are.
    pub fn count(&self, filter: Filter) -> usize {
        let tunnels = self.0.tunnels.borrow();
        if filter == Filter::All {
            tunnels.len()
        } else {
            tunnels.values().filter(|entry| entry.matches(filter)).count()
        }
    }

    /// What each endpoint's tunnels have relayed so far: of those that are open when it is their turn. Thousands are read in
    /// pieces, so that traffic goes on meanwhile.
    ///
    /// # Panics
    ///
    /// Outside of a runtime.
    pub async fn moved(&self) -> Traffic {
        let mut traffic = Traffic::new();
        for numbers in self.matching(Filter::All).chunks(READ_AT_ONCE) {
            {
                let tunnels = self.0.tunnels.borrow();
                for entry in numbers.iter().filter_map(|number| tunnels.get(number)) {
                    let (from_client, from_backend) = (entry.control.from_client(), entry.control.from_backend());
                    *traffic.entry(entry.endpoint).or_default() += Moved { from_client, from_backend };
                }
            }
            tokio::task::yield_now().await;
        }
        traffic
    }

    /// Ends them all at once, with a Close where one can be sent without waiting.
    pub fn cut_all(&self, filter: Filter, reason: CloseReason) {
        for control in self.matching(filter).into_iter().filter_map(|number| self.control(number)) {
            control.cut(reason);
        }
    }

    /// Closes those that are there now, evenly over `window`. Where in its share of the window each is closed differs from
    /// worker to worker: many workers with one tunnel each do not close them all in one instant.
    ///
    /// # Panics
    ///
    /// Outside of a local runtime or `LocalSet`.
    pub fn close_spread(&self, filter: Filter, window: Duration, reason: CloseReason) -> Spread {
        let numbers = self.matching(filter);
        let offset = (RandomState::new().hash_one(0) >> 32) as u32;
        let start = timer::now();
        let registry = self.clone();
        let task = tokio::task::spawn_local(async move {
            let count = numbers.len();
            for (place, number) in numbers.into_iter().enumerate() {
                // Those that ended meanwhile cost no waiting.
                if registry.control(number).is_some() {
                    timer::sleep_until(moment(start, window, place, count, offset)).await;
                    if let Some(control) = registry.control(number) {
                        control.close(reason);
                    }
                }
            }
        });
        Spread { task }
    }

    /// In the order in which they came.
    fn matching(&self, filter: Filter) -> Vec<u64> {
        let tunnels = self.0.tunnels.borrow();
        let mut numbers: Vec<u64> =
            tunnels.iter().filter(|(_, entry)| entry.matches(filter)).map(|(number, _)| *number).collect();
        numbers.sort_unstable();
        numbers
    }

    fn control(&self, number: u64) -> Option<Control> {
        self.0.tunnels.borrow().get(&number).map(|entry| entry.control.clone())
    }
}

/// When the tunnel in `place` of `count` is closed: in its share of the window, `offset` 2^32ths into it.
fn moment(start: Tick, window: Duration, place: usize, count: usize, offset: u32) -> Tick {
    let share = (place as f64 + f64::from(offset) / f64::from(u32::MAX)) / count.max(1) as f64;
    start.after(Span::at_least(window.mul_f64(share.min(1.0)))).min(start.after(Span::at_least(window)))
}

impl Spread {
    /// Whether all were told.
    pub fn is_finished(&self) -> bool {
        self.task.is_finished()
    }
}

impl Drop for Spread {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        // Taken out first and dropped outside of the borrow.
        let entry = self.registry.0.tunnels.borrow_mut().remove(&self.number);
        drop(entry);
    }
}
