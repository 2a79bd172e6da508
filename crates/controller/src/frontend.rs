//! The translation as the store sees it, so that the store knows nothing of routes and rules.

use penstock_model::{EndpointSet, EndpointSource};
use penstock_translate::{Key, Options, Outcome, Snapshot, Translator};

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

/// Our own resources.
pub struct OwnResources {
    translator: Translator,
    options: Options,
}

impl OwnResources {
    /// With what the process was told.
    pub fn new(options: Options) -> Self {
        Self { translator: Translator::default(), options }
    }
}

impl Frontend for OwnResources {
    fn translate(&mut self, snapshot: &Snapshot) -> Outcome {
        self.translator.translate(snapshot, &self.options)
    }

    fn endpoints(&self) -> Box<dyn Endpoints> {
        Box::new(OfServices(self.options.clone()))
    }
}

/// Endpoints of Services, with what the process was told.
struct OfServices(Options);

impl Endpoints for OfServices {
    fn of(&self, source: &EndpointSource, snapshot: &Snapshot) -> EndpointSet {
        let EndpointSource::Service { namespace, name, port, override_port } = source else {
            return EndpointSet::default();
        };
        let key = Key::new(namespace.clone(), name.clone());
        let slices = snapshot.endpoint_slices.get(&key).map(Vec::as_slice).unwrap_or_default();
        penstock_translate::endpoints(slices, port, *override_port, &self.0.with_api_server(snapshot))
    }
}
