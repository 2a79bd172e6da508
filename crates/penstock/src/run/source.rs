//! Where the objects come from: a folder, or a cluster.

use std::sync::Arc;

use anyhow::Context as _;
use penstock_controller::{Controller, Outputs, start_folder};
use penstock_model::Observed;
use tokio::sync::watch;

use super::translation::Translation;
use crate::args::RunArgs;

/// A running controller.
pub(super) struct Source {
    _controller: Controller,
    outputs: Option<Outputs>,
}

/// Starts the controller that the flags ask for. `observed` is what the data plane will say of itself.
pub(super) async fn start(args: &RunArgs, observed: watch::Receiver<Arc<Observed>>) -> anyhow::Result<Source> {
    let translation = Translation::new(args.translation(Vec::new()));
    let folder = args.manifests.clone().context("no --manifests")?;
    let _ = observed;
    let (controller, outputs) = start_folder(folder, translation);
    Ok(Source { _controller: controller, outputs: Some(outputs) })
}

impl Source {
    /// What comes out; only once.
    pub(super) fn take_outputs(&mut self) -> anyhow::Result<Outputs> {
        self.outputs.take().context("the outputs of the controller are taken")
    }

    /// Lets another replica write.
    pub(super) async fn step_down(&mut self) {}
}
