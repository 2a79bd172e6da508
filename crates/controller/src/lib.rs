//! From objects to a configuration, and back to statuses.
//!
//! A [`source`] (an API server or a folder) tells the [`store`] what changed; the store lets a [`Frontend`] translate
//! and publishes what comes of it as [`Outputs`].

#[cfg(test)]
mod fake;
pub mod frontend;
pub mod leader;
pub mod outputs;
pub mod preview;
pub mod run;
pub mod service;
pub mod source;
mod status;
pub mod store;
mod tickets;
mod yaml;

pub use frontend::{Endpoints, Frontend, OwnResources};
pub use leader::LeaseSettings;
pub use outputs::{CurrentObjects, Outputs, State};
pub use preview::Preview;
pub use run::{ClusterSettings, Controller, start_cluster, start_folder};
pub use service::{GatewayServices, OwnServices, parse_labels};
pub use source::folder::{FileProblem, LoadError, Loaded, Place, load_folder};
pub use status::warnings;
