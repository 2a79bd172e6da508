//! Clusters at work: endpoints, their health, and whose turn it is.

mod choice;
mod endpoint;
mod gate;
mod live;
mod sessions;
mod shares;
mod slow_start;
mod tally;

pub(crate) use choice::{Asked, client_hash};
pub(crate) use endpoint::{Active, Connected};
pub use endpoint::{Health, LiveEndpoint};
pub(crate) use gate::{Full, Place};
pub use live::LiveCluster;
pub(crate) use sessions::Token;
pub(crate) use shares::Shares;
pub(crate) use tally::LastProbe;
pub use tally::{Moved, Traffic};
