//! The translation as the store sees it, so that the store knows nothing of routes and rules.

use penstock_model::{EndpointSet, EndpointSource};
use penstock_translate::{Outcome, Snapshot};

/// From objects to a configuration.
pub trait Frontend: Send + 'static {
    /// The whole configuration, statuses and problems. Never fails.
    fn translate(&mut self, snapshot: &Snapshot) -> Outcome;

    /// How to compute the endpoints of one source while a translation may be running.
    fn endpoints(&self) -> Box<dyn Endpoints>;
}

/// The endpoints of a source at one moment: the same that a translation would put into the configuration.
pub trait Endpoints: Send + Sync + 'static {
    /// All that are ready.
    fn of(&self, source: &EndpointSource, snapshot: &Snapshot) -> EndpointSet;
}
