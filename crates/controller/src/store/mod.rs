//! The store: one task owns the objects, translates them and publishes what comes of it.
//!
//! Changes only mark it dirty. What is translated is an immutable snapshot, on another thread, so that endpoints go on
//! flowing meanwhile. Nothing is published before every list is in and every reference was looked up.

mod change;
mod debounce;
mod kept;
mod objects;
mod publish;
mod slices;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use penstock_api::ApplicationGateway;
use penstock_translate::{Key, Outcome, Snapshot, Wants};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

pub use change::{Change, Id, Kind, Object, Scope, key};
pub use debounce::Delays;
pub(crate) use kept::Kept;

use crate::frontend::Frontend;
use crate::outputs::{CurrentObjects, Outputs, State};
use debounce::Debounce;
pub use objects::snapshot;
pub(crate) use objects::with;
use objects::{Effect, Objects};
pub(crate) use publish::Publisher;
pub(crate) use slices::Slices;

/// Routes: a few changes at once, because two that have nothing to do with each other may well come together, and a
/// translation costs little; in a burst at least every 100 ms.
const ROUTES: Delays = Delays { quiet: Duration::from_millis(10), max: Duration::from_millis(100), at_once: 3 };
/// Statuses that change with endpoints (`NoEndpoints`): the endpoints themselves are long there.
const STATUSES: Delays = Delays { quiet: Duration::from_millis(200), max: Duration::from_secs(1), at_once: 0 };
/// The longest wait for a time of day: clocks are put right.
const CLOCK: Duration = Duration::from_secs(3600);
/// How long a configuration waits for what its new references lead to, once there is one in force.
const HOLD: Duration = Duration::from_secs(1);

/// Every gateway; said only when everything has been read once.
pub(crate) type Gateways = Arc<BTreeMap<Key, Arc<ApplicationGateway>>>;

/// What a store needs to know about its source.
pub(crate) struct Plan {
    /// Lists that must be in before anything is published.
    pub(crate) lists: Vec<Scope>,
    /// Whether references are looked up one by one; else the lists have everything.
    pub(crate) references: bool,
    /// Whether the local ports of the gateways' own Services must be known first.
    pub(crate) local_ports: bool,
    /// Where what was read is kept for the next start.
    pub(crate) kept: Option<Kept>,
}

/// The task, before it runs.
pub(crate) struct Store<F> {
    plan: Plan,
    changes: mpsc::UnboundedReceiver<Vec<Change>>,
    asked: mpsc::UnboundedReceiver<oneshot::Sender<Snapshot>>,
    wants: watch::Sender<Wants>,
    gateways: watch::Sender<Option<Gateways>>,
    publisher: Publisher,
    objects: Objects,
    routes: Debounce,
    statuses: Debounce,
    keeping: Debounce,
    writing: Option<JoinHandle<()>>,
    stage: Stage<F>,
    held: Option<Held>,
    published: bool,
    /// When the same objects mean something else, because time went by.
    again: Option<Instant>,
}

/// Where the translation is.
enum Stage<F> {
    Idle(F),
    /// And the publisher's moment of what is translated.
    Running(JoinHandle<(F, Outcome)>, u64),
    /// Only between two steps.
    Moving,
}

/// A translation that waits for its references.
struct Held {
    outcome: Outcome,
    moment: u64,
    until: Option<Instant>,
}

/// How to reach a store.
pub(crate) struct Handles {
    pub(crate) changes: mpsc::UnboundedSender<Vec<Change>>,
    pub(crate) wants: watch::Receiver<Wants>,
    pub(crate) gateways: watch::Receiver<Option<Gateways>>,
    pub(crate) state: Arc<watch::Sender<Arc<State>>>,
    pub(crate) outputs: Outputs,
}

impl<F: Frontend> Store<F> {
    pub(crate) fn new(plan: Plan, frontend: F) -> (Self, Handles) {
        let (sender, changes) = mpsc::unbounded_channel();
        let (wants, wanted) = watch::channel(Wants::default());
        let (gateways, all_gateways) = watch::channel(None);
        let (publisher, mut outputs) = Publisher::new(frontend.endpoints());
        let (ask, asked) = mpsc::unbounded_channel();
        outputs.objects = CurrentObjects(ask);
        let state = publisher.state();
        let store = Self {
            plan,
            changes,
            asked,
            wants,
            gateways,
            publisher,
            objects: Objects::default(),
            routes: Debounce::new(ROUTES),
            statuses: Debounce::new(STATUSES),
            keeping: Debounce::new(kept::DELAYS),
            writing: None,
            stage: Stage::Idle(frontend),
            held: None,
            published: false,
            again: None,
        };
        (store, Handles { changes: sender, wants: wanted, gateways: all_gateways, state, outputs })
    }

    /// Runs until no source is left.
    pub(crate) async fn run(mut self) {
        loop {
            let due = self.due();
            tokio::select! {
                batch = self.changes.recv() => match batch {
                    Some(batch) => self.take(batch),
                    None => return,
                },
                Some(answer) = self.asked.recv() => {
                    // Who asked may have gone.
                    let _ = answer.send(self.objects.snapshot.clone());
                }
                (frontend, outcome, moment) = finished(&mut self.stage) => {
                    self.stage = Stage::Idle(frontend);
                    self.consider(outcome, moment);
                }
                () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => self.act(),
            }
        }
    }

    fn take(&mut self, batch: Vec<Change>) {
        let mut effect = Effect::default();
        for change in batch {
            self.objects.apply(change, &mut effect);
        }
        if !effect.endpoints.is_empty() {
            self.publisher.endpoints(&effect.endpoints, &self.objects.snapshot);
            self.statuses.mark(Instant::now());
        }
        if effect.routes {
            self.routes.mark(Instant::now());
        }
        if self.plan.kept.is_some() && (effect.routes || !effect.endpoints.is_empty()) {
            self.keeping.mark(Instant::now());
        }
    }

    /// When there is something to do besides taking changes.
    fn due(&self) -> Option<Instant> {
        let translation = match self.stage {
            Stage::Idle(_) if self.complete() => {
                self.routes.due().into_iter().chain(self.statuses.due()).chain(self.again).min()
            }
            _ => None,
        };
        // Not before there is something that was good.
        let keeping = self.keeping.due().filter(|_| self.published);
        translation.into_iter().chain(self.held.as_ref().and_then(|held| held.until)).chain(keeping).min()
    }

    fn act(&mut self) {
        let now = Instant::now();
        if self.held.as_ref().and_then(|held| held.until).is_some_and(|until| until <= now)
            && let Some(held) = self.held.take()
        {
            self.publish(held.outcome, held.moment);
        }
        let due = |due: Option<Instant>| due.is_some_and(|due| due <= now);
        if self.published && due(self.keeping.due()) {
            self.keep(now);
        }
        if (due(self.routes.due()) || due(self.statuses.due()) || due(self.again)) && self.complete() {
            self.stage = match std::mem::replace(&mut self.stage, Stage::Moving) {
                Stage::Idle(mut frontend) => {
                    self.routes.clear();
                    self.statuses.clear();
                    self.again = None;
                    let snapshot = Snapshot { now: Timestamp::now().as_second(), ..self.objects.snapshot.clone() };
                    self.gateways.send_if_modified(|known| {
                        let differ = !known.as_ref().is_some_and(|known| same_gateways(known, &snapshot.gateways));
                        if differ {
                            *known = Some(Arc::new((*snapshot.gateways).clone()));
                        }
                        differ
                    });
                    let translation = tokio::task::spawn_blocking(move || {
                        let outcome = frontend.translate(&snapshot);
                        (frontend, outcome)
                    });
                    Stage::Running(translation, self.publisher.moment())
                }
                running => running,
            };
        }
    }

    /// Writes what there is into the file, on another thread, one at a time.
    fn keep(&mut self, now: Instant) {
        self.keeping.clear();
        if self.writing.as_ref().is_some_and(|writing| !writing.is_finished()) {
            return self.keeping.mark(now);
        }
        let Some(kept) = self.plan.kept.clone() else { return };
        let (snapshot, answered) = (self.objects.snapshot.clone(), self.objects.answered());
        self.writing = Some(tokio::task::spawn_blocking(move || {
            if let Err(error) = kept.write(&snapshot, answered) {
                tracing::warn!(%error, "{kept} is not written: a restart without the API server would find an older one, or none");
            }
        }));
    }

    /// Whether everything that is watched was read once.
    fn complete(&self) -> bool {
        self.plan.lists.iter().all(|scope| self.objects.has_list(scope))
            && (!self.plan.local_ports || self.objects.snapshot.local_ports.is_some())
    }

    /// Publishes a translation, or holds it until its references were looked up.
    fn consider(&mut self, outcome: Outcome, moment: u64) {
        self.again = outcome.again_at.map(|at| {
            let wait = Duration::from_secs(u64::try_from(at - Timestamp::now().as_second()).unwrap_or(0));
            Instant::now() + wait.min(CLOCK)
        });
        if self.plan.references {
            self.wants.send_if_modified(|wants| {
                let differs = *wants != outcome.wants;
                if differs {
                    wants.clone_from(&outcome.wants);
                }
                differs
            });
            if !self.objects.answers(&outcome.wants) {
                let until = match self.held.take() {
                    Some(held) => held.until,
                    None => self.published.then(|| Instant::now() + HOLD),
                };
                self.held = Some(Held { outcome, moment, until });
                return;
            }
        }
        self.held = None;
        self.publish(outcome, moment);
    }

    fn publish(&mut self, outcome: Outcome, moment: u64) {
        self.published = true;
        self.publisher.publish(outcome, moment, &self.objects.snapshot, self.objects.problems());
    }
}

/// Whether these are the same objects.
fn same_gateways(a: &BTreeMap<Key, Arc<ApplicationGateway>>, b: &BTreeMap<Key, Arc<ApplicationGateway>>) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.0 == b.0 && Arc::ptr_eq(a.1, b.1))
}

/// The end of a running translation.
async fn finished<F>(stage: &mut Stage<F>) -> (F, Outcome, u64) {
    match stage {
        Stage::Running(task, moment) => match task.await {
            Ok((frontend, outcome)) => (frontend, outcome, *moment),
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            // The runtime is shutting down.
            Err(_) => std::future::pending().await,
        },
        _ => std::future::pending().await,
    }
}
