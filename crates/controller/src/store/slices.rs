//! EndpointSlices by Service, for whoever needs nothing else.

use penstock_api::k8s::EndpointSlice;
use penstock_translate::Key;

use super::change::Change;
use super::objects::{Effect, Objects};

/// Slices by the Service they belong to.
#[derive(Default)]
pub(crate) struct Slices(Objects);

impl Slices {
    /// Applies a change of slices, and returns the Services that it touched.
    pub(crate) fn apply(&mut self, change: Change) -> impl Iterator<Item = Key> {
        let mut effect = Effect::default();
        self.0.apply(change, &mut effect);
        effect.endpoints.into_iter()
    }

    /// Names of the Pods that are ready endpoints of a Service, sorted.
    pub(crate) fn ready_pods(&self, service: &Key) -> Vec<String> {
        let slices = self.0.snapshot.endpoint_slices.get(service).into_iter().flatten();
        let mut pods: Vec<String> = slices.flat_map(|slice| ready_pods(slice)).collect();
        pods.sort();
        pods.dedup();
        pods
    }
}

fn ready_pods(slice: &EndpointSlice) -> impl Iterator<Item = String> {
    let ready = slice.endpoints.iter().filter(|e| e.conditions.as_ref().and_then(|c| c.ready) != Some(false));
    let targets = ready.filter_map(|endpoint| endpoint.target_ref.as_ref());
    targets.filter(|target| target.kind.as_deref() == Some("Pod")).filter_map(|target| target.name.clone())
}
