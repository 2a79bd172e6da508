//! Clusters at work: endpoints, their health, and whose turn it is.

mod endpoint;
mod gate;
mod live;
mod shares;

pub(crate) use endpoint::Active;
pub use endpoint::{Health, LiveEndpoint};
pub(crate) use gate::{Full, Place};
pub use live::LiveCluster;
pub(crate) use shares::Shares;
