//! Watching a folder: events of the system, collected for a moment, and a slow look in case one was lost.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use notify::event::{AccessKind, AccessMode, ModifyKind};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use penstock_api::reasons::{ConditionType, RuleReason};
use penstock_api::schema::CheckerError;
use penstock_model::Problem;
use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, timeout, timeout_at};

use super::file_ref;
use super::load::Files;
use super::refresh::Folder;
use crate::store::{Change, Kind};

/// Every kind comes from the folder.
pub(crate) const KINDS: [Kind; 9] = [
    Kind::Gateway,
    Kind::Rule,
    Kind::Service,
    Kind::EndpointSlice,
    Kind::Secret,
    Kind::ConfigMap,
    Kind::Pod,
    Kind::Namespace,
    Kind::Grant,
];

/// A file that is being written settles meanwhile.
const QUIET: Duration = Duration::from_millis(20);
/// After the end of a write, a rename or a removal a file is whole; others may follow at once.
const WHOLE: Duration = Duration::from_millis(2);
/// So long after the last look an event is alone.
const LONE: Duration = Duration::from_millis(100);
/// A folder that never settles is read all the same.
const LONGEST: Duration = Duration::from_millis(500);
/// Events can be lost, and some file systems have none.
const RESCAN: Duration = Duration::from_secs(5);

/// Keeps the store up to date until it is gone.
pub(crate) async fn watch(folder: PathBuf, changes: mpsc::UnboundedSender<Vec<Change>>) -> Result<(), CheckerError> {
    let mut files = Folder::new(Files::new()?);
    let events = Arc::new(Events::default());
    let mut watcher = None;
    let mut looked = Instant::now();
    // The first time, and after a failure, everything is said.
    let mut all = true;
    while !changes.is_closed() {
        // First watch, then read: a change in between is seen by one of them.
        if !watcher.as_ref().is_some_and(|watcher: &Watching| watcher.is_of(&folder)) {
            watcher = Watching::start(&folder, &events);
        }
        let path = folder.clone();
        let read = tokio::task::spawn_blocking(move || {
            let loaded = files.refresh(&path, all);
            (files, loaded)
        });
        let Ok((back, loaded)) = read.await else { return Ok(()) };
        files = back;
        all = loaded.is_err();
        match loaded {
            Ok(different) if different.is_empty() => {}
            Ok(different) => drop(changes.send(different)),
            Err(error) => {
                let message = format!("cannot be read: {error}; what it said last stays in force");
                tracing::debug!(folder = %folder.display(), "{message}");
                drop(changes.send(vec![Change::Problems(vec![folder_problem(&folder, message)])]));
            }
        }
        settle(&events, looked).await;
        looked = Instant::now();
    }
    Ok(())
}

/// What the system tells.
#[derive(Default)]
struct Events {
    any: Notify,
    /// After the last one every file is whole.
    whole: AtomicBool,
}

impl Events {
    fn take(&self, kind: EventKind) {
        let whole = match kind {
            EventKind::Access(access) if access != AccessKind::Close(AccessMode::Write) => {
                // Reading is no change; our own reading would go round in circles.
                return;
            }
            EventKind::Access(_) | EventKind::Remove(_) | EventKind::Modify(ModifyKind::Name(_)) => true,
            _ => false,
        };
        self.whole.store(whole, Ordering::Relaxed);
        self.any.notify_one();
    }

    /// How long nothing more must come.
    fn quiet(&self) -> Duration {
        if self.whole.load(Ordering::Relaxed) { WHOLE } else { QUIET }
    }
}

/// Waits for an event and for the quiet after it, or for the next slow look. A lone event that leaves every file whole is
/// not waited for.
async fn settle(events: &Events, looked: Instant) {
    if timeout(RESCAN, events.any.notified()).await.is_ok() {
        if events.whole.load(Ordering::Relaxed) && looked.elapsed() > LONE {
            return;
        }
        let end = Instant::now() + LONGEST;
        while timeout_at(end.min(Instant::now() + events.quiet()), events.any.notified()).await.is_ok()
            && Instant::now() < end
        {}
    }
}

fn folder_problem(folder: &Path, message: String) -> Problem {
    let condition = ConditionType::Accepted.as_str();
    Problem { object: file_ref(folder), condition, reason: RuleReason::InvalidValue.as_str(), message }
}

/// A watcher and the folder that it really watches.
struct Watching {
    _watcher: RecommendedWatcher,
    real: Option<(u64, u64)>,
}

impl Watching {
    fn start(folder: &Path, events: &Arc<Events>) -> Option<Self> {
        let events = Arc::clone(events);
        let seen = move |event: notify::Result<Event>| match event {
            Ok(event) => events.take(event.kind),
            Err(_) => events.any.notify_one(),
        };
        let start = || {
            let mut watcher = notify::recommended_watcher(seen)?;
            watcher.watch(folder, RecursiveMode::Recursive)?;
            Ok::<_, notify::Error>(watcher)
        };
        match start() {
            Ok(watcher) => Some(Self { _watcher: watcher, real: identity(folder) }),
            Err(error) => {
                tracing::debug!(folder = %folder.display(), %error, "no events; looking every {RESCAN:?}");
                None
            }
        }
    }

    /// Whether the folder is still the one that is watched.
    fn is_of(&self, folder: &Path) -> bool {
        self.real.is_some() && identity(folder) == self.real
    }
}

fn identity(folder: &Path) -> Option<(u64, u64)> {
    std::fs::metadata(folder).ok().map(|metadata| (metadata.dev(), metadata.ino()))
}
