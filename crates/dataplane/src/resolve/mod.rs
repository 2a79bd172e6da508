//! DNS names of backends: one task for each name, however many clusters name it.
//!
//! Lives on the plane's thread, as probes do. What a name's addresses are is asked for again when their TTL is over (see
//! `resolved`); a change goes to the plane, which gives it to the clusters as it does endpoints of Services.

mod lookup;
mod resolved;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use penstock_model::{Endpoint, EndpointSet, EndpointSource, Name, ObservedName, Shared};
use tokio::sync::Semaphore;
use tokio::sync::mpsc::UnboundedSender;
use tokio::task::JoinHandle;

use crate::metrics::Metrics;
use lookup::Resolver;
use resolved::Resolved;

/// Names that are asked for at the same time. A server takes 32 questions at once, and each name is two.
const AT_ONCE: usize = 8;

/// Which addresses may be backends: the same rule that the translation has for addresses that somebody wrote.
#[derive(Clone)]
pub struct AddressRule(Arc<Rule>);

type Rule = dyn Fn(IpAddr) -> Result<(), &'static str> + Send + Sync;

impl AddressRule {
    /// A rule that says what an address is that may not be a backend, such as `a loopback address`.
    pub fn new(rule: impl Fn(IpAddr) -> Result<(), &'static str> + Send + Sync + 'static) -> Self {
        Self(Arc::new(rule))
    }

    fn permits(&self, address: IpAddr) -> Result<(), &'static str> {
        (self.0)(address)
    }
}

impl fmt::Debug for AddressRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AddressRule")
    }
}

/// All names that are followed.
#[derive(Debug)]
pub(crate) struct Names {
    asking: Rc<Asking>,
    running: HashMap<Name, Running>,
    /// Names that are not as they should be.
    problems: Shared<BTreeMap<Name, ObservedName>>,
}

/// What every task needs.
#[derive(Debug)]
struct Asking {
    resolver: Resolver,
    rule: AddressRule,
    slots: Semaphore,
    metrics: Metrics,
    changes: UnboundedSender<Name>,
}

#[derive(Debug)]
struct Running {
    task: JoinHandle<()>,
    state: Rc<RefCell<Resolved>>,
}

impl Names {
    /// Asks these servers, or those of the system; says on `changes` which name has changed.
    pub(crate) fn new(
        servers: Vec<SocketAddr>,
        rule: AddressRule,
        metrics: Metrics,
        changes: UnboundedSender<Name>,
    ) -> Self {
        let (resolver, slots) = (Resolver::new(servers), Semaphore::new(AT_ONCE));
        let asking = Rc::new(Asking { resolver, rule, slots, metrics, changes });
        Self { asking, running: HashMap::new(), problems: Shared::default() }
    }

    /// Follows these names and no others.
    pub(crate) fn sync(&mut self, wanted: &BTreeSet<Name>) {
        for (name, gone) in self.running.extract_if(|name, _| !wanted.contains(name)) {
            gone.task.abort();
            if self.problems.contains_key(&name) {
                self.problems.remove(&name);
            }
        }
        for name in wanted {
            if !self.running.contains_key(name) {
                let state = Rc::default();
                let task = follow(Arc::clone(name), Rc::clone(&state), Rc::clone(&self.asking));
                self.running.insert(Arc::clone(name), Running { task: tokio::task::spawn_local(task), state });
            }
        }
        self.count();
    }

    /// Whether there are any.
    pub(crate) fn is_empty(&self) -> bool {
        self.running.is_empty()
    }

    /// Whether the first answer about one is still to come.
    pub(crate) fn are_pending(&self) -> bool {
        self.running.values().any(|running| !running.state.borrow().is_answered())
    }

    /// The endpoints of a source that is a name; `None`: nothing is known yet.
    pub(crate) fn endpoints(&self, source: &EndpointSource) -> Option<EndpointSet> {
        let EndpointSource::Name { name, port } = source else { return None };
        let state = self.running.get(name)?.state.borrow();
        let host: Name = name.strip_suffix('.').unwrap_or(name).into();
        let endpoint = |address: &IpAddr| Endpoint {
            address: SocketAddr::new(*address, *port),
            host: Some(Arc::clone(&host)),
            weight: 1,
        };
        state.is_answered().then(|| EndpointSet::new(state.addresses().iter().map(endpoint).collect()))
    }

    /// Looks at a name that has changed, and says what became of it.
    pub(crate) fn look(&mut self, name: &Name) {
        let Some(running) = self.running.get(name) else { return };
        let state = running.state.borrow();
        match state.problem() {
            Some(problem) if self.problems.get(name) == Some(problem) => {}
            Some(problem) => {
                tracing::warn!(%name, kept = problem.stale, reason = problem.reason, "a DNS name of a backend cannot be resolved");
                self.problems.insert(Arc::clone(name), problem.clone());
            }
            None => {
                tracing::info!(%name, addresses = ?state.addresses(), "resolved");
                if self.problems.contains_key(name) {
                    self.problems.remove(name);
                }
            }
        }
        self.count();
    }

    /// Names that are not as they should be.
    pub(crate) fn problems(&self) -> &Shared<BTreeMap<Name, ObservedName>> {
        &self.problems
    }

    fn count(&self) {
        let failing = i64::try_from(self.problems.len()).unwrap_or(i64::MAX);
        self.asking.metrics.dns_names_failing.with_label_values::<&str>(&[]).set(failing);
    }
}

/// Asks for a name for ever.
async fn follow(name: Name, state: Rc<RefCell<Resolved>>, asking: Rc<Asking>) {
    loop {
        // Never closed.
        let slot = asking.slots.acquire().await;
        let answer = asking.resolver.lookup(&name).await;
        drop(slot);
        let next = state.borrow_mut().take(&answer, &asking.rule, Instant::now());
        asking.metrics.dns_lookups.with_label_values(&[next.result]).inc();
        if next.changed {
            // Nobody listens any more when the plane ends.
            let _ = asking.changes.send(Arc::clone(&name));
        }
        tokio::time::sleep(later(next.pause)).await;
    }
}

/// Up to a tenth later, so that names and replicas do not ask in step. Never earlier: a server would answer from what it
/// remembers.
fn later(pause: Duration) -> Duration {
    let share = ahash::RandomState::new().hash_one(()) % 1000;
    pause + pause.mul_f64(f64::from(u32::try_from(share).unwrap_or(0)) / 10_000.0)
}
