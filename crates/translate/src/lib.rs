//! From a snapshot of objects to a configuration and statuses: pure, synchronous, total.
//!
//! [`Translator::translate`] never fails: what is wrong with one object becomes a [`Problem`](penstock_model::Problem)
//! and a status condition of that object, and everything else goes on.

pub mod outcome;
pub mod snapshot;

pub use outcome::{GatewayStatus, Outcome, RuleStatus, Wants};
pub use snapshot::{Key, Options, Snapshot};
