//! Wiring: the tasks of a controller, started together and stopped together.

use std::path::PathBuf;

use tokio::task::JoinSet;

use crate::frontend::Frontend;
use crate::outputs::Outputs;
use crate::source::folder;
use crate::store::{Handles, Plan, Scope, Store};

/// The tasks of a controller. They end when this is dropped.
#[derive(Debug)]
pub struct Controller {
    tasks: JoinSet<()>,
}

/// Serves a folder of manifests. Call it on a tokio runtime.
pub fn start_folder(folder: PathBuf, frontend: impl Frontend) -> (Controller, Outputs) {
    let lists = folder::KINDS.map(|kind| Scope { kind, namespace: None }).to_vec();
    let (store, Handles { changes, outputs, .. }) =
        Store::new(Plan { lists, references: false, local_ports: false }, frontend);
    let mut tasks = JoinSet::new();
    tasks.spawn(store.run());
    tasks.spawn(async move {
        if let Err(error) = folder::watch(folder, changes).await {
            tracing::error!(%error, "the folder is not read");
        }
    });
    (Controller { tasks }, outputs)
}
