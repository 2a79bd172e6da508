//! What the controller gives to the rest of the process.

use std::sync::Arc;

use penstock_model::{Config, EndpointUpdate, Problem, TicketSecrets};
use penstock_translate::{Outcome, Snapshot};
use tokio::sync::{mpsc, oneshot, watch};

/// What comes out, each on a channel of its own.
#[derive(Debug)]
pub struct Outputs {
    /// The configuration; `None` until the first whole one.
    pub config: watch::Receiver<Option<Arc<Config>>>,
    /// Endpoints of clusters that exist: the fast way, past the configuration.
    ///
    /// Whoever reads this takes a configuration that is waiting in `config` first: an update may be for a cluster
    /// that only the newest one has.
    pub endpoints: mpsc::UnboundedReceiver<EndpointUpdate>,
    /// What session tickets are sealed with in every replica; `None`: nothing that is shared.
    pub tickets: watch::Receiver<Option<TicketSecrets>>,
    /// The objects themselves, for whoever asks.
    pub objects: CurrentObjects,
    /// What is known about the objects, for `/status` and the command line.
    pub state: watch::Receiver<Arc<State>>,
}

/// Asks the store for its objects. Nothing is kept for it: they change more cheaply while nobody else holds them.
#[derive(Clone, Debug)]
pub struct CurrentObjects(pub(crate) mpsc::UnboundedSender<oneshot::Sender<Snapshot>>);

impl CurrentObjects {
    /// All of them at this moment; `None` when the store has ended.
    pub async fn snapshot(&self) -> Option<Snapshot> {
        let (answer, snapshot) = oneshot::channel();
        self.0.send(answer).ok()?;
        snapshot.await.ok()
    }
}

/// What is known about the objects.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct State {
    /// The last translation.
    pub outcome: Arc<Outcome>,
    /// What could not be read at all: files, objects of another shape. Those of the translation are in `outcome`.
    pub unread: Vec<Problem>,
    /// Configurations that were published.
    pub generation: u64,
    /// Everything has been read once.
    pub synced: bool,
    /// This process writes statuses.
    pub leader: bool,
}

impl State {
    /// Everything that was refused, by whoever refused it.
    pub fn problems(&self) -> impl Iterator<Item = &Problem> {
        self.unread.iter().chain(&self.outcome.problems)
    }
}
