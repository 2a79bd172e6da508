//! The translation of our own resources, as the controller's front end.

use penstock_controller::{Endpoints, Frontend};
use penstock_model::{EndpointSet, EndpointSource};
use penstock_translate::{Key, Options, Outcome, Snapshot, Translator, endpoints};

/// Translates under the options of this process.
pub(crate) struct Translation {
    translator: Translator,
    options: Options,
}

impl Translation {
    /// Nothing is remembered yet.
    pub(crate) fn new(options: Options) -> Self {
        Self { translator: Translator::default(), options }
    }
}

impl Frontend for Translation {
    fn translate(&mut self, snapshot: &Snapshot) -> Outcome {
        self.translator.translate(snapshot, &self.options)
    }

    fn endpoints(&self) -> Box<dyn Endpoints> {
        Box::new(Slices { options: self.options.clone() })
    }
}

/// Endpoints from EndpointSlices.
struct Slices {
    options: Options,
}

impl Endpoints for Slices {
    fn of(&self, source: &EndpointSource, snapshot: &Snapshot) -> EndpointSet {
        let EndpointSource::Service { namespace, name, port, override_port } = source else {
            return EndpointSet::default();
        };
        let slices = snapshot.endpoint_slices.get(&Key::new(namespace.clone(), name.clone()));
        endpoints(slices.map(Vec::as_slice).unwrap_or_default(), port, *override_port, &self.options)
    }
}
