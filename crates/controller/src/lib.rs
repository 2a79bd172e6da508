//! From objects to a configuration, and back to statuses.
//!
//! A [`source`] (an API server or a folder) tells the [`store`] what changed; the store lets a [`Frontend`] translate
//! and publishes what comes of it as [`Outputs`].

#![allow(dead_code)]
#[cfg(test)]
mod fake;
pub mod frontend;
pub mod outputs;
pub mod run;
pub mod source;
pub mod store;
mod yaml;

pub use frontend::{Endpoints, Frontend};
pub use outputs::{Outputs, State};
pub use run::{Controller, start_folder};
pub use source::folder::{FileProblem, LoadError, Loaded, Place, load_folder};
