//! The statuses that the API server has, so that only differences are written.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use penstock_api::k8s::ObjectMeta;
use tokio::sync::watch;

use super::id_of;
use crate::store::{Id, Kind};

/// What the API server has of an object.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Live {
    pub(crate) uid: String,
    pub(crate) generation: Option<i64>,
    pub(crate) resource_version: String,
    /// As JSON text: as a tree it would take ten times as much, more than all else that is known of a rule.
    pub(crate) status: Option<Arc<str>>,
}

/// Filled by the watches and by the answers to writes; asked by the writer.
#[derive(Clone, Debug)]
pub(crate) struct LiveStatuses {
    all: Arc<Mutex<HashMap<Id, Live>>>,
    /// Counts statuses that a watch shows different: somebody else may have written them.
    differed: Arc<watch::Sender<u64>>,
}

impl Default for LiveStatuses {
    fn default() -> Self {
        Self { all: Arc::default(), differed: Arc::new(watch::channel(0).0) }
    }
}

impl LiveStatuses {
    /// Wakes when a watch shows another status than the one that is known.
    pub(crate) fn subscribe(&self) -> watch::Receiver<u64> {
        self.differed.subscribe()
    }

    /// A watch showed an object.
    pub(crate) fn watched(&self, kind: Kind, metadata: &ObjectMeta, status: Option<Arc<str>>) {
        if self.saw(kind, metadata, status) {
            self.differed.send_modify(|count| *count += 1);
        }
    }

    /// An object was seen in a version, which may be older than what is known. Whether its status is another one.
    pub(crate) fn saw(&self, kind: Kind, metadata: &ObjectMeta, status: Option<Arc<str>>) -> bool {
        let live = Live {
            uid: metadata.uid.clone().unwrap_or_default(),
            generation: metadata.generation,
            resource_version: metadata.resource_version.clone().unwrap_or_default(),
            status,
        };
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        let old = all.get(&id_of(kind, metadata));
        if old.is_some_and(|old| old.uid == live.uid && is_newer(&old.resource_version, &live.resource_version)) {
            return false;
        }
        let differs = old.is_some_and(|old| old.status != live.status);
        all.insert(id_of(kind, metadata), live);
        differs
    }

    /// What is known of an object.
    pub(crate) fn get(&self, id: &Id) -> Option<Live> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner).get(id).cloned()
    }

    /// Whether the newest version of an object is this one.
    pub(crate) fn is_version(&self, id: &Id, version: &str) -> bool {
        let all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        all.get(id).is_some_and(|live| live.resource_version == version)
    }

    /// Forgets objects that have gone.
    pub(crate) fn retain(&self, keep: impl Fn(&Id) -> bool) {
        self.all.lock().unwrap_or_else(PoisonError::into_inner).retain(|id, _| keep(id));
    }
}

/// Versions count up (KEP-5504); where one is no number, the last one seen is taken for the newest.
fn is_newer(a: &str, b: &str) -> bool {
    matches!((a.parse::<u64>(), b.parse::<u64>()), (Ok(a), Ok(b)) if a > b)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_event_does_not_undo_an_answer() {
        let live = LiveStatuses::default();
        let saw = |version: &str, uid: &str, status: &str| {
            let metadata = ObjectMeta {
                name: Some("a".into()),
                uid: Some(uid.into()),
                resource_version: Some(version.into()),
                ..ObjectMeta::default()
            };
            live.saw(Kind::Rule, &metadata, Some(status.into()));
        };
        let status = || live.get(&Id::new(Kind::Rule, "", "a")).unwrap().status.unwrap();
        saw("10", "x", "answer");
        saw("9", "x", "late event");
        assert_eq!(&*status(), "answer");
        saw("11", "x", "event");
        assert_eq!(&*status(), "event");
        saw("8", "y", "another object of the same name");
        assert_eq!(&*status(), "another object of the same name");
    }
}
