//! Clusters at work: endpoints, their health, and whose turn it is.

mod endpoint;
mod live;
mod shares;

pub(crate) use endpoint::Active;
pub use endpoint::{Health, LiveEndpoint};
pub use live::LiveCluster;
pub(crate) use shares::Shares;
